"""Entry point of ``stpl-adapt``: turns exceptions into exit statuses.

0: done. 2: the user's mistake, one line on standard error. 1: a fault. 130: interrupted.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence

from stpl.cli.errors import Interrupted
from stpl.errors import UserError

logger = logging.getLogger("stpl")

DONE, FAULT, USER_MISTAKE, INTERRUPTED = 0, 1, 2, 130

_USER_CODES = {"invalid_bundle", "invalid_argument", "io", "unsupported"}
"""Codes of stpl_rt.Error that say something of the user's files and options."""

_FILE_MISTAKES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)

_FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> None:
    """What the installed command runs."""
    # PyTorch's threads wait for each other by spinning. Where others want the cores too (our own data threads, on two
    # cores) that made training up to twenty times slower; sleeping costs a few percent. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status."""
    try:
        from stpl.cli.app import app

        app(args=list(arguments), prog_name="stpl-adapt")
    except SystemExit as exit_request:
        status = exit_request.code if isinstance(exit_request.code, int) else FAULT
        if status == INTERRUPTED:
            _say("interrupted")
        return status
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except Interrupted as interruption:
        _say(f"interrupted: {interruption}")
        return INTERRUPTED
    except Exception as error:
        return _report(error)
    return DONE


def _report(error: Exception) -> int:
    """Says what went wrong: one line for what the user can put right, a traceback for the rest."""
    if (status := _known(error)) is not None:
        _say(f"error: {error}")
        logger.debug("where it happened:", exc_info=error)
        return status
    if isinstance(error, ModuleNotFoundError) and error.name is not None and not error.name.startswith("stpl"):
        _say(f"error: this needs the training side, of which '{error.name}' is missing: pip install 'stpl[train]'")
        return USER_MISTAKE
    if isinstance(error, OSError) and error.errno in _FULL:
        _say(f"error: {error}: free some space, or write elsewhere")
        return FAULT
    logging.basicConfig()  # where the fault came before the command line was read
    logger.critical("a fault in stpl-adapt, not in your input; please report it", exc_info=error)
    return FAULT


def _known(error: Exception) -> int | None:
    """The exit status of an error whose message is all that the user needs; None for a fault."""
    if isinstance(error, UserError):
        return USER_MISTAKE
    if isinstance(error, _FILE_MISTAKES) and error.filename is not None:
        return USER_MISTAKE
    # Only what a command has imported can have raised; importing it here would make every error slow.
    runtime, parity = sys.modules.get("stpl_rt"), sys.modules.get("stpl.export.parity")
    tensorrt = sys.modules.get("stpl.export.tensorrt_library")
    if runtime is not None and isinstance(error, runtime.Error):
        return USER_MISTAKE if error.code in _USER_CODES else None
    if parity is not None and isinstance(error, parity.ParityError):
        return FAULT
    if tensorrt is not None and isinstance(error, tensorrt.PlanError):
        return FAULT
    return None


def _say(text: str) -> None:
    sys.stderr.write(" ".join(text.split()) + "\n")


if __name__ == "__main__":
    main()
