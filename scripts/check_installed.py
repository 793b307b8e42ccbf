"""Check an installation of the wheel: it works with NumPy and OpenVINO alone, and says what the rest would need.

Run: python -I scripts/check_installed.py BUNDLE   with the interpreter of an environment that holds the wheel and what
it requires, and the bundle half_pixel of tests/cpp/make_test_bundle.py
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import numpy as np

import stpl_rt


def check_files() -> None:
    """The package lies in the environment, with its types."""
    folder = Path(stpl_rt.__file__).parent
    assert folder.is_relative_to(sys.prefix), folder
    assert stpl_rt.__version__ == metadata.version("stpl")
    for name in ("py.typed", "_core.pyi"):
        assert resources.files("stpl_rt").joinpath(name).is_file(), name


def check_segmentation(bundle: str) -> None:
    """The left half of each frame is red, the right one blue; the network of the bundle tells colours."""
    frame = np.zeros((96, 128, 3), np.uint8)
    frame[:, :64, 0] = frame[:, 64:, 2] = 255
    segmenter = stpl_rt.Segmenter(bundle, schedule="fixed:3")
    names = [info.name for info in segmenter.bundle.classes]
    keys = []
    for _ in range(4):
        result = segmenter(frame)
        keys.append(result.is_key)
        labels = result.labels
        assert labels.shape == (96, 128) and labels.dtype == np.uint8
        assert (labels[:, :62] == names.index("red")).all() and (labels[:, 66:] == names.index("blue")).all()
    assert keys == [True, False, False, True], keys


def check_training_command() -> None:
    """The command of the training side is there and says what it lacks."""
    assert importlib.util.find_spec("torch") is None
    command = [Path(sys.executable).parent / "stpl-adapt", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "stpl[train]" in done.stderr + done.stdout, done


if __name__ == "__main__":
    check_files()
    check_segmentation(sys.argv[1])
    check_training_command()
    print(f"stpl {stpl_rt.__version__} with {', '.join(stpl_rt.engines())}: segments; stpl-adapt asks for stpl[train]")
