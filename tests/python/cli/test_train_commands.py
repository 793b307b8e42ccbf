"""`source` and `adapt`: what they write, refuse, and keep after Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from safetensors.torch import save_file

from stpl.config import build_config
from stpl.train.checkpoint import load_checkpoint
from stpl.train.config import AdaptConfig

from .conftest import DAY, DUSK, SMALL, Command, Runs


def test_a_run_leaves_checkpoint_settings_metrics_and_report(runs: Runs) -> None:
    names = {path.name for path in runs.source.iterdir()}
    assert names == {"checkpoint.safetensors", "config.yaml", "metrics.jsonl"}
    assert {path.name for path in runs.adapted.iterdir()} == names | {"report.html"}
    assert load_checkpoint(runs.adapted).provenance["method"] == "stpl"


def test_options_and_overrides_reach_the_settings(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 7\nlearning_rate: 0.01\nseed: 3\nmethod: spatial\n")
    done = stpl_adapt(
        *("adapt", "--model", runs.source, "--target", DUSK, "--out", tmp_path / "out", "--config", recipe),
        *("--method", "bn", "--seed", "5", "batch_norm.blend=0.25", "calibration.enabled=false"),
    )
    assert done.status == 0
    written = (tmp_path / "out" / "config.yaml").read_text()
    for line in ("method: bn", "steps: 7", "learning_rate: 0.01", "seed: 5", "blend: 0.25"):
        assert line in written
    assert "report.html" in done.out


@pytest.mark.parametrize("which", ["source", "adapt"])
def test_ctrl_c_keeps_a_run_that_resumes(which: str, stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    out = tmp_path / "out"
    command = {
        "source": ["source", "--data", DAY, "--out", out, "--steps", "30", *SMALL],
        "adapt": [
            "adapt",
            "--model",
            runs.source,
            "--target",
            DUSK,
            "--out",
            out,
            "--steps",
            "30",
            "batch_size=1",
            "guard.mode=off",
        ],  # the model knows nothing yet
    }[which]
    metrics = out / "metrics.jsonl"

    def interrupt_after_the_first_step() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (metrics.exists() and '"step"' in metrics.read_text()):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_after_the_first_step)
    watcher.start()
    stopped = stpl_adapt(*command)
    watcher.join()
    assert stopped.status == 130
    assert "--resume" in stopped.err
    assert "Traceback" not in stopped.err
    assert not (out / "checkpoint.safetensors").exists()
    assert "--resume" in stpl_adapt(*command).mistake  # neither resumed nor replaced by accident
    assert stpl_adapt(*command, "--resume").status == 0
    load_checkpoint(out).build()


def test_a_finished_run_is_kept(stpl_adapt: Command, runs: Runs) -> None:
    before = (runs.source / "checkpoint.safetensors").read_bytes()
    again = stpl_adapt("source", "--data", DAY, "--out", runs.source, "--steps", "1", *SMALL)
    assert "--overwrite" in again.mistake
    assert "complete" in stpl_adapt("source", "--data", DAY, "--out", runs.source, "--resume", *SMALL).mistake
    assert (runs.source / "checkpoint.safetensors").read_bytes() == before


def test_a_mistake_with_overwrite_still_keeps_the_run(stpl_adapt: Command, runs: Runs) -> None:
    before = (runs.adapted / "checkpoint.safetensors").read_bytes()
    target = ["--target", "synthstreet:?domain=dusk&sed=1"]
    wrong = stpl_adapt("adapt", "--model", runs.source, *target, "--out", runs.adapted, "--overwrite")
    assert "did you mean 'seed'" in wrong.mistake
    assert (runs.adapted / "checkpoint.safetensors").read_bytes() == before


def test_the_source_model_is_not_overwritten_by_its_adaptation(stpl_adapt: Command, runs: Runs) -> None:
    own = stpl_adapt("adapt", "--model", runs.source, "--target", DUSK, "--out", runs.source, "--overwrite")
    assert "would be lost" in own.mistake
    assert (runs.source / "checkpoint.safetensors").exists()


def test_the_settings_are_printed_and_nothing_is_run(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    options = ["--model", runs.source, "--target", DUSK, "--out", tmp_path / "out", "--print-config"]
    printed = stpl_adapt("adapt", *options, "--method", "tps", "contrast.anchors=12")
    assert printed.status == 0, printed.err
    settings = build_config(AdaptConfig, yaml.safe_load(printed.out), "printed")
    assert settings == AdaptConfig.model_validate({"method": "tps", "contrast": {"anchors": 12}})
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_killed_before_its_report_gets_it(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    out = tmp_path / "run"
    shutil.copytree(runs.adapted, out)
    (out / "report.html").unlink()
    weights = (out / "checkpoint.safetensors").read_bytes()
    again = ["adapt", "--model", runs.source, "--target", DUSK, "--out", out, "--resume"]
    assert stpl_adapt(*again).status == 0
    assert (out / "report.html").stat().st_size > 1000
    assert (out / "checkpoint.safetensors").read_bytes() == weights
    assert "complete" in stpl_adapt(*again).mistake


def test_unknown_keys_and_names_come_with_the_nearest_right_one(
    stpl_adapt: Command, tmp_path: Path, runs: Runs
) -> None:
    adapt = ["adapt", "--model", runs.source, "--target", DUSK, "--out", tmp_path / "out"]
    assert "did you mean 'contrast.temperature'" in stpl_adapt(*adapt, "contrast.temprature=1").mistake
    assert "'many'" in stpl_adapt(*adapt, "batch_size=many").mistake
    assert "key=value" in stpl_adapt(*adapt, "batch_size").mistake
    assert "YAML" in stpl_adapt(*adapt, "batch_size=[1").mistake
    assert "greater than 0" in stpl_adapt(*adapt, "calibration.gammas=[-1]").mistake
    assert "finite" in stpl_adapt(*adapt, "learning_rate=.inf").mistake
    assert "guard.gammas" in stpl_adapt(*adapt, "guard.gammas=[]").mistake
    assert "methd" in stpl_adapt(*adapt, "methd=bn").mistake
    assert "compact" in stpl_adapt("source", "--data", DAY, "--out", tmp_path / "out", "--model", "compat").mistake
    assert not (tmp_path / "out").exists()


def truncated_video(folder: Path, runs: Runs) -> Path:
    path = folder / "cut.mp4"
    content = runs.video.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def empty_folder(folder: Path, _: Runs) -> Path:
    path = folder / "empty"
    path.mkdir()
    return path


def text_as_video(folder: Path, _: Runs) -> Path:
    path = folder / "notes.mp4"
    path.write_text("not a video")
    return path


def sixteen_bit_frames(folder: Path, _: Runs) -> Path:
    path = folder / "deep"
    path.mkdir()
    for index in range(3):
        PIL.Image.fromarray(np.zeros((48, 64), np.uint16)).save(path / f"{index}.png")
    return path


@pytest.mark.parametrize("make", [truncated_video, empty_folder, text_as_video, sixteen_bit_frames])
def test_bad_video_leaves_no_result(make, stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    target = make(tmp_path, runs)
    outcome = stpl_adapt("adapt", "--model", runs.source, "--target", target, "--out", tmp_path / "out", "batch_size=1")
    assert target.name in outcome.mistake
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_a_missing_video_is_said(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    adapt = ["adapt", "--model", runs.source, "--out", tmp_path / "out", "--target"]
    assert "no such file" in stpl_adapt(*adapt, tmp_path / "missing.mp4").mistake
    assert "folder" in stpl_adapt(*adapt, "foldr:somewhere").mistake
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_cannot_be_used_is_said(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    def mistake(model: Path) -> str:
        return stpl_adapt("adapt", "--model", model, "--target", DUSK, "--out", tmp_path / "out").mistake

    content = (runs.source / "checkpoint.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    assert "cut.safetensors" in mistake(tmp_path / "cut.safetensors")
    assert "found none" in mistake(tmp_path / "missing")
    checkpoint = load_checkpoint(runs.source)
    save_file(dict(checkpoint.weights), tmp_path / "foreign.safetensors")
    assert "written by stpl-adapt" in mistake(tmp_path / "foreign.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_source_model_needs_labels(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    assert "labels" in stpl_adapt("source", "--data", runs.video, "--out", tmp_path / "out").mistake
    assert not (tmp_path / "out").exists()


def test_adapt_says_what_the_guard_kept(stpl_adapt: Command, runs: Runs, tmp_path: Path) -> None:
    command = ["adapt", "--model", runs.source, "--target", DUSK, "--steps", "2", "batch_size=2", "guard.content=0"]
    quick = ["calibration.enabled=false", "guard.frames=2"]
    few = stpl_adapt(*command, *quick, "--out", tmp_path / "few")
    assert few.status == 0 and "guard: no weight trained: the video has 8 frames, fewer than 32" in few.out
    anything = ["guard.least_frames=2", "guard.pace=0", "guard.trust=0", "learning_rate=1e-9"]
    calm = stpl_adapt(*command, *quick, *anything, "--out", tmp_path / "calm")
    assert "guard: kept the snapshot of step 2 of 2\n" in calm.out
    assert "Kept: the model after 2 of 2 steps." in (tmp_path / "calm" / "report.html").read_text()
