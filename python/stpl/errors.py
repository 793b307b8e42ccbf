"""The error for what only the user can put right, and "did you mean" for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The user's mistake. The message is one line: what was expected, what was found, what to do.

    The commands print it without a traceback and exit with status 2.
    """


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like `name` (case ignored), or None where none resembles it."""
    by_folded = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[close[0]] if close else None


def unknown_name(what: str, name: str, options: Iterable[str]) -> UserError:
    """The error for a `name` outside `options`, with the nearest right one and the whole list.

    >>> str(unknown_name("model", "compcat", ["compact", "segformer-b0"]))
    "unknown model 'compcat': did you mean 'compact'? Expected one of: compact, segformer-b0"
    """
    known = sorted(options)
    close = nearest(name, known)
    hint = f"did you mean '{close}'? " if close is not None else ""
    expected = "Expected one of: " + ", ".join(known) if known else "None is allowed here"
    return UserError(f"unknown {what} '{name}': {hint}{expected}")
