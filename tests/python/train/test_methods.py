"""Every method in training: which weights move, who teaches, what comes out, and that it resumes bit for bit."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stpl.config import load_config
from stpl.data.batches import PairBatch, PreparedVideo
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.method.objectives.self_training import SelfTraining
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller
from stpl.models.registry import build_model
from stpl.train.adapt import adapt
from stpl.train.checkpoint import Checkpoint, InputConfig
from stpl.train.config import METHODS, UNTRAINED, AdaptConfig
from stpl.train.processes import Processes
from stpl.train.training import Adaptation

TRAINED = [method for method in METHODS if method not in UNTRAINED]
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=1&frames=4&size=64x64"
OWN_NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = 6
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.score = nn.Conv2d(6, num_classes, 1)

    def features(self, images):
        return self.norm(self.stem(images)).relu()

    def logits(self, features):
        return self.score(features)

    def forward(self, images):
        return self.logits(self.features(images))
"""


@pytest.fixture(scope="module")
def dusk() -> InMemory:
    return InMemory(open_dataset(DUSK))


def random_source(dusk: InMemory, arch: str = "compact", height: int = 48, width: int = 64) -> Checkpoint:
    assert dusk.classes is not None
    torch.manual_seed(0)
    model = build_model(arch, len(dusk.classes))
    return Checkpoint(arch, dusk.classes, InputConfig(height=height, width=width), {}).with_weights(model)


@pytest.fixture(scope="module")
def source(dusk: InMemory) -> Checkpoint:
    return random_source(dusk)


@pytest.fixture(scope="module")
def pairs(dusk: InMemory, source: Checkpoint) -> list[PairBatch]:
    return [PreparedVideo(dusk, source.input.spec()).pair_batch([1, 2])]


def settings(method: str, *more: str) -> AdaptConfig:
    """Two steps at the full rate; a network that knows nothing is never sure, so all that it says counts."""
    return load_config(
        AdaptConfig,
        None,
        [
            *(f"method={method}", "steps=2", "batch_size=2", "snapshot_every=1", "warm_up=0", "workers=1", "seed=4"),
            *("calibration.enabled=false", "batch_norm.enabled=false", "guard.mode=off", "device=cpu"),
            *("pseudo_labels.threshold=0", "contrast.anchors=32", "contrast.keys=32", "hcl.pixels=32", "hcl.history=1"),
            *more,
        ],
    )


def adaptation(config: AdaptConfig, source: Checkpoint) -> Adaptation:
    torch.manual_seed(config.seed)  # the weights of the projection
    return Adaptation(config, source, Processes.start("cpu"))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def median_confidence(source: Checkpoint, pairs: list[PairBatch]) -> float:
    with torch.no_grad():
        logits: torch.Tensor = source.build()(pairs[0].present)
    return float(logits.softmax(dim=1).amax(dim=1).median())


def moved(before: Any, after: Any) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_resumes_to_the_weights_of_an_uninterrupted_run(
    method: str, source: Checkpoint, dusk: InMemory, pairs: list[PairBatch], tmp_path: Path
) -> None:
    # Thresholds that matter and still move at the second step.
    running = ("share=0.9", "momentum=0.5", f"threshold={median_confidence(source, pairs)}")
    config = settings(method, *(f"pseudo_labels.{setting}" for setting in running))
    whole = adapt(config, source, dusk, tmp_path / "whole")
    assert all(tensor.isfinite().all() for tensor in whole.weights.values() if tensor.is_floating_point())

    def interrupt(step: int, checkpoint: Checkpoint) -> None:
        assert not same(checkpoint.weights, source.weights) and not same(checkpoint.weights, whole.weights)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        adapt(config, source, dusk, tmp_path / "run", on_snapshot=interrupt)
    assert same(adapt(config, source, dusk, tmp_path / "run", resume=True).weights, whole.weights)


# Which weights are trained


def network(which: str, dusk: InMemory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Checkpoint, str]:
    """A source model with random weights, and what the names of its classifier begin with."""
    if which == "own":
        (folder / "network_of_the_user.py").write_text(OWN_NETWORK)
        monkeypatch.syspath_prepend(str(folder))
        return random_source(dusk, "network_of_the_user:Net"), "score."
    if which == "pidnet-s":
        return random_source(dusk, which, 64, 64), "final_layer."
    return random_source(dusk), "classifier."


@pytest.mark.parametrize("method", ["tent", "shot", "self-training"])
@pytest.mark.parametrize("which", ["compact", "pidnet-s", "own"])
def test_tent_moves_scales_and_shifts_alone_shot_all_but_the_classifier(
    which: str, method: str, dusk: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, classifier = network(which, dusk, tmp_path, monkeypatch)
    adapting = adaptation(settings(method, "batch_size=1"), source)
    adapting.step(0, [PreparedVideo(dusk, source.input.spec()).pair_batch([1])])
    changed = moved(source.weights, weights(adapting.outcome))
    model = source.build()
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    affine = {f"{norm}.{part}" for norm in norms for part in ("weight", "bias")}
    every = {name for name, _ in model.named_parameters()}
    of_classifier = {name for name in every if name.startswith(classifier)}
    expected = {"tent": affine, "shot": every - of_classifier, "self-training": every}[method]
    assert of_classifier and changed <= expected
    # A unit that is 0 for every pixel of one small picture learns nothing from it; no more than a few are.
    assert len(changed) >= 0.9 * len(expected)


@pytest.mark.parametrize("which", ["compact", "pidnet-s"])
def test_every_network_goes_through_the_stages(which: str, dusk: InMemory, tmp_path: Path) -> None:
    source = random_source(dusk, which, 64, 64)  # where pidnet-s pools the whole picture into one value
    adapted = adapt(
        settings("stpl", "calibration.enabled=true", "calibration.frames=2", "batch_norm.enabled=true", "steps=1"),
        source,
        dusk,
        tmp_path / "run",
    )
    estimated = [name for name in source.weights if name.endswith("running_var")]
    assert any(not torch.equal(adapted.weights[name], source.weights[name]) for name in estimated)
    assert all(bool(tensor.isfinite().all()) for tensor in adapted.weights.values())


def test_tent_says_what_it_needs(dusk: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = OWN_NETWORK.replace("nn.BatchNorm2d(6)", "nn.Identity()")
    (tmp_path / "network_without_norms.py").write_text(bare)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="normalisation layers"):
        adaptation(settings("tent"), random_source(dusk, "network_without_norms:Net"))


def test_what_a_network_keeps_from_training_is_not_trained() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    model[1].requires_grad_(False)
    trained = SelfTraining(PseudoLabeller(PseudoLabelConfig(), 2)).trainable(model)
    assert [id(parameter) for parameter in trained] == [id(p) for p in (*model[0].parameters(), *model[2].parameters())]


# Who teaches, and what comes out


@pytest.mark.parametrize("method", TRAINED)
def test_the_teacher_follows_as_its_method_says(method: str, source: Checkpoint, pairs: list[PairBatch]) -> None:
    adapting = adaptation(settings(method, "ema_decay=0.75"), source)
    adapting.step(0, pairs)
    before, student, teacher = source.weights, weights(adapting.student), weights(adapting.teacher)
    assert adapting.outcome is adapting.teacher and not same(student, before)
    if method in ("tent", "shot", "tps"):
        assert same(teacher, student)
    else:
        for name, old in before.items():
            expected = old.lerp(student[name], 0.25) if old.is_floating_point() else student[name]
            torch.testing.assert_close(teacher[name], expected)


@pytest.mark.parametrize("method", ["self-training", "stpl"])
def test_a_frozen_teacher_never_moves_and_the_student_comes_out(
    method: str, source: Checkpoint, dusk: InMemory, pairs: list[PairBatch], tmp_path: Path
) -> None:
    config = settings(method, "pseudo_labels.teacher=frozen")
    adapting = adaptation(config, source)
    for step in range(2):
        adapting.step(step, pairs)
        assert same(weights(adapting.teacher), source.weights)
    assert adapting.outcome is adapting.student and moved(source.weights, weights(adapting.student))
    assert moved(source.weights, adapt(config, source, dusk, tmp_path).weights)


@pytest.mark.parametrize("method", ["self-training", "stpl"])
def test_every_kind_of_pseudo_label_trains_in_its_own_way(
    method: str, source: Checkpoint, pairs: list[PairBatch]
) -> None:
    median = median_confidence(source, pairs)
    kinds = ("selection=class-balanced", "selection=fixed", "selection=all", "flow_consistent=true", "cross_frame=true")
    outcomes = []
    for kind in kinds:
        adapting = adaptation(settings(method, f"pseudo_labels.threshold={median}", f"pseudo_labels.{kind}"), source)
        losses = adapting.step(0, pairs)()
        assert losses["loss_self_training"] > 0
        outcomes.append(weights(adapting.student))
    assert not any(same(a, b) for i, a in enumerate(outcomes) for b in outcomes[:i])


def test_hcls_record_is_renewed_every_so_many_steps(source: Checkpoint, pairs: list[PairBatch]) -> None:
    adapting = adaptation(settings("hcl", "hcl.history=2"), source)
    record: Any = adapting.objective.recorded
    adapting.step(0, pairs)
    assert same(weights(record), source.weights)
    adapting.step(1, pairs)
    first = copy.deepcopy(weights(record))
    assert same(first, weights(adapting.teacher)) and not same(first, source.weights)
    adapting.step(2, pairs)
    assert same(weights(record), first) and not same(first, weights(adapting.teacher))
