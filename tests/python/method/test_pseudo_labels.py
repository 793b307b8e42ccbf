"""Which pixels get a pseudo-label, which one, and who gives it: thresholds, flow, and the variants of self-training."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stpl.data.classes import IGNORE_ID
from stpl.method.objectives.self_training import SelfTraining, labels_loss, past_labels
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller, brought_along, only_where_agreed
from stpl.method.views import Views

CLASSES = 3
HEIGHT, WIDTH = 6, 8


def random_probabilities(seed: int, sharpness: float = 3.0, size: tuple[int, int] = (40, 50)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    # Some classes are surer than others, so that their thresholds differ.
    logits = sharpness * torch.randn(2, CLASSES, *size, generator=generator)
    return (logits * torch.tensor([1.0, 0.5, 0.2])[None, :, None, None]).softmax(dim=1)


def random_labels(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    return torch.randint(0, CLASSES, (2, *size), generator=torch.Generator().manual_seed(seed))


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()


def constant_flow(dx: float, dy: float, size: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    return torch.tensor([dx, dy])[None, :, None, None].expand(2, 2, *size).contiguous()


def moved(labels: torch.Tensor, dx: int, dy: int) -> torch.Tensor:
    """What frame t shows where its points were (dx, dy) further on in frame t-1; ignored where that is outside."""
    result = torch.full_like(labels, IGNORE_ID)
    height, width = labels.shape[-2:]
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                result[:, y, x] = labels[:, y + dy, x + dx]
    return result


# Thresholds


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_class_thresholds_are_the_quantile_of_each_class(share: float) -> None:
    labeller = PseudoLabeller(PseudoLabelConfig(threshold=1.0, share=share, momentum=0.0), CLASSES)
    probabilities = random_probabilities(1)
    labeller.of_probabilities(probabilities)
    confidence, labels = probabilities.max(dim=1)
    for n in range(CLASSES):
        ordered = confidence[labels == n].sort(descending=True).values
        wanted = ordered[math.ceil(share * len(ordered)) - 1]  # the last of the surest share
        assert float(labeller.thresholds[n]) <= float(wanted) + 1e-6
        assert float(labeller.thresholds[n]) == pytest.approx(float(wanted), abs=1.1e-3)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_at_least_the_share_of_each_class_is_kept_and_hardly_more(share: float) -> None:
    labeller = PseudoLabeller(PseudoLabelConfig(threshold=1.0, share=share, momentum=0.0), CLASSES)
    labels = labeller.of_probabilities(p := random_probabilities(2)).sure
    for n in range(CLASSES):
        kept = float((labels == n).sum() / (p.argmax(dim=1) == n).sum())
        assert share <= kept <= share + 0.02


def test_a_pixel_at_least_as_sure_as_the_threshold_is_kept_whatever_its_class() -> None:
    labeller = PseudoLabeller(PseudoLabelConfig(threshold=0.6, share=0.01, momentum=0.0), CLASSES)
    labels = labeller.of_probabilities(p := random_probabilities(3))
    assert torch.equal(labels.sure != IGNORE_ID, p.max(dim=1).values >= 0.6)
    assert labeller.thresholds.tolist() == pytest.approx([0.6] * CLASSES)


def test_thresholds_run_and_an_absent_class_keeps_its_own() -> None:
    def all_of(label: int, confidence: float) -> torch.Tensor:
        p = torch.full((1, CLASSES, 2, 2), (1.0 - confidence) / 2)
        p[:, label] = confidence
        return p

    labeller = PseudoLabeller(PseudoLabelConfig(threshold=0.9, share=1.0, momentum=0.75), CLASSES)
    labeller.of_probabilities(all_of(0, 0.5))
    assert labeller.thresholds.tolist() == pytest.approx([0.8, 0.9, 0.9], abs=1e-3)
    labeller.of_probabilities(all_of(2, 0.7))
    assert labeller.thresholds.tolist() == pytest.approx([0.8, 0.9, 0.85], abs=1e-3)
    labeller.of_probabilities(all_of(0, 0.5))
    assert labeller.thresholds.tolist() == pytest.approx([0.725, 0.9, 0.85], abs=1e-3)


def test_thresholds_are_state() -> None:
    labeller = PseudoLabeller(PseudoLabelConfig(momentum=0.5), CLASSES)
    labeller.of_probabilities(random_probabilities(4))
    other = PseudoLabeller(labeller.config, CLASSES)
    other.load_state_dict(labeller.state_dict())
    assert torch.equal(other.thresholds, labeller.thresholds) and len(set(other.thresholds.tolist())) == CLASSES


def test_a_fixed_threshold_stays_and_is_the_same_for_all_classes() -> None:
    labeller = PseudoLabeller(PseudoLabelConfig(selection="fixed", threshold=0.7, share=1.0, momentum=0.0), CLASSES)
    confidence, classes = (p := random_probabilities(5)).max(dim=1)
    labels = labeller.of_probabilities(p)
    assert torch.equal(labels.sure, torch.where(confidence >= 0.7, classes, IGNORE_ID))
    assert torch.equal(labels.confidence, confidence)
    assert labeller.thresholds.tolist() == pytest.approx([0.7] * CLASSES)


def test_all_pixels_can_be_labelled_however_unsure() -> None:
    labeller = PseudoLabeller(PseudoLabelConfig(selection="all", threshold=1.0), CLASSES)
    p = random_probabilities(6, sharpness=0.1)
    assert torch.equal(labeller.of_probabilities(p).sure, p.argmax(dim=1))


def test_logits_give_the_labels_of_their_softmax() -> None:
    p = random_probabilities(7)
    labellers = [PseudoLabeller(PseudoLabelConfig(momentum=0.3), CLASSES) for _ in range(2)]
    by_logits, by_probabilities = labellers[0](5.0 + p.log()), labellers[1].of_probabilities(p)
    assert torch.equal(by_logits.sure, by_probabilities.sure)
    assert torch.equal(labellers[0].thresholds, labellers[1].thresholds)


def test_pixels_from_outside_the_picture_have_no_label_and_no_say_in_the_thresholds() -> None:
    p = random_probabilities(8)
    inside = torch.rand(2, 40, 50, generator=torch.Generator().manual_seed(9)) < 0.5
    masked, alone = (PseudoLabeller(PseudoLabelConfig(momentum=0.0, share=0.3), CLASSES) for _ in range(2))
    labels = masked.of_probabilities(p, inside=inside)
    assert (labels.sure[~inside] == IGNORE_ID).all() and (labels.sure[inside] != IGNORE_ID).any()
    only = p.permute(0, 2, 3, 1)[inside].T[None, :, :, None]
    expected = alone.of_probabilities(only).sure.flatten()
    assert torch.equal(labels.sure[inside], expected) and torch.equal(masked.thresholds, alone.thresholds)


# Along the flow


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (2, 0), (-3, 1), (0, -2), (WIDTH, 0)])
def test_labels_move_exactly_along_a_known_flow(dx: int, dy: int) -> None:
    labels = random_labels(10)
    warped, inside = brought_along(one_hot(labels), constant_flow(dx, dy))
    expected = moved(labels, dx, dy)
    assert torch.equal(inside, expected != IGNORE_ID)
    assert torch.equal(warped.argmax(dim=1)[inside], expected[inside])
    assert torch.equal(only_where_agreed(expected, one_hot(labels), constant_flow(dx, dy)), expected)


def test_flow_of_another_grid_is_rescaled_by_axis() -> None:
    labels = random_labels(11)
    # Four pixels of a grid twice as wide and three of one three times as high: two and one of the labels' own.
    flow = constant_flow(4.0, 3.0, (3 * HEIGHT, 2 * WIDTH))
    warped, inside = brought_along(one_hot(labels), flow)
    expected = moved(labels, 2, 1)
    assert torch.equal(torch.where(inside, warped.argmax(dim=1), IGNORE_ID), expected)


def test_a_point_within_half_a_pixel_of_the_border_is_still_inside() -> None:
    for dx, first, last in ((0.4, True, True), (0.6, True, False), (-0.4, True, True), (-0.6, False, True)):
        inside = brought_along(one_hot(random_labels(12)), constant_flow(dx, 0.0))[1]
        assert (bool(inside[0, 0, 0]), bool(inside[0, 0, -1])) == (first, last), dx


def test_labels_that_the_past_contradicts_are_dropped() -> None:
    labels = random_labels(13)
    past = labels.clone()
    past[:, 2, 3] = (past[:, 2, 3] + 1) % CLASSES  # seen by frame t at (3 - 1, 2), with a flow of one to the right
    agreed = only_where_agreed(moved(labels, 1, 0), one_hot(past), constant_flow(1, 0))
    expected = moved(labels, 1, 0)
    expected[:, 2, 2] = IGNORE_ID
    assert torch.equal(agreed, expected)
    nothing = torch.full_like(labels, IGNORE_ID)
    assert torch.equal(only_where_agreed(nothing, one_hot(past), constant_flow(1, 0)), nothing)


# Self-training


class Painted(nn.Module):
    """Features are the frame, logits ten times it: a frame painted in a class's channel is that class."""

    num_classes = feature_channels = CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((), 10.0))
        self.seen: list[torch.Tensor] = []

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return images

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.scale


def painted_views(present: torch.Tensor, past: torch.Tensor, flow: torch.Tensor) -> Views:
    generator = torch.Generator().manual_seed(14)
    augmented = [
        one_hot(labels) + 0.1 * torch.rand(2, CLASSES, HEIGHT, WIDTH, generator=generator) for labels in (present, past)
    ]
    return Views(one_hot(present), one_hot(past), augmented[0], augmented[1], flow)


def self_training(**settings) -> SelfTraining:
    return SelfTraining(PseudoLabeller(PseudoLabelConfig(threshold=0.5, **settings), CLASSES))


@pytest.mark.parametrize("selection", ["class-balanced", "fixed", "all"])
def test_loss_is_the_students_cross_entropy_on_the_augmented_frame(selection: str) -> None:
    present = random_labels(15)
    views = painted_views(present, random_labels(16), constant_flow(0, 0))
    student, teacher = Painted(), Painted().requires_grad_(False)
    terms = self_training(selection=selection).terms(views, student, teacher)
    assert torch.equal(terms.labels.sure, present)
    assert [id(images) for images in student.seen] == [id(views.present_augmented)]
    torch.testing.assert_close(terms.loss, F.cross_entropy(10.0 * views.present_augmented, present))
    terms.loss.backward()
    assert student.scale.grad is not None and teacher.scale.grad is None


def test_cross_frame_labels_are_the_pasts_where_the_flow_brings_them() -> None:
    present, past = random_labels(17), random_labels(18)
    views = painted_views(present, past, constant_flow(2, 1))
    student, teacher = Painted(), Painted().requires_grad_(False)
    terms = self_training(cross_frame=True).terms(views, student, teacher)
    expected = moved(past, 2, 1)
    assert torch.equal(terms.labels.sure, expected)
    assert torch.equal(past_labels(self_training().labeller, views, teacher).sure, expected)
    wanted = F.cross_entropy(10.0 * views.present_augmented, expected, ignore_index=IGNORE_ID)
    torch.testing.assert_close(terms.loss, wanted)


def test_flow_consistent_labels_are_those_that_both_frames_have() -> None:
    present, past = random_labels(19), random_labels(20)
    views = painted_views(present, past, constant_flow(-1, 0))
    sure = self_training(flow_consistent=True).terms(views, Painted(), Painted()).labels.sure
    brought = moved(past, -1, 0)
    assert torch.equal(sure, torch.where(brought == present, present, IGNORE_ID))
    assert (sure == IGNORE_ID).any() and (sure != IGNORE_ID).any()


def test_without_any_label_the_loss_is_nothing_and_so_is_its_gradient() -> None:
    logits = torch.randn(2, CLASSES, 4, 4, requires_grad=True)
    loss = labels_loss(logits, torch.full((2, 4, 4), IGNORE_ID))
    loss.backward()
    assert float(loss.detach()) == 0.0 and logits.grad is not None and not logits.grad.any()


def test_who_teaches_is_a_setting() -> None:
    assert not self_training().teacher_frozen and self_training(teacher="frozen").teacher_frozen
