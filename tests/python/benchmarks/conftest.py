"""The benchmarks are scripts beside the package: their folder goes onto the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture
def code_copy(tmp_path: Path) -> Path:
    """The project's code as runs execute it, free to be changed."""
    from frozen import freeze

    return freeze(ROOT, tmp_path / "code")
