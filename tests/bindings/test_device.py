"""stpl_rt on a GPU, as Python sees it: on one that the test build emulates, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stpl_rt

ROOT = Path(__file__).resolve().parents[2]
EMULATED = ROOT / "build/cmake/tests/cpp/cuda/emulated"


def test_arrays_on_a_gpu() -> None:
    modules = sorted(EMULATED.glob("_core*.so"))
    if not modules:
        pytest.skip("needs the build tree that `make test` makes in build/cmake")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", Path(__file__).with_name("on_device.py")],
        env={**os.environ, "STPL_RT_CORE": str(modules[0])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout


# --- On a real GPU, with the stpl_rt that is installed ---

gpu_with_tensorrt = [
    pytest.mark.gpu,
    pytest.mark.skipif("tensorrt" not in stpl_rt.engines(), reason="stpl_rt was built without TensorRT"),
]
needs_openvino = pytest.mark.skipif(
    "openvino" not in stpl_rt.engines(), reason="stpl_rt was built without OpenVINO, to compare with"
)


def on_gpu(bundle: Path, **options: Any) -> stpl_rt.Segmenter:
    return stpl_rt.Segmenter(bundle, device="cuda", schedule="fixed:3", build_engines=True, **options)


@needs_openvino
@pytest.mark.parametrize("package", [pytest.param(name, marks=gpu_with_tensorrt) for name in ("torch", "cupy")])
def test_tensors_become_labels_on_the_gpu(test_bundle: Path, package: str) -> None:
    library = pytest.importorskip(package)
    cpu = stpl_rt.Segmenter(test_bundle, schedule="fixed:3")
    gpu = on_gpu(test_bundle, device_labels=True)
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    for shift in range(6):
        frame = np.roll(pixels, shift, axis=1)
        given = library.from_numpy(frame).cuda() if package == "torch" else library.asarray(frame)
        labels = library.from_dlpack(gpu(given).device_labels)
        found = labels.cpu().numpy() if package == "torch" else labels.get()
        assert (found == cpu(frame).labels).mean() > 0.999


@pytest.mark.parametrize("example", [pytest.param("pycuda_frames.py", marks=gpu_with_tensorrt)])
def test_the_example_for_pycuda_runs(test_bundle: Path, tmp_path: Path, example: str) -> None:
    pytest.importorskip("pycuda")
    av = pytest.importorskip("av")
    video = tmp_path / "drive.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=15)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for t in range(5):
            picture = np.full((96, 128, 3), 40 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    command = [sys.executable, ROOT / "examples" / example, test_bundle, video, "--precision", "f32"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 5
