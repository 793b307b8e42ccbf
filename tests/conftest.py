"""Fixtures and markers that all the Python tests share."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

# As stpl-adapt does: PyTorch's threads otherwise spin against each other on a busy machine. Before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, saying so, what this machine cannot run."""
    no_video = pytest.mark.skip(reason="STPL_CAMVID is not set to a folder with the CamVid clips (dataset.yaml)")
    no_gpu = pytest.mark.skip(reason="no NVIDIA driver (nvidia-smi) found")
    for item in items:
        if "real_video" in item.keywords and camvid_folder() is None:
            item.add_marker(no_video)
        if "gpu" in item.keywords and shutil.which("nvidia-smi") is None:
            item.add_marker(no_gpu)


def camvid_folder() -> Path | None:
    """The folder of the CamVid clips, where there is one."""
    folder = Path(os.environ.get("STPL_CAMVID") or "missing")
    return folder if (folder / "dataset.yaml").is_file() else None


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The folder of the CamVid clips; for tests marked real_video."""
    folder = camvid_folder()
    assert folder is not None, "a test that uses camvid must be marked real_video"
    return folder


@pytest.fixture(scope="session")
def bundle_maker() -> ModuleType:
    """tests/cpp/make_test_bundle.py: bundles whose logits are known in closed form."""
    spec = importlib.util.spec_from_file_location("make_test_bundle", ROOT / "tests/cpp/make_test_bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def test_bundle(bundle_maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle: input 96 x 64, logits at a quarter, four classes, schedule fixed:3."""
    folder = tmp_path_factory.mktemp("bundles") / "half_pixel"
    bundle_maker.write_bundle(folder, 96, 64, 4, align_corners=False)
    return folder


@pytest.fixture(scope="session")
def corners_bundle(bundle_maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with aligned corners: input 97 x 65, logits 25 x 17."""
    folder = tmp_path_factory.mktemp("bundles") / "corners"
    bundle_maker.write_bundle(folder, 97, 65, 4, align_corners=True)
    return folder


@pytest.fixture(scope="session")
def coarse_bundle(bundle_maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with input 320 x 192 and logits at an eighth."""
    folder = tmp_path_factory.mktemp("bundles") / "coarse"
    bundle_maker.write_bundle(folder, 320, 192, 8, align_corners=False)
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20240607)


def moving_frames(height: int, width: int, count: int = 6) -> npt.NDArray[np.uint8]:
    """Frames (count, height, width, 3) of a smooth picture that moves 2 pixels right and 1 down a frame."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    frames = []
    for t in range(count):
        u, v = x - 2 * t, y - t
        # Wavelengths that no short motion can alias, in directions that leave no stripe.
        texture = 22 * np.sin(0.31 * u + 0.12 * v) + 22 * np.sin(0.29 * v - 0.17 * u + 1.0)
        blobs = [60 * np.sin(0.071 * u + 2.1 * c) * np.cos(0.093 * v + 1.3 * c) for c in range(3)]
        frames.append(np.stack([np.clip(124 + blob + texture, 0, 255) for blob in blobs], axis=-1))
    return np.stack(frames).astype(np.uint8)


@pytest.fixture(scope="session")
def moving_picture() -> npt.NDArray[np.uint8]:
    """Six frames (6, 96, 128, 3) that move 2 pixels right and 1 down a frame."""
    return moving_frames(96, 128)


@pytest.fixture(scope="session")
def large_moving_picture() -> npt.NDArray[np.uint8]:
    """Six frames (6, 192, 320, 3) that move 2 pixels right and 1 down a frame: enough for optical flow."""
    return moving_frames(192, 320)
