"""The benchmark of the training step, run at a tiny size on the CPU; on a GPU as it is meant."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gpu_training_step
import pytest
import torch

import stpl_rt

TINY = ["--size", "64x64", "--batch-size", "1", "--rounds", "2", "--steps", "1", "--limit-size", "64"]


def measured(monkeypatch: pytest.MonkeyPatch, out: Path, *given: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["gpu_training_step.py", *TINY, "--json", str(out), *given])
    gpu_training_step.main()
    results: dict[str, Any] = json.loads(out.read_text())["results"]
    return results


def test_every_figure_is_there_and_fits_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = measured(monkeypatch, tmp_path / "out.json", "--device", "cpu", "--networks", "compact", "segformer-b0")
    assert (results["precision"], results["gpu"], results["bf16_limit_tflops"] > 0) == ("f32", None, True)
    assert set(results["networks"]) == {"compact", "segformer-b0"}
    flow = results["flow"]
    assert flow["cpu_ms"] > 0 and flow["device_ms"] > 0
    assert (flow["on_gpu"], flow["furthest_apart_px"]) == (False, 0.0)
    for found in results["networks"].values():
        rows = found["methods"]
        assert set(rows) == {"self-training", "stpl"}
        # Self-training: one pass of the teacher, one of the student and back. STPL adds passes over frame t-1.
        assert 1.2 < rows["stpl"]["tflop"] / rows["self-training"]["tflop"] < 2.0
        for row in rows.values():
            low, high = row["step_ms_range"]
            assert 0 < low <= row["step_ms"] <= high and row["enqueue_ms"] > 0 and "peak_mb" not in row
            done = row["tflop"] / (1e-3 * row["step_ms"])
            assert row["bf16_share"] == pytest.approx(done / results["bf16_limit_tflops"])
        low, high = found["ratio_range"]
        assert low <= found["ratio"] <= high


def test_a_network_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And is written after they are: whatever stops the run later leaves them, too."""
    out = tmp_path / "out.json"

    def fails_second(network: str, *_: object) -> dict[str, Any]:
        if network == "compact":
            return {"ratio": 1.5}
        assert json.loads(out.read_text())["results"]["networks"] == {"compact": {"ratio": 1.5}}
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_training_step, "measure", fails_second)
    with pytest.raises(SystemExit):
        measured(monkeypatch, out, "--device", "cpu", "--networks", "compact", "segformer-b0")
    networks = json.loads(out.read_text())["results"]["networks"]
    assert networks == {"compact": {"ratio": 1.5}, "segformer-b0": {"failed": "RuntimeError: out of memory"}}


def test_a_step_trains_on_batches_that_differ() -> None:
    first, second = (gpu_training_step._batch(2, 32, 48, seed) for seed in (0, 1))
    assert first.present.shape == first.past.shape == (2, 3, 32, 48) and first.flow.shape == (2, 2, 32, 48)
    assert not torch.equal(first.present, second.present) and not torch.equal(first.present, first.past)
    assert 1 < first.flow.abs().max() < 32


@pytest.mark.gpu
def test_memory_is_measured_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = measured(monkeypatch, tmp_path / "out.json", "--device", "cuda", "--networks", "compact")
    if "tensorrt" in stpl_rt.engines():
        assert results["flow"]["on_gpu"] and results["flow"]["furthest_apart_px"] < 0.05
    rows = results["networks"]["compact"]["methods"]
    assert rows["stpl"]["peak_mb"] > rows["self-training"]["peak_mb"] > 0
