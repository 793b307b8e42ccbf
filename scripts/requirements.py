"""Print the requirements of chosen groups of pyproject.toml, one a line, for `pip install -r /dev/stdin`.

Run: python scripts/requirements.py GROUP...   with GROUP of: build, core, or an extra (train, test, dev, ...).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(group: str) -> list[str]:
    """Return the requirement lines of a group; ValueError for an unknown one."""
    document: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    extras: dict[str, list[str]] = document["project"]["optional-dependencies"]
    groups = {
        # scikit-build-core asks for cmake and ninja by itself only where it builds in isolation.
        "build": [*document["build-system"]["requires"], "cmake>=3.26", "ninja"],
        "core": document["project"]["dependencies"],
        **extras,
    }
    if group not in groups:
        raise ValueError(f"group: expected one of {', '.join(groups)}, found {group}")
    return groups[group]


if __name__ == "__main__":
    print("\n".join(line for group in sys.argv[1:] for line in requirements(group)))
