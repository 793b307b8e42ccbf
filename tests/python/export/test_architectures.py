"""Every kind of network reaches the runtime: PyTorch, ONNX Runtime and stpl_rt agree, and logits are well placed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import stpl_rt
from stpl.data.class_map import CLASS_SETS, match_classes, named_classes, read_classes
from stpl.evaluate import Predictor
from stpl.export import export_bundle
from stpl.models import build_model
from stpl.models.registry import MODELS
from stpl.train.checkpoint import Checkpoint, InputConfig

CITYSCAPES = CLASS_SETS["cityscapes-19"]
TINY_SEGFORMER = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 16, 24, 32],
    "num_attention_heads": [1, 2, 3, 4],
    "decoder_hidden_size": 16,
}


def make_checkpoint(arch: str, height: int, width: int, options: dict | None = None, **changes: object) -> Checkpoint:
    """Random weights whose scores spread, so that agreement says something."""
    torch.manual_seed(4)
    defaults = MODELS[arch].input
    model = build_model(arch, len(CITYSCAPES), options)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(2, 3, height, width))
        for layer in (m for m in model.modules() if isinstance(m, torch.nn.Linear)):
            layer.weight.mul_(5.0)  # transformers starts with weights so small that all pixels score alike
    spec = {"mean": defaults.mean, "std": defaults.std, "color_order": defaults.color_order, **changes}
    return Checkpoint(
        arch, CITYSCAPES, InputConfig(height=height, width=width, **spec), {}, options=options or {}
    ).with_weights(model)


def make_frames(count: int, height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    coarse = [rng.integers(0, 256, (height // 12, width // 12, 3)) for _ in range(count)]
    return [np.kron(c, np.ones((12, 12, 1))).astype(np.uint8) for c in coarse]


def assert_runs_alike(checkpoint: Checkpoint, out: Path) -> dict:
    """Exports (which measures parity), plays the bundle, compares with PyTorch; gives the manifest."""
    frames = make_frames(2, 120, 180)
    result = export_bundle(checkpoint, out, frames)
    for engine in result.parity.engines:
        assert engine.agreement >= 0.9999
    segmenter, predict = stpl_rt.Segmenter(out, schedule="every"), Predictor(checkpoint)
    for frame in frames:
        expected = predict(frame)
        assert len(np.unique(expected)) > 1
        assert (segmenter.push(frame).labels == expected).mean() >= 0.9999
    manifest: dict = json.loads((out / "manifest.json").read_text())
    return manifest


def test_segformer_reaches_the_runtime(tmp_path: Path) -> None:
    manifest = assert_runs_alike(make_checkpoint("segformer", 64, 96, TINY_SEGFORMER), tmp_path / "bundle")
    assert manifest["logits"] == {"width": 24, "height": 16, "align_corners": False}


@pytest.mark.slow
def test_segformer_b0_reaches_the_runtime(tmp_path: Path) -> None:
    assert_runs_alike(make_checkpoint("segformer-b0", 128, 192), tmp_path / "bundle")


def test_pidnet_reaches_the_runtime_with_its_corners_aligned(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("pidnet-s", 128, 192)
    manifest = assert_runs_alike(checkpoint, tmp_path / "bundle")
    assert manifest["logits"] == {"width": 24, "height": 16, "align_corners": True}
    frame = make_frames(1, 120, 180)[0]
    prepared = torch.from_numpy(stpl_rt.preprocess(frame, checkpoint.input.spec()))[None]
    with torch.no_grad():
        logits = checkpoint.build()(prepared)
    expected = torch.nn.functional.interpolate(logits, (120, 180), mode="bilinear", align_corners=True).argmax(1)[0]
    assert (Predictor(checkpoint)(frame) == expected.numpy()).mean() > 0.999


@pytest.mark.slow
def test_the_benchmarks_network_reaches_the_runtime(tmp_path: Path) -> None:
    manifest = assert_runs_alike(make_checkpoint("accel_deeplabv2", 65, 97), tmp_path / "bundle")
    assert manifest["logits"] == {"width": 13, "height": 9, "align_corners": True}
    assert manifest["input"]["color_order"] == "bgr"


def test_bgr_input_is_prepared_alike_everywhere(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("compact", 48, 64, mean=(100.0, 110.0, 125.0), std=(1.0, 2.0, 4.0), color_order="bgr")
    assert assert_runs_alike(checkpoint, tmp_path / "bundle")["input"]["color_order"] == "bgr"
    frame = np.full((60, 80, 3), (200, 130, 90), np.uint8)  # RGB
    planes = stpl_rt.preprocess(frame, checkpoint.input.spec())
    assert planes[:, 5, 5].tolist() == pytest.approx([-10.0, 10.0, 18.75])


def test_merged_classes_reach_the_runtime(tmp_path: Path) -> None:
    own = make_checkpoint("compact", 48, 64)
    option = read_classes("car=vehicle,truck=vehicle,bus=vehicle,train=vehicle,rider=person")
    merged = own.with_classes(match_classes(own.classes, None, option))
    manifest = assert_runs_alike(merged, tmp_path / "bundle")
    names = [entry["name"] for entry in manifest["classes"]]
    assert names == [*CITYSCAPES.names[:12], "vehicle", *CITYSCAPES.names[17:]]
    assert named_classes(["car"]).colors[0] == tuple(manifest["classes"][names.index("vehicle")]["color"])
