"""Exported bundles: what they hold, that they agree with PyTorch, and that a faulty one is not written."""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import stpl_rt
from stpl.data.classes import ClassSet
from stpl.errors import UserError
from stpl.evaluate import Predictor
from stpl.export import EngineParity, ParityError, bundle, export_bundle, export_onnx, measure_parity
from stpl.method.tone_curves import gamma_lut
from stpl.models import build_model
from stpl.train.checkpoint import Checkpoint, InputConfig

CLASSES = ClassSet(("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180)))


def make_checkpoint(**input_changes: Any) -> Checkpoint:
    """A compact network with random weights; its batch-norm statistics are not the trivial ones either."""
    torch.manual_seed(3)
    model = build_model("compact", len(CLASSES))
    model.train()
    with torch.no_grad():
        model(torch.randn(2, 3, 48, 64))
    spec = InputConfig(**{"height": 48, "width": 64, **input_changes})
    return Checkpoint("compact", CLASSES, spec, {}, {"method": "stpl", "seed": 3}).with_weights(model)


def make_frames(count: int = 2, height: int = 90, width: int = 130) -> list[np.ndarray]:
    """Smooth random pictures: noise of pixels would average out before the network sees it."""
    rng = np.random.default_rng(5)
    coarse = [rng.integers(0, 256, (height // 10, width // 10, 3)) for _ in range(count)]
    return [np.kron(c, np.ones((10, 10, 1))).astype(np.uint8) for c in coarse]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint(lut=gamma_lut(0.7), mean=(100.5, 110.25, 120.0), std=(50.0, 51.0, 52.5))


@pytest.fixture(scope="module")
def exported(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> bundle.ExportResult:
    out = tmp_path_factory.mktemp("export") / "street.bundle"
    return export_bundle(checkpoint, out, make_frames(), schedule="fixed:4", provenance={"checkpoint_sha256": "ab"})


def test_all_engines_agree_with_pytorch(exported: bundle.ExportResult) -> None:
    assert [engine.engine for engine in exported.parity.engines] == ["ONNX Runtime", "stpl_rt"]
    for engine in exported.parity.engines:
        assert engine.pixels == 2 * 90 * 130
        assert engine.agreement >= 0.9999
        assert 0 < engine.largest_difference < 1e-3


def test_the_runtime_gives_the_labels_of_the_checkpoint(exported: bundle.ExportResult, checkpoint: Checkpoint) -> None:
    segmenter = stpl_rt.Segmenter(exported.bundle, schedule="every")
    predict = Predictor(checkpoint)
    for frame in make_frames():
        expected = predict(frame)
        assert len(np.unique(expected)) > 1
        assert (segmenter.push(frame).labels == expected).mean() >= 0.9999


def test_the_manifest_says_what_the_checkpoint_says(exported: bundle.ExportResult, checkpoint: Checkpoint) -> None:
    manifest = stpl_rt.Bundle.open(exported.bundle)
    assert manifest.name == "street"
    assert tuple(info.name for info in manifest.classes) == CLASSES.names
    assert tuple(tuple(info.color) for info in manifest.classes) == CLASSES.colors
    assert manifest.ignore_id == 255
    assert (manifest.input.height, manifest.input.width) == (48, 64)
    assert list(manifest.input.mean) == [100.5, 110.25, 120.0]
    assert list(manifest.input.std) == [50.0, 51.0, 52.5]
    np.testing.assert_array_equal(manifest.input.lut, np.array(checkpoint.input.lut))
    assert (manifest.input.resize, manifest.input.filter) == ("stretch", "area")
    assert (manifest.logits.height, manifest.logits.width, manifest.logits.align_corners) == (12, 16, False)
    assert manifest.default_schedule == "fixed:4"
    provenance = manifest.provenance
    assert (provenance["method"], provenance["seed"], provenance["arch"]) == ("stpl", 3, "compact")
    assert provenance["checkpoint_sha256"] == "ab"
    assert provenance["versions"]["torch"] == torch.__version__


def test_a_look_up_table_is_one_line_of_the_manifest(exported: bundle.ExportResult) -> None:
    text = (exported.bundle / "manifest.json").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120


def test_nothing_is_left_beside_the_bundle(exported: bundle.ExportResult) -> None:
    assert [path.name for path in exported.bundle.parent.iterdir()] == ["street.bundle"]
    assert sorted(path.name for path in exported.bundle.iterdir()) == ["manifest.json", "segment.onnx"]
    assert exported.bundle.stat().st_mode & 0o500 == 0o500


def test_the_network_names_no_file_and_no_class_of_the_exporting_program(exported: bundle.ExportResult) -> None:
    content = (exported.bundle / "segment.onnx").read_bytes()
    for trace in (b".py", b"CompactNet", str(Path.cwd()).encode(), b"stack_trace"):
        assert trace not in content
    network = onnx.load_model_from_string(content)
    assert [entry.version for entry in network.opset_import] == [18]


def test_the_same_weights_and_date_give_the_same_files(
    checkpoint: Checkpoint, exported: bundle.ExportResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    again = export_bundle(checkpoint, tmp_path / "again", make_frames(1))
    first, second = ((folder / "segment.onnx").read_bytes() for folder in (exported.bundle, again.bundle))
    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()
    written = stpl_rt.Bundle.open(again.bundle).provenance["exported"]
    assert datetime.datetime.fromisoformat(written).timestamp() == 86400


def test_export_leaves_the_mode_of_the_model_alone(tmp_path: Path) -> None:
    model = build_model("compact", 2).train()
    exported = export_onnx(model, 32, 48, tmp_path / "a.onnx")
    assert model.training
    assert exported.logits_shape == (1, 2, 8, 12)


def test_size_overrides_the_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    result = export_bundle(checkpoint, tmp_path / "b", make_frames(1), size=(50, 70))
    manifest = stpl_rt.Bundle.open(result.bundle)
    assert (manifest.input.height, manifest.input.width) == (50, 70)
    assert (manifest.logits.height, manifest.logits.width) == (13, 18)  # ceil(size / 4)


def test_a_size_the_network_cannot_take_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found 8x64"):
        export_bundle(checkpoint, tmp_path / "b", make_frames(1), size=(8, 64))
    assert list(tmp_path.iterdir()) == []


def test_letterboxed_input_is_exported(tmp_path: Path) -> None:
    result = export_bundle(make_checkpoint(resize="letterbox"), tmp_path / "b", make_frames(1))
    assert stpl_rt.Bundle.open(result.bundle).input.resize == "letterbox"
    assert all(engine.agreement >= 0.9999 for engine in result.parity.engines)


@pytest.fixture
def faulty_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that gets one layer wrong: the classifier's biases."""

    def export(model: torch.nn.Module, height: int, width: int, file: Path) -> Any:
        broken = copy.deepcopy(model)
        with torch.no_grad():
            broken.classifier.bias += torch.tensor([0.5, 0.0, -0.5])
        return export_onnx(broken, height, width, file)

    monkeypatch.setattr(bundle, "export_onnx", export)


@pytest.mark.usefixtures("faulty_exporter")
def test_an_export_that_does_not_agree_is_not_written(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"expected ONNX Runtime to give PyTorch's label on 99\.99 %"):
        export_bundle(checkpoint, tmp_path / "b", make_frames(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("faulty_exporter")
def test_a_failed_export_keeps_the_bundle_that_it_was_to_replace(
    checkpoint: Checkpoint, exported: bundle.ExportResult, tmp_path: Path
) -> None:
    out = tmp_path / "b"
    out.mkdir()
    for file in exported.bundle.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ParityError):
        export_bundle(checkpoint, out, make_frames(1), overwrite=True)
    assert stpl_rt.Bundle.open(out).name == "street"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_weights_that_are_not_finite_are_not_exported(checkpoint: Checkpoint, tmp_path: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    weights["classifier.bias"][1] = float("nan")
    broken = Checkpoint(checkpoint.arch, checkpoint.classes, checkpoint.input, weights)
    with pytest.raises(ParityError, match="finite"):
        export_bundle(broken, tmp_path / "b", make_frames(1))
    assert list(tmp_path.iterdir()) == []


def test_a_taken_place_is_refused_and_overwrite_replaces_bundles_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "b"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="--overwrite"):
        export_bundle(checkpoint, out, make_frames(1))
    export_bundle(checkpoint, out, make_frames(1), overwrite=True)
    assert stpl_rt.Bundle.open(out).name == "b"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="something else"):
        export_bundle(checkpoint, other, make_frames(1), overwrite=True)
    assert (other / "cat.jpg").exists()


def test_parity_counts_pixels_and_the_largest_difference() -> None:
    parity = EngineParity("x")
    logits = np.zeros((2, 1, 2), np.float32)
    other = logits + np.array([0.0, -0.25], np.float32)
    labels = np.array([[0, 1, 1, 1]], np.uint8)
    parity.update(logits, other, labels, np.array([[0, 1, 1, 0]], np.uint8))
    parity.update(logits, logits, labels, labels)
    assert parity.largest_difference == 0.25
    assert parity.agreement == 7 / 8


def test_parity_without_a_frame_is_refused(exported: bundle.ExportResult, checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        measure_parity(checkpoint.build(), exported.bundle, [])


def test_parity_is_written_as_json(exported: bundle.ExportResult) -> None:
    record = json.loads(json.dumps(exported.parity.to_dict()))
    assert record["frames"] == 2
    assert record["stpl_rt"]["agreement"] == exported.parity.engines[1].agreement
