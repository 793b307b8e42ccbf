"""The guard at work in small real runs: what is taken back, what is kept, and what a resumed run remembers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stpl.config import load_config
from stpl.data.batches import PreparedVideo
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.method.guard import GuardConfig
from stpl.models import CompactNet
from stpl.models.registry import build_model
from stpl.train.adapt import adapt
from stpl.train.checkpoint import FILE_NAME, Checkpoint, load_checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.guarding import why_nothing_helps, with_gamma
from stpl.train.processes import Processes
from stpl.train.run import ACCEPTED_FILE, RESUME_FILE, MetricsLog
from stpl.train.training import Training

MODEL = Path(__file__).resolve().parents[3] / "models" / "street-day"
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=1&frames=6&size=48x64"
BASE = [
    "method=self-training",
    "batch_size=2",
    "device=cpu",
    "calibration.enabled=false",
    "batch_norm.frames=2",
    "warm_up=0",
    "snapshot_every=1",
    "save_every=100",
    "guard.frames=4",
    "guard.least_frames=2",
]
DESTROYED = ["learning_rate=1", "guard.rate_factor=1e-4"]
"""The first step destroys the model; at the rate that follows, nothing happens to it any more."""

Weights = dict[str, torch.Tensor]


def settings(*overrides: str) -> AdaptConfig:
    return load_config(AdaptConfig, None, [*BASE, *overrides])


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return load_checkpoint(MODEL)


@pytest.fixture(scope="module")
def source(shipped: Checkpoint) -> Checkpoint:
    """At a size that is quick: its batch statistics are sane, if not those that it was made for."""
    return replace(shipped, input=shipped.input.model_copy(update={"height": 48, "width": 64}))


@pytest.fixture(scope="module")
def dusk() -> InMemory:
    return InMemory(open_dataset(DUSK))


class Changed(InMemory):
    """A video whose every frame is changed."""

    def __init__(self, video: InMemory, change: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(video)
        self._change = change

    def frame(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self._change(super().frame(index)))


def events(out: Path, name: str) -> list[dict]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def actions(out: Path) -> list[str]:
    return [event["action"] for event in events(out, "guard")]


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def start_of(source: Checkpoint, dusk: InMemory, out: Path) -> Checkpoint:
    return adapt(settings("method=bn"), source, dusk, out)


def training(config: AdaptConfig, source: Checkpoint, dusk: InMemory, out: Path) -> Training:
    """The third stage alone, whose student and optimiser can be looked at afterwards."""
    out.mkdir()
    video = PreparedVideo(dusk, source.input.spec())
    return Training(config, source, video, out, MetricsLog(out / "metrics.jsonl"), {}, Processes.start("cpu"))


@pytest.fixture(scope="module")
def leaping(source: Checkpoint, dusk: InMemory, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings under which the first snapshot is accepted, the second refused, the rest accepted."""
    out = tmp_path_factory.mktemp("looked-at")
    adapt(settings("steps=2", "learning_rate=5e-4", "guard.mode=observe"), source, dusk, out)
    first, second = (event["pace"] for event in events(out, "guard"))
    assert first > second + 0.02
    return ["learning_rate=5e-4", f"guard.pace={(first + second) / 2}", "guard.trust=0", "guard.rate_factor=1e-3"]


def test_calm_training_is_accepted_to_its_end(source, dusk, tmp_path):
    snapshots: dict[int, Checkpoint] = {}
    config = settings("steps=3", "learning_rate=1e-6")
    adapted = adapt(config, source, dusk, tmp_path, on_snapshot=snapshots.__setitem__)
    assert actions(tmp_path) == ["accept"] * 3
    assert same(adapted.weights, snapshots[3].weights)
    assert [event["after_steps"] for event in events(tmp_path, "selected")] == [3]
    begins = events(tmp_path, "guard_begins")[0]
    assert begins["frames"] == 4 and 0 < begins["self_agreement"] <= 1 and begins["sure_classes"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE_NAME, "config.yaml", "metrics.jsonl"]


def test_a_run_is_saved_after_each_verdict_and_every_so_many_steps_but_no_more_often(
    source, dusk, tmp_path, monkeypatch
):
    saved: list[int] = []
    save = Training._save
    monkeypatch.setattr(Training, "_save", lambda self, step: (saved.append(step), save(self, step)))
    rare = ["steps=11", "learning_rate=1e-6", "snapshot_every=4", "save_every=6"]
    adapt(settings(*rare), source, dusk, tmp_path / "guarded")
    assert saved == [0, 4, 6, 8, 11]
    saved.clear()
    adapt(settings(*rare, "guard.mode=off"), source, dusk, tmp_path / "alone")
    assert saved == [0, 6]


def test_killed_before_its_checkpoint_is_written_a_run_says_once_what_was_selected(source, dusk, tmp_path, monkeypatch):
    config = settings("steps=2", "learning_rate=1e-6")
    whole = adapt(config, source, dusk, tmp_path / "whole")

    def killed(checkpoint, path):
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr("stpl.train.adapt.save_checkpoint", killed)
        with pytest.raises(InterruptedError):
            adapt(config, source, dusk, tmp_path / "run")
    assert len(events(tmp_path / "run", "selected")) == 1
    resumed = adapt(config, source, dusk, tmp_path / "run", resume=True)
    assert same(dict(resumed.weights), dict(whole.weights))
    assert [event["after_steps"] for event in events(tmp_path / "run", "selected")] == [2]
    assert [event["step"] for event in events(tmp_path / "run", "guard")] == [0, 1]


def test_a_destroyed_model_is_taken_back_to_the_start_and_trained_more_slowly(source, dusk, tmp_path):
    snapshots: dict[int, Checkpoint] = {}
    config = settings("steps=2", *DESTROYED)
    adapted = adapt(config, source, dusk, tmp_path / "run", on_snapshot=snapshots.__setitem__)
    assert actions(tmp_path / "run") == ["roll back", "accept"]
    assert [event["rate_scale"] for event in events(tmp_path / "run", "guard")] == pytest.approx([1e-4, 1e-4])
    start = start_of(source, dusk, tmp_path / "start")
    assert not same(snapshots[1].weights, start.weights)
    moved = {
        name: float((adapted.weights[name] - value).abs().max())
        for name, value in start.weights.items()
        if value.is_floating_point()
    }
    assert 0 < max(moved.values()) < 1e-3  # the step after the roll-back began at the start, at a ten-thousandth


def test_what_is_taken_back_is_the_accepted_state_bit_for_bit(source, dusk, leaping, tmp_path):
    taken_back = training(settings("steps=2", *leaping), source, dusk, tmp_path / "two")
    result = taken_back.run(resume=False, on_snapshot=None)
    assert actions(tmp_path / "two") == ["accept", "roll back"]
    accepted = training(settings("steps=1", *leaping), source, dusk, tmp_path / "one")
    assert same(dict(result.weights), dict(accepted.run(resume=False, on_snapshot=None).weights))
    for name, module in taken_back.adaptation.modules.items():
        assert same(module.state_dict(), accepted.adaptation.modules[name].state_dict()), name
    moments, expected = (t.adaptation.optimizer.state_dict()["state"] for t in (taken_back, accepted))
    assert moments and all(same(moments[i], expected[i]) for i in expected)


@pytest.mark.parametrize("links", [True, False])
def test_an_accepted_state_is_written_once(links, source, dusk, leaping, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    out = tmp_path / "run"
    accepted = training(settings("steps=1", *leaping), source, dusk, out)
    accepted.run(resume=False, on_snapshot=None)
    assert actions(out) == ["accept"]
    kept, resumed = out / ACCEPTED_FILE, out / RESUME_FILE
    assert kept.samefile(resumed) == links and kept.read_bytes() == resumed.read_bytes()
    assert not list(out.glob(".*"))
    # A later save is another file: what was accepted stays.
    accepted.state.save(resumed, 7)
    assert not kept.samefile(resumed) and kept.read_bytes() != resumed.read_bytes()


@pytest.mark.parametrize("left", [RESUME_FILE, ACCEPTED_FILE])
def test_what_a_killed_save_has_left_is_not_written_into(left, source, dusk, leaping, tmp_path):
    """Where the next process has the same number, as in a container: its name may be the accepted state's, too."""
    out = tmp_path / "run"
    accepted = training(settings("steps=1", *leaping), source, dusk, out)
    accepted.run(resume=False, on_snapshot=None)
    kept, resumed = out / ACCEPTED_FILE, out / RESUME_FILE
    content = kept.read_bytes()
    os.link(kept, out / f".{left}.{os.getpid()}.tmp")
    accepted.state.save(resumed, 7)
    assert kept.read_bytes() == content
    accepted.state.save(resumed, 8, also=kept)
    assert kept.samefile(resumed) and len(kept.read_bytes()) == len(content)


def test_a_state_has_its_second_name_first(source, dusk, tmp_path, monkeypatch):
    """A run that is cut off in between knows no snapshot whose state is not there."""
    run = training(settings("steps=1"), source, dusk, tmp_path / "run")
    names = []
    replace_file = Path.replace
    monkeypatch.setattr(Path, "replace", lambda file, name: (names.append(name.name), replace_file(file, name))[1])
    run.guarding.begin()
    run._save(0)
    assert names == [ACCEPTED_FILE, RESUME_FILE]
    run._save(0)
    assert names[2:] == [RESUME_FILE]


def test_nothing_of_the_optimiser_outlives_a_return_to_the_start(source, dusk, tmp_path):
    destroyed = training(settings("steps=1", *DESTROYED), source, dusk, tmp_path / "run")
    assert destroyed.run(resume=False, on_snapshot=None) is source
    assert actions(tmp_path / "run") == ["roll back"]
    assert same(destroyed.adaptation.student.state_dict(), dict(source.weights))
    assert destroyed.adaptation.optimizer.state_dict()["state"] == {}


def test_the_rate_after_a_roll_back_is_what_the_log_says(source, dusk, tmp_path):
    run = training(settings("steps=3", "learning_rate=1", "guard.rate_factor=0.25"), source, dusk, tmp_path / "run")
    run.run(resume=False, on_snapshot=None)
    scales = [event["rate_scale"] for event in events(tmp_path / "run", "guard")]
    assert actions(tmp_path / "run")[:2] == ["roll back"] * 2 and scales[:2] == [0.25, 0.0625]
    assert run.adaptation.optimizer.param_groups[0]["lr"] == pytest.approx(0.0625)  # of the last step


def test_too_many_roll_backs_end_the_training_with_the_start(source, dusk, tmp_path):
    config = settings("steps=6", "learning_rate=1", "guard.rate_factor=1", "guard.rollbacks=2")
    adapted = adapt(config, source, dusk, tmp_path / "run")
    assert actions(tmp_path / "run") == ["roll back", "roll back", "stop"]
    assert len(events(tmp_path / "run", "step")) == 3
    assert events(tmp_path / "run", "selected")[0]["after_steps"] == 0
    start = start_of(source, dusk, tmp_path / "start")
    assert same(adapted.weights, start.weights) and adapted.input == start.input


def test_drift_ends_the_training_with_the_last_accepted_snapshot(source, dusk, tmp_path):
    snapshots: dict[int, Checkpoint] = {}
    config = settings("steps=12", "learning_rate=3e-3", "guard.pace=0", "guard.trust=0.9")
    adapted = adapt(config, source, dusk, tmp_path / "run", on_snapshot=snapshots.__setitem__)
    verdicts = events(tmp_path / "run", "guard")
    assert [v["action"] for v in verdicts] == ["accept"] * (len(verdicts) - 1) + ["stop"]
    assert 1 < len(verdicts) < 12 and "drifted" in verdicts[-1]["reason"] and verdicts[-1]["trust"] < 0.9
    kept = len(verdicts) - 1
    assert events(tmp_path / "run", "selected")[0]["after_steps"] == kept
    assert same(adapted.weights, snapshots[kept].weights)


def test_observing_changes_no_weight_of_the_training_and_selects(source, dusk, leaping, tmp_path):
    found: dict[str, dict[int, Checkpoint]] = {"off": {}, "observe": {}}
    outcome = {}
    for mode, snapshots in found.items():
        config = settings("steps=3", *leaping, f"guard.mode={mode}")
        outcome[mode] = adapt(config, source, dusk, tmp_path / mode, on_snapshot=snapshots.__setitem__)
    assert found["off"].keys() == {1, 2, 3}
    assert all(same(found["off"][step].weights, found["observe"][step].weights) for step in (1, 2, 3))
    assert actions(tmp_path / "observe")[:2] == ["accept", "roll back"] and not events(tmp_path / "off", "guard")
    selected = events(tmp_path / "observe", "selected")[0]["after_steps"]
    assert same(outcome["observe"].weights, found["observe"][selected].weights)
    assert same(outcome["off"].weights, found["off"][3].weights)


@pytest.mark.parametrize("which", ["destroyed", "leaping"])
def test_a_run_cut_off_at_any_snapshot_is_resumed_as_it_went(which, source, dusk, leaping, tmp_path):
    config = settings("steps=4", *(DESTROYED if which == "destroyed" else leaping))
    whole = adapt(config, source, dusk, tmp_path / "whole")
    assert "roll back" in actions(tmp_path / "whole") and actions(tmp_path / "whole")[-1] == "accept"

    class PowerCutError(Exception):
        pass

    def cut_at(step: int) -> Callable[[int, Checkpoint], None]:
        def cut(done: int, _: Checkpoint) -> None:
            if done == step:
                raise PowerCutError

        return cut

    for step in (3, 4) if which == "leaping" else (3,):
        out = tmp_path / f"cut-{step}"
        with pytest.raises(PowerCutError):
            adapt(config, source, dusk, out, on_snapshot=cut_at(step))
        resumed = adapt(config, source, dusk, out, resume=True)
        assert same(resumed.weights, whole.weights), step
        assert events(out, "guard") == events(tmp_path / "whole", "guard")
        assert len(events(out, "guard_begins")) == 1


def test_a_black_video_teaches_nothing(shipped, dusk, tmp_path, caplog):
    black = Changed(dusk, np.zeros_like)
    adapted = adapt(settings("steps=2"), shipped, black, tmp_path)
    assert same(dict(adapted.weights), dict(shipped.weights)) and adapted.input == shipped.input
    refusal = events(tmp_path, "guard_stage")[0]
    assert refusal["stage"] == "adapt" and refusal["refused"] and "covered lens" in refusal["reason"]
    assert refusal["reason"] in caplog.text
    assert not events(tmp_path, "step") and not events(tmp_path, "batch_norm")


def test_one_surface_teaches_nothing(source, dusk):
    road = Changed(dusk, lambda frame: frame[-8:, 26:38])
    assert "too little" in (why_nothing_helps(GuardConfig(), source, road) or "")
    assert why_nothing_helps(GuardConfig(), source, dusk) is None


def test_observing_only_says_that_a_video_teaches_nothing(shipped, dusk, tmp_path):
    adapt(settings("method=bn", "guard.mode=observe"), shipped, Changed(dusk, np.zeros_like), tmp_path)
    assert not events(tmp_path, "guard_stage")[0]["refused"] and events(tmp_path, "batch_norm")


def test_switched_off_the_guard_says_nothing(shipped, dusk, tmp_path):
    adapt(settings("method=bn", "guard.mode=off"), shipped, Changed(dusk, np.zeros_like), tmp_path)
    assert not events(tmp_path, "guard_stage") and events(tmp_path, "batch_norm")


def test_few_frames_adapt_input_and_statistics_alone(source, dusk, tmp_path):
    adapted = adapt(settings("guard.least_frames=7", "steps=2"), source, dusk, tmp_path / "few")
    refusal = events(tmp_path / "few", "guard_stage")[0]
    assert refusal["stage"] == "train" and refusal["refused"] and "6 frames, fewer than 7" in refusal["reason"]
    assert not events(tmp_path / "few", "step")
    assert same(adapted.weights, start_of(source, dusk, tmp_path / "start").weights)


def without_statistics(num_classes: int) -> nn.Module:
    """The compact network with group normalisation in the place of each batch normalisation."""
    network = CompactNet(num_classes)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(8, child.num_features))
    return network


def test_a_black_video_teaches_nothing_however_small_the_input(shipped, dusk):
    for height, width in ((48, 64), (96, 128)):
        size = shipped.input.model_copy(update={"height": height, "width": width})
        assert "a contrast of" in (
            why_nothing_helps(GuardConfig(), replace(shipped, input=size), Changed(dusk, np.zeros_like)) or ""
        )


def test_a_network_without_statistics_looks_at_the_contrast_of_the_frames(source, dusk):
    classes = len(source.classes)
    size = source.input.model_copy(update={"height": 32, "width": 32})
    network = Checkpoint(f"{__name__}:without_statistics", source.classes, size, {})
    torch.manual_seed(0)
    network = replace(network, weights=build_model(network.arch, classes).state_dict())
    assert why_nothing_helps(GuardConfig(), network, dusk) is None
    for empty in (np.zeros_like, lambda frame: frame[-8:, 26:38]):
        assert "a contrast of" in (why_nothing_helps(GuardConfig(), network, Changed(dusk, empty)) or "")


def test_a_further_tone_curve_comes_after_the_own_one(source):
    inverted = tuple(range(255, -1, -1))
    config = with_gamma(source.input.model_copy(update={"lut": (inverted,) * 3}), 2.0)
    assert config.lut is not None
    assert config.lut[0][0] == 255 and config.lut[0][255] == 0 and config.lut[0][128] == round(255 * (127 / 255) ** 2)
