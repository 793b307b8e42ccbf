"""The process of one run: started by `runner` with the folder of a run that holds its job.json.

It imports the package that lies beside it, the copy that `frozen` made.
"""

from __future__ import annotations

import sys
from pathlib import Path

from frozen import run_frozen_package

if __name__ == "__main__":
    run_frozen_package(Path(__file__).resolve().parent.parent)
    from execution import execute_locked

    sys.exit(execute_locked(Path(sys.argv[1])))
