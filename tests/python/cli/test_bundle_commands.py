"""`export`, `evaluate` and `segment`: from a checkpoint to labels, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import stpl_rt
from stpl.data.specs import open_dataset
from stpl.models.accel import FuseNet
from stpl.train.accel import AccelConfig, save_accel
from stpl.train.checkpoint import load_checkpoint
from stpl.train.run import ACCEL_FILE, RESUME_FILE
from stpl_rt.video import read_frames

from .conftest import DAY, DUSK, Command, Outcome, Runs, write_folder


@pytest.fixture
def bundle(runs: Runs, tmp_path: Path) -> Path:
    """A bundle of its own for a test to damage."""
    return Path(shutil.copytree(runs.bundle, tmp_path / "own.bundle"))


def damage(bundle: Path, old: str, new: str) -> None:
    manifest = bundle / "manifest.json"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))


def read_labels(folder: Path) -> dict[str, np.ndarray]:
    return {str(file.relative_to(folder)): np.array(PIL.Image.open(file)) for file in sorted(folder.rglob("*.png"))}


def test_export_prints_parity_and_refuses_what_it_cannot_do(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    export = ["export", "--model", runs.source, "--out", tmp_path / "b"]
    assert "expected --calibration-data" in stpl_adapt(*export, "--precision", "int8").mistake
    assert "expected fp32, fp16, bf16, int8; found 'fp23'" in stpl_adapt(*export, "--precision", "fp23").mistake
    assert "found fp32" in stpl_adapt(*export, "--max-loss", "1").mistake
    low = [*export, "--precision", "int8", "--calibration-data", DUSK]
    assert "found 'best'" in stpl_adapt(*low, "--calibration", "best").mistake
    assert "found 101" in stpl_adapt(*low, "--max-loss", "101").mistake
    assert "found '240'" in stpl_adapt(*export, "--size", "240").mistake
    assert "fixed:K" in stpl_adapt(*export, "--schedule", "fixed:0").mistake
    assert list(tmp_path.iterdir()) == []
    done = stpl_adapt(*export, "--size", "64x80", "--data", runs.video, "--frames", "2", "--schedule", "fixed:3")
    assert done.status == 0
    for engine in ("ONNX Runtime", "stpl_rt"):
        row = next(line for line in done.out.splitlines() if engine in line)
        assert re.search(r"\d\.\d\de-\d\d .*(100|99)\.\d{4}", row)
    manifest = stpl_rt.Bundle.open(tmp_path / "b")
    assert (manifest.input.height, manifest.input.width, manifest.default_schedule) == (64, 80, "fixed:3")
    assert len(manifest.provenance["checkpoint_sha256"]) == 64
    assert "--overwrite" in stpl_adapt(*export).mistake


def test_networks_of_accel_mode_are_of_one_size_and_of_the_runs_classes(
    stpl_adapt: Command, runs: Runs, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs.adapted, run)
    checkpoint = load_checkpoint(run)
    save_accel({"fuse": FuseNet(len(checkpoint.classes))}, AccelConfig(), checkpoint, run / ACCEL_FILE)
    export = ["export", "--model", run, "--data", runs.video, "--frames", "1"]
    refused = stpl_adapt(*export, "--out", tmp_path / "small", "--size", "64x80")
    assert "without --size and --classes, or with --no-accel" in refused.mistake
    assert not (tmp_path / "small").exists()
    assert stpl_adapt(*export, "--out", tmp_path / "plain", "--size", "64x80", "--no-accel").status == 0
    assert not (tmp_path / "plain" / "fuse.onnx").exists()
    assert stpl_adapt(*export, "--out", tmp_path / "whole").status == 0
    assert (tmp_path / "whole" / "fuse.onnx").is_file()


def test_a_run_that_ended_in_accel_mode_is_exported_without_its_networks_only_if_asked(
    stpl_adapt: Command, runs: Runs, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs.adapted, run)
    (run / RESUME_FILE).write_bytes(b"")
    export = ["export", "--model", run, "--data", runs.video, "--frames", "1"]
    refused = stpl_adapt(*export, "--out", tmp_path / "silent").mistake
    assert "while it trained the networks of accel mode" in refused and "--resume" in refused
    assert not (tmp_path / "silent").exists()
    assert stpl_adapt(*export, "--out", tmp_path / "plain", "--no-accel").status == 0


def test_export_lowers_builds_plans_and_puts_them_in(
    stpl_adapt: Command, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "b"
    export = ["export", "--model", runs.adapted, "--out", out]
    assert "expected --tensorrt" in stpl_adapt(*export, "--batch", "4").mistake
    assert "found '4,2,8'" in stpl_adapt(*export, "--tensorrt", "--batch", "4,2,8").mistake
    assert "found '9.0'" in stpl_adapt(*export, "--tensorrt", "--compute-capability", "9.0").mistake
    assert "DLA" in stpl_adapt(*export, "--tensorrt", "--dla-core", "0").mistake
    assert "workspace_mib" in stpl_adapt(*export, "--tensorrt", "--workspace", "0").mistake
    assert not out.exists()
    low = ["--precision", "fp16", "--calibration-data", runs.video, "--calibration-frames", "2", "--max-loss", "5"]
    done = stpl_adapt(*export, *low, "--frames", "2", "--tensorrt", "--embed-plan")
    assert done.status == 0, done.err
    assert re.search(r"segment: fp16, \d\.\d\d% of the labels differ", done.out)
    assert re.search(r"segment: fp16 for sm80-up, tensorrt_rtx \S+, \d+\.\d MB, built", done.out)
    assert len(list((tmp_path / "cache").rglob("segment-*-fp16-*.plan"))) == 1
    assert len(list((out / "plans").iterdir())) == 2
    assert stpl_rt.Bundle.open(out).provenance["precision"]["calibration_data"] == str(runs.video)


def test_a_bundle_gets_plans_without_being_written_anew(
    stpl_adapt: Command, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = {file: file.read_bytes() for file in runs.bundle.iterdir()}
    export = ["export", "--model", runs.bundle]
    assert "is a bundle already" in stpl_adapt(*export).mistake
    assert "is a bundle already" in stpl_adapt(*export, "--tensorrt", "--out", tmp_path / "c").mistake
    assert ", built" in stpl_adapt(*export, "--tensorrt", "--batch", "1,2,4").out
    assert "found in the cache" in stpl_adapt(*export, "--tensorrt", "--batch", "1,2,4").out
    plan = next(tmp_path.rglob("*.plan"))
    plan.write_bytes(plan.read_bytes()[:1000])
    assert "the file is cut off" in stpl_adapt(*export, "--tensorrt", "--batch", "1,2,4").out
    assert {file: file.read_bytes() for file in runs.bundle.iterdir()} == before


def test_a_plan_that_cannot_be_built_is_a_fault_without_a_traceback(
    stpl_adapt: Command, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stpl.export.tensorrt.UNPORTABLE", ("Conv",))
    failed = stpl_adapt("export", "--model", runs.bundle, "--tensorrt", "--rebuild")
    assert failed.status == 1
    assert failed.err.startswith("error: expected a network without Conv")
    assert "Traceback" not in failed.err


def test_a_failed_parity_is_a_fault_without_a_traceback(
    stpl_adapt: Command, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stpl.export.parity.Parity.require.__defaults__", (1.01,))  # more than can be reached
    failed = stpl_adapt("export", "--model", runs.source, "--out", tmp_path / "b", "--data", DUSK, "--frames", "1")
    assert failed.status == 1
    assert failed.err.startswith("error: parity: expected ONNX Runtime")
    assert "Traceback" not in failed.err
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_and_its_bundle_are_evaluated_alike(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    records = []
    for model in (runs.adapted, runs.bundle):
        file = tmp_path / f"{model.name}.json"
        done = stpl_adapt("evaluate", "--model", model, "--data", DUSK, "--json", file)
        assert done.status == 0
        record = json.loads(file.read_text())
        assert f"{100 * record['miou']:.2f}" in done.out
        assert "temporal consistency" in done.out
        records.append(record)
    checkpoint, bundle = records
    assert bundle["pixels"] == checkpoint["pixels"] == 8 * 48 * 64
    assert bundle["miou"] == pytest.approx(checkpoint["miou"], abs=1e-3)
    assert checkpoint["key_ms"] is None
    assert bundle["key_ms"]["frames"] == 8


def test_a_bundle_is_evaluated_by_distance_from_the_key_frame(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    evaluate = ["evaluate", "--model", runs.bundle, "--data", DUSK, "--schedule", "fixed:4", "--limit", "6"]
    done = stpl_adapt(*evaluate, "--json", tmp_path / "new" / "result.json")
    record = json.loads((tmp_path / "new" / "result.json").read_text())
    assert list(record["miou_by_age"]) == ["0", "1", "2", "3"]
    assert record["labelled_frames"] == 6
    assert "by distance from key" in done.out
    assert "fixed:K" in stpl_adapt(*evaluate[:-4], "--schedule", "fixed:x").mistake


def test_evaluation_refuses_what_it_cannot_compare(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    assert "without labels" in stpl_adapt("evaluate", "--model", runs.source, "--data", runs.video).mistake
    wrong = stpl_adapt("evaluate", "--model", runs.source, "--data", DUSK, "--schedule", "every")
    assert "for bundles" in wrong.mistake
    data = write_folder(tmp_path / "town", {"a": 2})
    (data / "dataset.yaml").write_text("classes:\n- {name: road, id: 0, color: [1, 2, 3]}\n")
    (data / "a" / "labels").mkdir()
    PIL.Image.fromarray(np.zeros((30, 40), np.uint8)).save(data / "a" / "labels" / "f0.png")
    assert "expected the model's classes" in stpl_adapt("evaluate", "--model", runs.source, "--data", data).mistake


def test_labels_outside_the_class_list_are_named(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    classes = open_dataset(DAY).classes
    assert classes is not None
    data = write_folder(tmp_path / "town", {"a": 1})
    entries = [
        f"- {{name: {name}, id: {index}, color: {list(color)}}}"
        for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
    ]
    (data / "dataset.yaml").write_text("classes:\n" + "\n".join(entries) + "\n")
    (data / "a" / "labels").mkdir()
    PIL.Image.fromarray(np.full((30, 40), 77, np.uint8)).save(data / "a" / "labels" / "f0.png")
    assert "77" in stpl_adapt("evaluate", "--model", runs.source, "--data", data).mistake


def test_segment_writes_labels_and_overlay_of_a_video(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    done = stpl_adapt(
        *("segment", "--bundle", runs.bundle, "--input", runs.video, "--schedule", "fixed:5"),
        *("--labels-out", tmp_path / "labels", "--overlay-out", tmp_path / "overlay.mp4"),
    )
    assert done.status == 0
    segmenter = stpl_rt.Segmenter(runs.bundle, schedule="fixed:5")
    frames = list(read_frames(runs.video))
    labels = read_labels(tmp_path / "labels")
    assert list(labels) == [f"{index:06d}.png" for index in range(12)]
    for frame, written in zip(frames, labels.values(), strict=True):
        assert written.dtype == np.uint8
        np.testing.assert_array_equal(written, segmenter.push(frame).labels)
    overlay = list(read_frames(tmp_path / "overlay.mp4"))
    assert len(overlay) == 12
    colors = [info.color for info in segmenter.bundle.classes]
    expected = stpl_rt.overlay(frames[0], labels["000000.png"], colors).astype(int)
    assert np.abs(overlay[0].astype(int) - expected).mean() < 12  # H.264 loses a little
    assert re.search(r"key frames +3 \(1 first, 2 schedule\)", done.out)
    assert re.search(r"propagated frame +p50 [\d.]+ ms, p99 [\d.]+ ms", done.out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "overlay.mp4"]


def test_labels_are_named_after_the_frames_and_sequences_start_anew(
    stpl_adapt: Command, runs: Runs, tmp_path: Path
) -> None:
    data = write_folder(tmp_path / "town", {"a": 3, "b": 2})
    segment = ["segment", "--bundle", runs.bundle, "--schedule", "fixed:9", "--labels-out"]
    done = stpl_adapt(*segment, tmp_path / "all", "--input", data)
    assert list(read_labels(tmp_path / "all")) == ["a/f0.png", "a/f1.png", "a/f2.png", "b/f0.png", "b/f1.png"]
    assert all(labels.shape == (30, 40) for labels in read_labels(tmp_path / "all").values())
    assert re.search(r"key frames +\d \(2 first", done.out)
    stpl_adapt(*segment, tmp_path / "one", "--input", f"folder:{data}?sequences=b", "--limit", "1")
    assert list(read_labels(tmp_path / "one")) == ["f0.png"]


def test_outputs_that_exist_are_kept(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    segment = ["segment", "--bundle", runs.bundle, "--input", runs.video, "--limit", "2"]
    labels, overlay = tmp_path / "labels", tmp_path / "o.mp4"
    labels.mkdir()
    (labels / "000000.png").write_bytes(b"mine")
    overlay.write_bytes(b"mine")
    assert "--overwrite" in stpl_adapt(*segment, "--labels-out", labels).mistake
    assert "--overwrite" in stpl_adapt(*segment, "--overlay-out", overlay).mistake
    assert (labels / "000000.png").read_bytes() == overlay.read_bytes() == b"mine"
    assert "folder" in stpl_adapt(*segment, "--labels-out", overlay).mistake
    assert stpl_adapt(*segment, "--labels-out", labels, "--overlay-out", overlay, "--overwrite").status == 0
    assert len(list(read_frames(overlay))) == len(read_labels(labels)) == 2


def test_labels_never_replace_the_frames_they_are_of(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "town", {"a": 1})
    before = (data / "a" / "frames" / "f0.png").read_bytes()
    segment = ["segment", "--bundle", runs.bundle, "--input", data, "--overwrite", "--labels-out"]
    assert "would be lost" in stpl_adapt(*segment, data / "a" / "frames").mistake
    assert (data / "a" / "frames" / "f0.png").read_bytes() == before


def segment_mistake(stpl_adapt: Command, runs: Runs, tmp_path: Path, source: str | Path, *more: str) -> str:
    outcome: Outcome = stpl_adapt(
        "segment", "--bundle", runs.bundle, "--input", source, "--overlay-out", tmp_path / "o.mp4", *more
    )
    assert not (tmp_path / "o.mp4").exists()
    assert list(tmp_path.glob(".*")) == []
    return outcome.mistake


def test_bad_input_leaves_no_overlay(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    def mistake(source: str | Path, *more: str) -> str:
        return segment_mistake(stpl_adapt, runs, tmp_path, source, *more)

    content = runs.video.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) // 2])
    assert "cut.mp4" in mistake(cut)
    assert "no such file" in mistake(tmp_path / "missing.mp4")
    assert "camera:77" in mistake("camera:77")
    (tmp_path / "empty").mkdir()
    assert "no frames" in mistake(tmp_path / "empty")
    assert "--fps" in mistake(runs.video, "--fps", "0")
    assert "fixed:K" in mistake(runs.video, "--schedule", "sometimes")
    assert "cpu" in mistake(runs.video, "--device", "cuda")
    assert "precision" in mistake(runs.video, "--precision", "f64").lower()
    mixed = write_folder(tmp_path / "mixed", {"a": 1})
    write_folder(tmp_path / "mixed", {"b": 1}, height=32)
    assert "one size" in mistake(mixed)
    named_txt = stpl_adapt(
        "segment", "--bundle", runs.bundle, "--input", runs.video, "--overlay-out", tmp_path / "o.txt"
    )
    assert ".mp4" in named_txt.mistake


@pytest.mark.parametrize("command", ["segment", "evaluate"])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"file": "segment.onnx"', '"file": "../segment.onnx"', "inside the bundle"),
        ('"file": "segment.onnx"', '"file": "/etc/passwd"', "inside the bundle"),
        ('"sha256": "', '"sha256": "0', "64 lower-case"),
        ('"ignore_id"', '"ignored_id"', "ignored_id"),
    ],
)
def test_a_bad_manifest_is_the_users_mistake(
    command: str, old: str, new: str, said: str, stpl_adapt: Command, runs: Runs, bundle: Path
) -> None:
    damage(bundle, old, new)
    arguments = {
        "segment": ["segment", "--bundle", bundle, "--input", runs.video],
        "evaluate": ["evaluate", "--model", bundle, "--data", DUSK],
    }[command]
    assert said in stpl_adapt(*arguments).mistake


def test_a_damaged_network_is_the_users_mistake(stpl_adapt: Command, runs: Runs, bundle: Path) -> None:
    with (bundle / "segment.onnx").open("ab") as file:
        file.write(b"\0")
    assert "SHA-256" in stpl_adapt("segment", "--bundle", bundle, "--input", runs.video).mistake
    nowhere = stpl_adapt("segment", "--bundle", bundle.parent / "nowhere", "--input", runs.video)
    assert "nowhere" in nowhere.mistake


def test_ctrl_c_keeps_what_was_segmented(runs: Runs, tmp_path: Path) -> None:
    labels, overlay = tmp_path / "labels", tmp_path / "o.mp4"
    endless = f"synthstreet:?domain=dusk&seed=3&sequences=1&frames=5000&{DUSK.rpartition('&')[2]}"
    command = [sys.executable, "-m", "stpl.cli.main", "segment", "--bundle", runs.bundle, "--input", endless]
    process = subprocess.Popen(
        [*command, "--labels-out", labels, "--overlay-out", overlay], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (labels / "000003.png").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "kept" in err
    assert len(list(read_frames(overlay))) == len(list(labels.glob("*.png"))) >= 4
    assert list(labels.glob(".*")) == []
