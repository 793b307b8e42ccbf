"""Source training and adaptation on small generated video: what they write, refuse, resume and reproduce."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from stpl.config import load_config
from stpl.data.classes import IGNORE_ID, ClassSet
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.data.sweep import Sweep
from stpl.errors import UserError
from stpl.method.calibration import CalibrationConfig
from stpl.method.guard import GuardConfig
from stpl.train.accel import AccelConfig
from stpl.train.adapt import adapt
from stpl.train.checkpoint import Checkpoint, InputConfig, load_checkpoint, save_checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.objectives import build_objective
from stpl.train.run import RESUME_FILE, ResumeState, run_folder
from stpl.train.source import SourceConfig, train_source
from stpl.train.stages import spread

INPUT = InputConfig(height=48, width=64)
SOURCE = SourceConfig(input=INPUT, crop=(32, 48), steps=3, batch_size=2, seed=1, save_every=2)
ADAPT = AdaptConfig(
    steps=3,
    batch_size=2,
    seed=2,
    snapshot_every=2,
    save_every=2,
    calibration=CalibrationConfig(gammas=(1.0, 0.6), frames=4),
    guard=GuardConfig(mode="off"),  # three steps of a model that knows nothing: it has its own tests
)
DAY = "synthstreet:?domain=day&seed=1&sequences=1&frames=4&size=48x64"
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=2&frames=4&size=48x64"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Checkpoint:
    return train_source(SOURCE, open_dataset(DAY), tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def dusk():
    return InMemory(open_dataset(DUSK))


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_source_run_writes_a_checkpoint_that_loads(source, tmp_path):
    save_checkpoint(source, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.classes == source.classes and loaded.input == source.input and same_weights(loaded, source)
    images = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.build()(images), source.build()(images))


@pytest.mark.parametrize(
    "method", ["stpl", "spatial", "temporal", "spatial+temporal", "duplicate", "self-training", "bn"]
)
def test_every_method_changes_the_model_and_logs_its_losses(method, source, dusk, tmp_path):
    config = ADAPT.model_copy(update={"method": method})
    adapted = adapt(config, source, dusk, tmp_path)
    assert not same_weights(adapted, source)
    assert all(torch.isfinite(t).all() for t in adapted.weights.values() if t.is_floating_point())
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"calibration", "batch_norm", "done"} <= {e["event"] for e in events}
    steps = [e for e in events if e["event"] == "step"]
    assert len(steps) == (0 if method == "bn" else 3)
    assert all(("loss_contrast" in e) == (method != "self-training") for e in steps)
    assert same_weights(load_checkpoint(tmp_path), adapted)


@pytest.mark.parametrize("fusion", ["concatenation", "addition", "1x1", "attention"])
@pytest.mark.parametrize("clean_branch", ["student", "teacher"])
def test_stpl_trains_student_fusion_and_projection(fusion, clean_branch, source, dusk, tmp_path):
    config = load_config(
        AdaptConfig,
        None,
        [f"contrast.fusion={fusion}", f"contrast.clean_branch={clean_branch}", "steps=1", "guard.mode=off"],
    )
    objective = build_objective(config, source.build(), (64, 64))
    assert any("projection" in name for name, _ in objective.named_parameters())
    adapted = adapt(config, source, dusk, tmp_path)
    assert not same_weights(adapted, source)


@pytest.mark.parametrize("control", ["past=random", "contrast.flow=zero"])
def test_control_changes_the_outcome_and_is_keyed_by_the_seed(control, source, dusk, tmp_path):
    config = ADAPT.model_copy(update={"steps": 2})
    plain = adapt(config, source, dusk, tmp_path / "plain")
    changed = load_config(AdaptConfig, None, [control])
    controlled = config.model_copy(update={"past": changed.past, "contrast": changed.contrast})
    first = adapt(controlled, source, dusk, tmp_path / "a")
    assert not same_weights(first, plain)
    assert same_weights(first, adapt(controlled, source, dusk, tmp_path / "b"))


def test_adaptation_never_reads_labels(source, tmp_path, monkeypatch):
    data = InMemory(open_dataset(DUSK))

    def forbidden(self, index):
        raise AssertionError("adaptation read a label")

    monkeypatch.setattr(type(data), "label", forbidden)
    adapt(ADAPT, source, data, tmp_path)


def test_same_seed_same_weights_other_seed_other_weights(source, dusk, tmp_path):
    first = adapt(ADAPT, source, dusk, tmp_path / "a")
    assert same_weights(first, adapt(ADAPT, source, dusk, tmp_path / "b"))
    other = ADAPT.model_copy(update={"seed": 9})
    assert not same_weights(first, adapt(other, source, dusk, tmp_path / "c"))


@pytest.mark.parametrize("method", ["self-training", "bn"])
def test_what_was_learnt_is_saved_before_accel_mode_is_trained(method, source, dusk, tmp_path, monkeypatch):
    def killed(*_, workers, **__):
        # What has not trained anything has no state to resume, and its checkpoint says that the run is complete.
        assert workers == 3 and (tmp_path / "checkpoint.safetensors").is_file() == (method == "self-training")
        raise RuntimeError("killed")

    config = ADAPT.model_copy(update={"method": method, "accel": AccelConfig(enabled=True), "workers": 3})
    monkeypatch.setattr("stpl.train.adapt.clips_of", lambda *_: None)
    monkeypatch.setattr("stpl.train.adapt.train_accel", killed)
    with pytest.raises(RuntimeError, match="killed"), run_folder(tmp_path):
        adapt(config, source, dusk, tmp_path)
    monkeypatch.setattr("stpl.train.adapt.train_accel", lambda *_, **__: None)
    with run_folder(tmp_path, resume=True):
        adapted = adapt(config, source, dusk, tmp_path, resume=True)
    assert same_weights(load_checkpoint(tmp_path), adapted) and not (tmp_path / RESUME_FILE).exists()


def test_too_short_a_video_for_accel_mode_is_said_before_anything_is_trained(source, dusk, tmp_path):
    config = ADAPT.model_copy(update={"accel": AccelConfig(enabled=True)})
    with pytest.raises(UserError, match=r"accel: expected at least .* accel\.enabled=false"):
        adapt(config, source, dusk, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_frames_at_random_have_their_flow_from_where_the_training_is(source, dusk, tmp_path, monkeypatch):
    asked = []

    def on_the_device(present, past):
        asked.append(present.shape)
        return np.zeros((*present.shape, 2), np.float32)

    monkeypatch.setattr("stpl.train.adapt.flow_on", lambda device: on_the_device)
    config = ADAPT.model_copy(update={"past": "random", "flow_cache": str(tmp_path / "flow")})
    adapt(config, source, dusk, tmp_path / "run")
    kept = len(list((tmp_path / "flow").rglob("*.flow")))
    # The cache asks once for its own sake, and once for each file.
    assert len(asked) - 1 - kept > 0, "flow of frames that chance brings together is not kept"


@pytest.mark.parametrize("which", ["source", "adapt"])
def test_interrupted_run_resumes_to_the_same_weights(which, source, dusk, tmp_path):
    day = open_dataset(DAY)

    def run(out: Path, resume: bool = False) -> Checkpoint:
        if which == "source":
            return train_source(SOURCE, day, out, resume=resume)
        return adapt(ADAPT, source, dusk, out, resume=resume)

    whole = run(tmp_path / "whole")
    out = tmp_path / "interrupted"
    metrics = out / "metrics.jsonl"

    def interrupt_after_the_first_step() -> None:
        while not (metrics.exists() and '"step"' in metrics.read_text()):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_after_the_first_step)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run(out)
    watcher.join()
    assert (out / RESUME_FILE).is_file() and not (out / "checkpoint.safetensors").exists()
    assert same_weights(run(out, resume=True), whole)
    assert not (out / RESUME_FILE).exists()
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines() if '"event": "step"' in line]
    assert steps == [0, 1, 2]


def test_resumed_moments_lie_in_memory_as_their_weights_do(tmp_path):
    """As on a GPU, where one fused kernel pairs weights and moments by place."""

    def training() -> tuple[torch.nn.Module, torch.optim.Optimizer, ResumeState]:
        torch.manual_seed(3)
        network = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
        return network, optimizer, ResumeState({"network": network}, optimizer, ADAPT, {})

    def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
        optimizer.zero_grad()
        images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))
        network(images.to(memory_format=torch.channels_last)).square().sum().backward()
        optimizer.step()

    network, optimizer, state = training()
    step(network, optimizer, 0)
    state.save(tmp_path / "state", 1)
    step(network, optimizer, 1)
    resumed, its_optimizer, its_state = training()
    assert its_state.load(tmp_path / "state") == 1
    step(resumed, its_optimizer, 1)
    assert torch.equal(resumed.weight, network.weight)


def test_resume_of_another_run_is_refused_and_changes_nothing(source, dusk, tmp_path):
    _interrupted(source, dusk, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"config\.learning_rate = 0\.0004; found config\.learning_rate = 1e-05"):
        adapt(ADAPT.model_copy(update={"learning_rate": 1e-5}), source, dusk, tmp_path, resume=True)
    with pytest.raises(UserError, match="target"):
        adapt(ADAPT, source, open_dataset(DAY), tmp_path, resume=True)
    other = adapt(ADAPT.model_copy(update={"method": "bn"}), source, dusk, tmp_path / "other")
    with pytest.raises(UserError, match="source model"):
        adapt(ADAPT, other, dusk, tmp_path, resume=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def _interrupted(source, dusk, out: Path) -> None:
    def stop(step, checkpoint):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        adapt(ADAPT, source, dusk, out, on_snapshot=stop)


def test_resume_on_data_that_was_changed_is_refused(source, dusk, tmp_path):
    for index in range(len(dusk)):
        identity = dusk.frame_id(index)
        file = tmp_path / "clip" / identity.sequence / "frames" / f"{identity.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(dusk.frame(index)).save(file)
    out = tmp_path / "run"
    _interrupted(source, open_dataset(str(tmp_path / "clip")), out)
    file = sorted((tmp_path / "clip").rglob("*.png"))[-1]  # neither the first frame nor the number of frames changes
    PIL.Image.fromarray(255 - np.asarray(PIL.Image.open(file))).save(file)
    with pytest.raises(UserError, match="target = clip, 8 frames"):
        adapt(ADAPT, source, open_dataset(str(tmp_path / "clip")), out, resume=True)


def hold_run(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint.safetensors").write_bytes(b"old weights")
    (folder / "config.yaml").write_text("old: settings")


def test_folder_that_holds_a_run_is_refused(tmp_path):
    hold_run(tmp_path)
    with pytest.raises(UserError, match="--overwrite"), run_folder(tmp_path):
        pass
    with pytest.raises(UserError, match="complete"), run_folder(tmp_path, resume=True):
        pass
    with pytest.raises(UserError, match="found none"), run_folder(tmp_path / "nothing", resume=True):
        pass
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == b"old weights"
    assert not (tmp_path / "nothing").exists()


def test_overwriting_drops_the_old_run_only_for_a_new_one(source, dusk, tmp_path):
    hold_run(tmp_path)
    single = open_dataset("synthstreet:?domain=dusk&seed=1&sequences=2&frames=1&size=48x64")
    with pytest.raises(UserError, match="consecutive"), run_folder(tmp_path, overwrite=True):
        adapt(ADAPT, source, single, tmp_path)
    with pytest.raises(IsADirectoryError), run_folder(tmp_path, overwrite=True):
        tmp_path.read_bytes()
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {
        "checkpoint.safetensors": b"old weights",
        "config.yaml": b"old: settings",
    }
    with run_folder(tmp_path, overwrite=True):
        adapt(ADAPT.model_copy(update={"method": "bn"}), source, dusk, tmp_path)
    assert load_checkpoint(tmp_path).provenance["method"] == "bn"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["checkpoint.safetensors", "config.yaml", "metrics.jsonl"]


def test_run_that_was_killed_while_replacing_another_gives_it_back(tmp_path):
    hold_run(tmp_path / ".replaced")
    (tmp_path / "config.yaml").write_text("new: settings")
    with pytest.raises(UserError, match="--overwrite"), run_folder(tmp_path):
        pass
    assert (tmp_path / "config.yaml").read_text() == "old: settings"


def test_stages_can_be_switched_off(source, dusk, tmp_path):
    config = load_config(AdaptConfig, None, ["method=bn", "calibration.enabled=false", "batch_norm.enabled=false"])
    adapted = adapt(config, source, dusk, tmp_path)
    assert same_weights(adapted, source) and adapted.input == source.input


def test_single_frames_are_refused(source, tmp_path):
    single = open_dataset("synthstreet:?domain=dusk&seed=1&sequences=2&frames=1&size=48x64")
    with pytest.raises(UserError, match="consecutive frames"):
        adapt(ADAPT, source, single, tmp_path)


def test_unlabelled_data_cannot_train_a_source(tmp_path, source):
    from PIL import Image

    folder = tmp_path / "video"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / f"{i}.png")
    with pytest.raises(UserError, match="labelled"):
        train_source(SOURCE, open_dataset(str(folder)), tmp_path / "out")


def test_crops_without_labels_cost_nothing_and_leave_a_log_that_is_json(source, tmp_path):
    day = InMemory(open_dataset(DAY))
    for index in range(len(day)):
        day.label(index).fill(IGNORE_ID)
    trained = train_source(SOURCE, day, tmp_path)

    def refused(constant):
        raise AssertionError(f"{constant} is no JSON")

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [
        entry for entry in (json.loads(line, parse_constant=refused) for line in lines) if entry["event"] == "step"
    ]
    assert [entry["loss"] for entry in steps] == [0.0, 0.0, 0.0]
    assert all(torch.isfinite(weight).all() for weight in trained.weights.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_source_model_on_a_gpu_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="cuda"):
        train_source(SOURCE.model_copy(update={"device": "cuda"}), open_dataset(DAY), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_source_model_trains_on_the_gpu_as_on_the_cpu(precision, tmp_path):
    losses = {}
    for device in ("cpu", "cuda"):
        gc.collect()
        before = torch.cuda.memory_allocated()  # what tests before this one left, the libraries' workspaces say
        torch.cuda.reset_peak_memory_stats()
        settings = SOURCE.model_copy(update={"device": device, "precision": precision})
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # f32 is f32 on both
            trained = train_source(settings, open_dataset(DAY), tmp_path / device)
        lines = (tmp_path / device / "metrics.jsonl").read_text().splitlines()
        losses[device] = [json.loads(line)["loss"] for line in lines if '"event": "step"' in line]
        assert (torch.cuda.max_memory_allocated() > before) == (device == "cuda")
        assert all(weight.device.type == "cpu" for weight in trained.weights.values())
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2 if precision == "f32" else 5e-2)


def test_checkpoint_of_another_architecture_is_refused(source, tmp_path):
    weights = dict(source.weights)
    weights["classifier.weight"] = weights["classifier.weight"][:, :7]
    broken = Checkpoint(source.arch, source.classes, source.input, weights)
    save_checkpoint(broken, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="another architecture"):
        load_checkpoint(tmp_path / "model.safetensors").build()


@pytest.mark.parametrize("kind", ["missing", "truncated", "foreign"])
def test_broken_checkpoint_files_are_refused(kind, source, tmp_path):
    path = tmp_path / "model.safetensors"
    if kind == "truncated":
        save_checkpoint(source, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "foreign":
        path.write_bytes(b"PK\x03\x04 something else entirely")
    with pytest.raises(UserError, match="expected"):
        load_checkpoint(path)


def test_unknown_key_names_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"contrast\.temperature"):
        load_config(AdaptConfig, None, ["contrast.temprature=0.2"])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("learningrate: 0.1\n")
    with pytest.raises(UserError, match="learning_rate"):
        load_config(AdaptConfig, recipe)


def test_value_of_the_wrong_kind_says_what_was_found():
    with pytest.raises(UserError, match=r"steps.*'many'"):
        load_config(AdaptConfig, None, ["steps=many"])


def test_spread_covers_both_ends():
    assert spread(100, 5) == [0, 25, 50, 74, 99]
    assert spread(3, 8) == [0, 1, 2]


def test_fine_tuning_starts_from_the_checkpoint_and_keeps_its_input(source, tmp_path):
    curve = tuple(range(255, -1, -1))
    start = replace(source, input=source.input.model_copy(update={"lut": (curve, curve, curve)}))
    config = SOURCE.model_copy(update={"learning_rate": 1e-12, "weight_decay": 0.0, "input": InputConfig()})
    tuned = train_source(config, open_dataset(DAY), tmp_path, initial=start)
    assert tuned.input == start.input
    trained = [name for name, _ in source.build().named_parameters()]
    for name in trained:
        torch.testing.assert_close(tuned.weights[name], start.weights[name])


def test_fine_tuning_refuses_data_of_other_classes(source, tmp_path):
    names = ("stone", *source.classes.names[1:])
    other = replace(source, classes=ClassSet(names, source.classes.colors))
    with pytest.raises(UserError, match=r"expected the classes of the model to start from \(stone"):
        train_source(SOURCE, open_dataset(DAY), tmp_path, initial=other)


@pytest.mark.parametrize("past", ["previous", "random"])
def test_reading_a_video_in_order_changes_no_weight(past, source, dusk, tmp_path, monkeypatch):
    class InOrder(InMemory):
        in_order = True

    swept = []
    monkeypatch.setattr(Sweep, "STRETCHES", 10**9)  # every step is a stretch
    monkeypatch.setattr(
        Sweep, "_sweep", lambda self, number, sweep=Sweep._sweep: (swept.append(number), sweep(self, number))
    )
    config = ADAPT.model_copy(update={"past": past})
    plain = adapt(config, source, dusk, tmp_path / "plain")
    assert swept == []
    assert same_weights(plain, adapt(config, source, InOrder(open_dataset(DUSK)), tmp_path / "swept"))
    assert swept[: config.steps] == list(range(config.steps))
