"""The benchmark of whole pipelines on a GPU, run at a tiny size on the CPU; without torch.compile, which takes long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_pipelines
import numpy as np
import pytest
import runtime_networks
import torch

import stpl_rt

WANTED_BY_EXPORTS = ("onnx", "onnxscript", "ml_dtypes", "rich", "openvino", "av", "kornia")
TINY = ["--models", "compact", "--sizes", "96x64", "--rounds", "2", "--frames", "2", "--seconds", "0.01"]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_networks, "FOLDER", tmp_path / "networks")
    monkeypatch.delitem(gpu_pipelines.USERS, "torch.compile")
    monkeypatch.setattr(gpu_pipelines, "SINGLE_SECONDS", 0.05)
    monkeypatch.setattr(gpu_pipelines, "BUNDLES", tmp_path / "carried")


def measured(monkeypatch: pytest.MonkeyPatch, out: Path, *given: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["gpu_pipelines.py", *TINY, "--json", str(out), *given])
    gpu_pipelines.main()
    results: dict[str, Any] = json.loads(out.read_text())["results"]
    return results


def test_every_pipeline_gives_the_labels_and_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = measured(monkeypatch, tmp_path / "out.json", "--device", "cpu", "--precision", "f32")
    assert list(results["rows"]) == ["compact 96x64"] and results["gpu"] is None
    row = results["rows"]["compact 96x64"]
    assert row["missing"] == {} and 0 < row["enqueue_us"]["p50"] <= row["enqueue_us"]["p99"]
    users = {"push", "PyTorch", "ONNX Runtime"}
    assert set(row["resident"]) == {*users, *gpu_pipelines.OURS} and set(row["host"]) == users
    for found in (*row["resident"].values(), *row["host"].values()):
        assert found["ms"] > 0 and found["ratio_min"] <= found["ratio"] <= found["ratio_max"]
        assert 0 < found["p50_ms"] <= found["p99_ms"] and found["singles"] >= gpu_pipelines.FRAMES
    for where in ("resident", "host"):
        for name in users - {"push"}:
            assert 0.97 < row[where][name]["agreement"] <= 1, (where, name)


def test_a_network_in_half_precision_is_another_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole, half = (runtime_networks.random_bundle("compact", (96, 64), precision=name) for name in ("f32", "f16"))
    assert whole.segment.file.parent != half.segment.file.parent
    assert half.segment.file.stat().st_size < 0.6 * whole.segment.file.stat().st_size


def test_what_is_exported_elsewhere_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its name alone: another version of PyTorch may draw other weights, and so another digest."""
    carried = tmp_path / "elsewhere"
    options = ["--bundles", str(carried), "--precision", "f32"]
    monkeypatch.setattr(sys, "argv", ["gpu_pipelines.py", *TINY, "--export-only", *options])
    gpu_pipelines.main()
    assert [folder.name for folder in carried.iterdir()] == ["compact-96x64-f32"]

    def none(*_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be made here")

    monkeypatch.setattr(gpu_pipelines, "random_checkpoint", none)
    monkeypatch.setattr(gpu_pipelines, "random_bundle", none)
    results = measured(monkeypatch, tmp_path / "out.json", "--device", "cpu", *options)
    assert results["rows"]["compact 96x64"]["resident"]["PyTorch"]["agreement"] > 0.97


def test_a_checkpoint_need_not_be_carried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder's name says what network it is; rows that are not carried may be left out."""
    carried = tmp_path / "elsewhere"
    options = ["--bundles", str(carried), "--precision", "f32"]
    monkeypatch.setattr(sys, "argv", ["gpu_pipelines.py", *TINY, "--export-only", *options])
    gpu_pipelines.main()
    folder = carried / runtime_networks.carried_name("compact", (96, 64), "f32")
    expected = runtime_networks.carried_checkpoint(folder)
    (folder / gpu_pipelines.FILE_NAME).unlink()
    found = runtime_networks.carried_checkpoint(folder)
    assert (found.arch, found.input, found.digest) == (expected.arch, expected.input, expected.digest)
    of_two_words = runtime_networks.carried_checkpoint(tmp_path / "pidnet-s-128x64-f16")
    assert (of_two_words.arch, of_two_words.input.width, of_two_words.input.height) == ("pidnet-s", 128, 64)

    def none(*_: object, **__: object) -> Any:
        raise AssertionError("nothing is to be exported here")

    monkeypatch.setattr(gpu_pipelines, "random_bundle", none)
    options += ["--device", "cpu", "--carried"]
    results = measured(monkeypatch, tmp_path / "out.json", *options, "--sizes", "96x64", "64x64")
    assert list(results["rows"]) == ["compact 96x64"]
    assert results["rows"]["compact 96x64"]["resident"]["PyTorch"]["agreement"] > 0.97
    with pytest.raises(SystemExit, match="expected a bundle of these models and sizes"):
        measured(monkeypatch, tmp_path / "out.json", *options, "--sizes", "64x64")


@pytest.mark.parametrize("script", ["inductor_packages", "gpu_pipelines"])
def test_what_is_carried_wants_nothing_that_only_exports_want(script: str) -> None:
    """Where bundles were carried to, less is installed than where they are made."""
    code = f"import sys\nfor name in {WANTED_BY_EXPORTS!r}: sys.modules[name] = None\nimport {script}"
    folder = Path(gpu_pipelines.__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_without_a_bundle_is_said_to_be_one(tmp_path: Path) -> None:
    script = Path(gpu_pipelines.__file__).with_name("inductor_packages.py")
    done = subprocess.run([sys.executable, script, "--device", "cpu", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{tmp_path}: expected a folder that gpu_pipelines.py --export-only left" in done.stderr


def test_one_that_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor one that fails; both are said, and the others are measured."""

    def nothing(bench: gpu_pipelines.Bench) -> gpu_pipelines.Resident:
        return lambda frame: torch.full(frame.shape[:2], 18, dtype=torch.uint8)

    def refused(bench: gpu_pipelines.Bench) -> gpu_pipelines.Resident:
        raise stpl_rt.Error("engine", "a plan that does not load")

    def breaks(bench: gpu_pipelines.Bench) -> gpu_pipelines.Resident:
        return lambda frame: frame[3000:, 0] + frame[0]

    for name, make in (("nothing", nothing), ("refused", refused), ("breaks", breaks)):
        monkeypatch.setitem(gpu_pipelines.USERS, name, make)
    row = measured(monkeypatch, tmp_path / "out.json", "--device", "cpu", "--precision", "f32")["rows"]["compact 96x64"]
    assert set(row["missing"]) == {"nothing", "refused", "breaks"}
    assert "gives the expected label on" in row["missing"]["nothing"]
    assert "a plan that does not load" in row["missing"]["refused"]
    assert set(row["resident"]) == {*gpu_pipelines.OURS, "PyTorch", "ONNX Runtime"}


def test_a_row_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measure, out = gpu_pipelines.measure, tmp_path / "out.json"

    def last_one_fails(bench: gpu_pipelines.Bench, args: Any) -> dict[str, Any]:
        if bench.checkpoint.input.width == 64:
            assert "resident" in json.loads(out.read_text())["results"]["rows"]["compact 96x64"]
            raise ValueError("of a test")
        return measure(bench, args)

    monkeypatch.setattr(gpu_pipelines, "measure", last_one_fails)
    rows = measured(monkeypatch, out, "--device", "cpu", "--precision", "f32", "--sizes", "96x64", "64x64")["rows"]
    assert list(rows) == ["compact 96x64", "compact 64x64"]
    assert rows["compact 64x64"] == {"failed": "ValueError: of a test"}


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(bench: gpu_pipelines.Bench, schedule: str, **options: bool) -> stpl_rt.Segmenter:
        raise gpu_pipelines.MissingError("stpl_rt was built without TensorRT")

    monkeypatch.setattr(gpu_pipelines.Bench, "segmenter", none)
    row = measured(monkeypatch, tmp_path / "out.json", "--device", "cpu", "--precision", "f32")["rows"]["compact 96x64"]
    why = "stpl_rt was built without TensorRT"
    assert row["missing"] == dict.fromkeys(gpu_pipelines.OURS, why)
    assert set(row["resident"]) == set(row["host"]) == {"PyTorch", "ONNX Runtime"}
    assert "ratio" not in row["resident"]["PyTorch"]


@pytest.mark.gpu
@pytest.mark.skipif("openvino" not in stpl_rt.engines(), reason="stpl_rt was built without OpenVINO: exports nothing")
def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = measured(monkeypatch, tmp_path / "out.json")["rows"]["compact 96x64"]
    assert row["resident"]["PyTorch"]["ms"] > 0
    assert ("push" in row["missing"]) == ("tensorrt" not in stpl_rt.engines())


def test_labels_come_to_the_host_from_wherever_they_are() -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for found in (labels, torch.from_numpy(labels)):
        np.testing.assert_array_equal(gpu_pipelines.labels_of(found), labels)
