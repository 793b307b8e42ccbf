"""Exit with a clear message unless this interpreter is one that stpl supports. Runs on any Python 3."""

import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        "stpl needs Python 3.10 to 3.13, found %d.%d (%s). Choose another: make PYTHON=python3.12 (remove .venv "
        "first if it was made with this one)." % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
