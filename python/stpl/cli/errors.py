"""What ends a command early, beside the errors of :mod:`stpl.errors`."""

from __future__ import annotations


class Interrupted(Exception):  # noqa: N818 (not an error)
    """Ctrl-C, with what is kept and how to go on."""
