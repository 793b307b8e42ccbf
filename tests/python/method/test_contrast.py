"""The contrastive loss against the formula written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stpl.data.classes import IGNORE_ID
from stpl.method.contrast import contrast_loss


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def by_hand(q, q_labels, k, k_labels, temperature, infonce):
    """One image, two loops; labels of 255 are as if they were not there."""
    total, count = 0.0, 0
    for anchor, label in zip(q.tolist(), q_labels.tolist(), strict=True):
        similar = [sum(a * b for a, b in zip(anchor, key, strict=True)) / temperature for key in k.tolist()]
        known = [(s, other) for s, other in zip(similar, k_labels.tolist(), strict=True) if other != IGNORE_ID]
        positives = [s for s, other in known if other == label]
        negatives = [s for s, other in known if other != label]
        if label == IGNORE_ID or not positives or not negatives:
            continue
        bottom = sum(math.exp(s) for s in negatives)
        terms = [math.log(math.exp(s) / (bottom + (math.exp(s) if infonce else 0.0))) for s in positives]
        total, count = total - sum(terms) / len(terms), count + 1
    return total, count


@pytest.mark.parametrize("denominator", ["negatives", "infonce"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), anchor_count=st.integers(1, 9), key_count=st.integers(1, 14))
def test_loss_is_the_formula_image_by_image(denominator, seed, anchor_count, key_count):
    torch.manual_seed(seed)
    q, k = unit(3, anchor_count, 5), unit(3, key_count, 5)
    ids = torch.tensor([0, 1, 2, 3, IGNORE_ID])
    q_labels, k_labels = ids[torch.randint(0, 5, (3, anchor_count))], ids[torch.randint(0, 5, (3, key_count))]
    total, count = contrast_loss(q, q_labels, k, k_labels, 0.2, denominator)
    each = [by_hand(q[n], q_labels[n], k[n], k_labels[n], 0.2, denominator == "infonce") for n in range(3)]
    assert int(count) == sum(n for _, n in each)
    assert float(total) == pytest.approx(sum(value for value, _ in each), rel=1e-4, abs=1e-4)


def test_loss_of_one_anchor_worked_out():
    q, labels = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0]])
    k, key_labels = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]]), torch.tensor([[0, 0, 1]])
    # Similarities 2, 1.2 and 0 at t = 0.5; the sum over the only negative is exp(0) = 1.
    printed, count = contrast_loss(q, labels, k, key_labels, 0.5, "negatives")
    assert float(printed) == pytest.approx(-(2.0 + 1.2) / 2) and int(count) == 1
    infonce, _ = contrast_loss(q, labels, k, key_labels, 0.5, "infonce")
    assert float(infonce) == pytest.approx((math.log1p(math.exp(-2.0)) + math.log1p(math.exp(-1.2))) / 2)


def test_printed_denominator_can_be_negative_infonce_cannot():
    q = torch.tensor([[[1.0, 0.0]]])
    k = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    labels, key_labels = torch.tensor([[0]]), torch.tensor([[0, 1]])
    assert float(contrast_loss(q, labels, k, key_labels, 0.1, "negatives")[0]) < 0
    assert float(contrast_loss(q, labels, k, key_labels, 0.1, "infonce")[0]) >= 0


@pytest.mark.parametrize("denominator", ["negatives", "infonce"])
def test_an_image_of_one_class_adds_nothing_and_takes_no_gradient(denominator):
    torch.manual_seed(0)
    q, k = unit(2, 4, 3).requires_grad_(), unit(2, 6, 3).requires_grad_()
    q_labels = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1]])
    k_labels = torch.tensor([[0] * 6, [0, 1] * 3])
    total, count = contrast_loss(q, q_labels, k, k_labels, 0.01, denominator)
    alone, alone_count = contrast_loss(q[1:], q_labels[1:], k[1:], k_labels[1:], 0.01, denominator)
    assert int(count) == int(alone_count) == 4
    torch.testing.assert_close(total, alone)
    total.backward()
    assert torch.equal(q.grad[0], torch.zeros(4, 3)) and torch.equal(k.grad[0], torch.zeros(6, 3))
    assert torch.isfinite(q.grad).all() and q.grad[1].abs().sum() > 0


@pytest.mark.parametrize("key_labels", [[1, 1, 1], [0, 0, 0], [IGNORE_ID] * 3, [0, IGNORE_ID, IGNORE_ID]])
def test_an_anchor_without_a_positive_or_a_negative_is_skipped_but_keeps_the_graph(key_labels):
    q = torch.randn(1, 1, 3, requires_grad=True)
    total, count = contrast_loss(
        q, torch.tensor([[0]]), torch.randn(1, 3, 3), torch.tensor([key_labels]), 0.1, "negatives"
    )
    assert int(count) == 0 and float(total.detach()) == 0.0
    total.backward()
    assert torch.equal(q.grad, torch.zeros(1, 1, 3))


def test_gradient_pulls_the_positive_and_pushes_the_negative():
    q = torch.tensor([[[1.0, 0.0]]])
    k = torch.tensor([[[0.6, 0.8], [0.6, -0.8]]], requires_grad=True)
    total, _ = contrast_loss(q, torch.tensor([[0]]), k, torch.tensor([[0, 1]]), 0.5, "negatives")
    total.backward()
    assert k.grad[0, 0, 0] < 0 < k.grad[0, 1, 0]


def test_mixed_precision_leaves_the_similarities_exact():
    torch.manual_seed(0)
    q, k, labels = unit(1, 6, 16), unit(1, 8, 16), torch.arange(8)[None] % 3
    exact, _ = contrast_loss(q, labels[:, :6], k, labels, 0.01, "negatives")
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = contrast_loss(q, labels[:, :6], k, labels, 0.01, "negatives")
    assert torch.equal(exact, mixed)
