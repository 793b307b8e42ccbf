"""Pseudo-labels, batch-norm re-estimation and the augmentation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from stpl.data.classes import IGNORE_ID
from stpl.data.randomness import sample_generator
from stpl.method.augment import AugmentationConfig, PairAugmentation
from stpl.method.batch_norm import reestimate_batch_norm
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller


def logits_with(confidences: list[list[float]]) -> torch.Tensor:
    """Two classes; the first column of confidences belongs to class 0, the second to class 1."""
    p = torch.tensor([c for column in confidences for c in column])
    labels = torch.tensor([i for i, column in enumerate(confidences) for _ in column])
    q = torch.where(labels == 0, p, 1 - p)
    return torch.stack((q.log(), (1 - q).log()))[None, :, None, :]


def test_fixed_threshold_keeps_only_sure_pixels():
    labeller = PseudoLabeller(PseudoLabelConfig(threshold=0.9, share=1e-6), 2)
    sure = labeller(logits_with([[0.95, 0.7], [0.8, 0.99]])).sure.flatten().tolist()
    assert sure == [0, IGNORE_ID, IGNORE_ID, 1]


def test_class_balance_lowers_the_bar_of_an_unsure_class_alone():
    labeller = PseudoLabeller(PseudoLabelConfig(threshold=0.9, share=0.5, momentum=0.0), 2)
    labels = labeller(logits_with([[0.99, 0.98, 0.97, 0.6], [0.8, 0.7, 0.65, 0.55]]))
    assert labels.sure.flatten().tolist() == [0, 0, 0, IGNORE_ID, 1, 1, IGNORE_ID, IGNORE_ID]
    assert labeller.thresholds.tolist() == pytest.approx([0.9, 0.7], abs=1e-3)  # exact to a bin of confidence


def test_labels_without_update_leave_the_thresholds():
    labeller = PseudoLabeller(PseudoLabelConfig(momentum=0.0), 2)
    before = labeller.thresholds.clone()
    labeller(logits_with([[0.6], [0.6]]), update=False)
    assert torch.equal(before, labeller.thresholds)


def test_batch_norm_blend_moves_statistics_by_its_share():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).eval()
    images = torch.randn(4, 3, 32, 32) + 1.5
    with torch.no_grad():
        target = model[0](images).mean(dim=(0, 2, 3))
    half = copy.deepcopy(model)
    assert reestimate_batch_norm(model, [images], 1.0) == 1
    torch.testing.assert_close(model[1].running_mean, target, atol=1e-5, rtol=1e-4)
    reestimate_batch_norm(half, [images], 0.5)
    torch.testing.assert_close(half[1].running_mean, 0.5 * target, atol=1e-5, rtol=1e-4)
    assert half[1].momentum == 0.1 and not half.training


def test_a_layer_that_sees_one_value_a_channel_keeps_its_statistics():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).eval()
    model[2].running_mean.fill_(7.0)
    images = torch.randn(4, 3, 8, 8) + 1.5
    assert reestimate_batch_norm(model, images.split(1), 1.0) == 1
    torch.testing.assert_close(model[0].running_mean, images.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert model[2].running_mean.eq(7.0).all() and model[2].running_var.eq(1.0).all()
    assert not model[0].training and not model[2].training and not model[2]._forward_pre_hooks


class _PooledInTheMiddle(nn.Module):
    """A globally pooled context with a batch-norm of its own, and a batch-norm over what it is added to."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled, self.after = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = images + self.pooled(images.mean(dim=(2, 3), keepdim=True))
        return self.after(joined)


def test_what_follows_a_pooled_layer_is_estimated_under_that_layers_own_statistics():
    torch.manual_seed(0)
    model = _PooledInTheMiddle().eval()
    model.pooled.running_mean.fill_(4.0)
    model.pooled.running_var.fill_(9.0)
    model.pooled.bias.data.fill_(10.0)
    images = torch.randn(4, 3, 8, 8) + 1.5
    assert reestimate_batch_norm(model, images.split(1), 1.0) == 1
    seen: list[torch.Tensor] = []
    model.after.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for image in images.split(1):
            model(image)
    torch.testing.assert_close(model.after.running_mean, torch.cat(seen).mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-4)


def test_model_without_batch_norm_is_left_alone():
    assert reestimate_batch_norm(nn.Conv2d(3, 2, 1), [torch.zeros(1, 3, 4, 4)], 1.0) == 0


def test_both_frames_get_the_same_augmentation():
    torch.manual_seed(5)
    mean, std = (120.0, 110.0, 100.0), (58.0, 57.0, 56.0)
    augment = PairAugmentation(AugmentationConfig(noise=0.0), mean, std)
    frame = torch.rand(3, 3, 24, 32) * 2 - 1
    changed = 0.0
    for i in range(4):
        present, past = augment(frame, frame.clone(), [sample_generator(5, i, n) for n in range(3)])
        torch.testing.assert_close(present, past, atol=1e-5, rtol=0)
        changed = max(changed, float((present - frame).abs().max()))
    assert changed > 0.05


def test_augmentation_of_a_pair_is_its_own_whatever_it_is_batched_with():
    augment = PairAugmentation(AugmentationConfig(), (120.0, 110.0, 100.0), (58.0, 57.0, 56.0))
    frames = torch.rand(3, 3, 24, 32) * 2 - 1
    whole, _ = augment(frames, frames, [sample_generator(1, 7, n) for n in range(3)])
    alone, _ = augment(frames[2:], frames[2:], [sample_generator(1, 7, 2)])
    assert torch.equal(whole[2:], alone)
    other, _ = augment(frames[2:], frames[2:], [sample_generator(1, 8, 2)])
    assert not torch.equal(other, alone)
