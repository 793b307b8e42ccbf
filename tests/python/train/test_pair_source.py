"""The benchmarks' source training: rates, losses and what is trained, on a small network of the same kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stpl.data.batches import PairBatch
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.models.accel_deeplabv2 import AccelDeepLabV2
from stpl.train import pair_source
from stpl.train.checkpoint import load_tensors
from stpl.train.pair_source import PairSourceConfig, _PairTraining, poly, train_pair_source

STREET = "synthstreet:?sequences=1&frames=3&size=48x64"


def small_network(num_classes: int = 4) -> AccelDeepLabV2:
    torch.manual_seed(2)
    return AccelDeepLabV2(num_classes, layers=(1, 1, 1, 1), width=4)


def batch(classes: int = 4) -> tuple[PairBatch, torch.Tensor]:
    torch.manual_seed(5)
    images = 40 * torch.randn(2, 1, 3, 48, 64)
    labels = torch.randint(0, classes, (1, 48, 64))
    labels[:, :10] = 255
    return PairBatch(images[0], images[1], torch.zeros(1, 2, 48, 64)), labels


def test_the_schedule() -> None:
    assert poly(0, 250_000, 0.9) == 1.0
    assert poly(125_000, 250_000, 0.9) == pytest.approx(0.5**0.9)
    assert poly(40_000, 250_000, 0.9) == pytest.approx(0.84**0.9)
    assert poly(300_000, 250_000, 0.9) == 0.0


def test_classifiers_and_fusion_learn_ten_times_as_fast_at_every_step() -> None:
    training = _PairTraining(PairSourceConfig(horizon=100), small_network())
    for step in (0, 50):
        training.step(step, *batch())
        backbone, classifiers = training.optimizer.param_groups
        assert backbone["lr"] == pytest.approx(2.5e-4 * (1 - step / 100) ** 0.9)
        assert classifiers["lr"] == pytest.approx(10 * backbone["lr"])
        assert (backbone["momentum"], backbone["weight_decay"]) == (0.9, 5e-4)
    named = dict(training.model.named_parameters())
    fast = {id(weight) for weight in classifiers["params"]}
    assert {name.split(".")[0] for name, weight in named.items() if id(weight) in fast} == {
        *("layer5", "layer6", "sf_layer")
    }


def test_the_loss_is_that_of_the_fused_scores() -> None:
    model = small_network()
    pairs, labels = batch()
    model.train()
    logits = model.fused_logits(pairs.present, pairs.past, pairs.flow)

    def entropy(scores: torch.Tensor) -> float:
        whole = F.interpolate(scores, (48, 64), mode="bilinear", align_corners=True).log_softmax(1)
        kept = labels[0] != 255
        chosen = whole[0].gather(0, labels.where(labels != 255, 0))[0]
        return -float(chosen[kept].mean())

    expected = entropy(logits.main.detach()) + 0.1 * entropy(logits.aux.detach())
    values = _PairTraining(PairSourceConfig(), small_network()).step(0, pairs, labels)()
    assert values["loss"] == pytest.approx(expected, rel=1e-4)


def test_batch_norm_statistics_follow_and_its_weights_stay() -> None:
    training = _PairTraining(PairSourceConfig(learning_rate=0.1), small_network())
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    training.step(0, *batch())
    after = training.model.state_dict()
    assert torch.equal(after["bn1.weight"], before["bn1.weight"])
    assert not torch.equal(after["bn1.running_mean"], before["bn1.running_mean"])
    assert not torch.equal(after["conv1.weight"], before["conv1.weight"])
    assert not torch.equal(after["layer5.conv2d_list.0.weight"], before["layer5.conv2d_list.0.weight"])


def test_a_pair_without_a_labelled_pixel_changes_nothing_for_the_worse() -> None:
    pairs, labels = batch()
    values = _PairTraining(PairSourceConfig(), small_network()).step(0, pairs, torch.full_like(labels, 255))()
    assert values["loss"] == 0.0
    assert math.isfinite(values["loss"])


SETTINGS = PairSourceConfig(input={"height": 48, "width": 64}, steps=4, save_every=2, device="cpu", random_start=True)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The network of the released weights in small: the full one takes seconds a step on a processor.
    monkeypatch.setattr(pair_source, "build_model", lambda _, num_classes: small_network(num_classes))
    data = open_dataset(STREET)
    whole = train_pair_source(SETTINGS, data, tmp_path / "whole")
    seen: list[int] = []
    step = _PairTraining.step

    def stop_at_three(self: _PairTraining, number: int, *rest: object) -> Callable[[], dict[str, float]]:
        seen.append(number)
        if number == 3 and len(seen) == 4:
            raise KeyboardInterrupt
        return step(self, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(_PairTraining, "step", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        train_pair_source(SETTINGS, data, tmp_path / "stopped")
    assert load_tensors(tmp_path / "stopped" / "resume.safetensors")[1]["step"] == "2"
    resumed = train_pair_source(SETTINGS, data, tmp_path / "stopped", resume=True)
    assert seen == [0, 1, 2, 3, 2, 3]
    assert resumed.digest == whole.digest
    assert np.isfinite(whole.weights["sf_layer.weight"].numpy()).all()


def test_random_weights_must_be_asked_for(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"random_start": False})
    with pytest.raises(UserError, match=r"expected ImageNet weights .* pair_source\.random_start=true"):
        train_pair_source(settings, open_dataset(STREET), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_frames_without_a_predecessor_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected labelled frames with the frame before each"):
        train_pair_source(SETTINGS, open_dataset("synthstreet:?sequences=2&frames=1&size=48x64"), tmp_path)
