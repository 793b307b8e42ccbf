"""The contrastive loss against the formula written out, and the sampling of its pixels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from stpl.method.contrast import contrast_loss, sample_pixels


def by_hand(q, q_labels, k, k_labels, temperature, infonce):
    total, count = 0.0, 0
    for anchor, label in zip(q, q_labels, strict=True):
        similar = [float(anchor @ key) / temperature for key in k]
        positives = [s for s, other in zip(similar, k_labels, strict=True) if other == label]
        negatives = [s for s, other in zip(similar, k_labels, strict=True) if other != label]
        if not positives or not negatives:
            continue
        bottom = sum(math.exp(s) for s in negatives)
        terms = [math.log(math.exp(s) / (bottom + (math.exp(s) if infonce else 0.0))) for s in positives]
        total, count = total - sum(terms) / len(terms), count + 1
    return total, count


@pytest.mark.parametrize("denominator", ["negatives", "infonce"])
def test_loss_is_the_formula(denominator):
    torch.manual_seed(0)
    q, k = F.normalize(torch.randn(9, 5), dim=1), F.normalize(torch.randn(14, 5), dim=1)
    q_labels, k_labels = torch.randint(0, 4, (9,)), torch.randint(0, 3, (14,))
    loss, count = contrast_loss(q, q_labels, k, k_labels, 0.2, denominator)
    expected, expected_count = by_hand(q, q_labels.tolist(), k, k_labels.tolist(), 0.2, denominator == "infonce")
    assert count == expected_count < 9  # an anchor of class 3 has no positive
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_printed_denominator_can_be_negative_infonce_cannot():
    q = F.normalize(torch.tensor([[1.0, 0.0]]), dim=1)
    k = F.normalize(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), dim=1)
    labels, key_labels = torch.tensor([0]), torch.tensor([0, 1])
    assert float(contrast_loss(q, labels, k, key_labels, 0.1, "negatives")[0]) < 0
    assert float(contrast_loss(q, labels, k, key_labels, 0.1, "infonce")[0]) >= 0


def test_one_class_contributes_nothing_but_keeps_the_graph():
    q = torch.randn(4, 3, requires_grad=True)
    loss, count = contrast_loss(q, torch.zeros(4), torch.randn(6, 3), torch.zeros(6), 0.1, "negatives")
    assert count == 0 and float(loss.detach()) == 0.0
    loss.backward()
    assert torch.equal(q.grad, torch.zeros(4, 3))


def test_gradient_pulls_the_positive_and_pushes_the_negative():
    q = torch.tensor([[1.0, 0.0]])
    k = torch.tensor([[0.6, 0.8], [0.6, -0.8]], requires_grad=True)
    loss, _ = contrast_loss(q, torch.tensor([0]), k, torch.tensor([0, 1]), 0.5, "negatives")
    loss.backward()
    assert k.grad[0, 0] < 0 < k.grad[1, 0]


def test_sampling_is_balanced_and_never_takes_ignored_pixels():
    torch.manual_seed(1)
    labels = torch.zeros(20, 20, dtype=torch.long)
    labels[0, :3] = 1
    labels[5:10] = 255
    at = sample_pixels(labels, 10)
    drawn = labels.flatten()[at]
    assert (drawn == 0).sum() == 10 and (drawn == 1).sum() == 3 and (drawn == 255).sum() == 0
    assert at.unique().numel() == at.numel()


def test_sampling_of_a_map_without_labels_is_empty():
    assert sample_pixels(torch.full((4, 4), 255), 8).numel() == 0
