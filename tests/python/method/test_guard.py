"""The guard's verdicts on models whose faults are known, and what it measures a video by."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stpl.method.guard import (
    Guard,
    GuardConfig,
    agreement,
    verdict_as_dict,
    verdict_from_dict,
    video_content,
    video_contrast,
)

CLASSES = 4
CONFIG = GuardConfig(gammas=(1.0, 0.85, 0.8), pace=1.0, trust=0.8)


class Shades(nn.Module):
    """Labels pixels by their brightness, 0 to 1, in four bands whose upper ends are ``bounds``."""

    def __init__(self, *bounds: float, sharpness: float = 200.0) -> None:
        super().__init__()
        ends = torch.tensor([0.0, *bounds, 1.0])
        self.register_buffer("centres", (ends[:-1] + ends[1:]) / 2)
        self.register_buffer("reach", (ends[1:] - ends[:-1]) / 2)
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        outside = (x.mean(dim=1, keepdim=True) - self.centres.view(1, -1, 1, 1)).abs() - self.reach.view(1, -1, 1, 1)
        return -self.sharpness * outside


def frames(gamma: float = 1.0) -> list[Tensor]:
    ramp = torch.linspace(0.001, 0.999, 16 * 24).reshape(1, 1, 16, 24).expand(1, 3, -1, -1)
    return [ramp**gamma, ramp.flip(2) ** gamma]


START = (0.25, 0.5, 0.75)


def guard(**settings) -> Guard:
    return Guard(CONFIG.model_copy(update=settings), Shades(*START), frames, CLASSES)


def test_the_start_itself_is_accepted():
    judging = guard()
    verdict = judging.judge(25, Shades(*START))
    assert verdict.accepted and verdict.lost == ()
    assert verdict.trust == 1.0 and verdict.pace == pytest.approx(1 / judging.self_agreement)
    assert 0.5 < judging.self_agreement < 0.9  # bands of light move when the light does


def test_a_model_collapsed_to_one_class_is_taken_back_and_at_last_ends_the_training():
    judging = guard(rollbacks=2, rate_factor=0.3)
    collapsed = Shades(0.0, 0.0, 0.0)
    for scale in (0.3, 0.09):
        verdict = judging.judge(25, collapsed)
        assert verdict.action == "roll back" and "leapt" in verdict.reason
        assert verdict.pace < 0.3 and verdict.lost == (0, 1, 2)
        judging.follow(verdict)
        assert float(judging.rate_scale) == pytest.approx(scale) and not judging.stopped
    verdict = judging.judge(50, collapsed)
    assert verdict.action == "stop"
    judging.follow(verdict)
    assert judging.stopped and int(judging.accepted_step) == 0


def test_scores_that_are_no_numbers_are_refused_though_all_was_class_0():
    class Broken(Shades):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float("nan")

    one_class = (0.999, 0.9995, 0.9999)  # everything is the first class, as the labels of NaN are
    judging = Guard(CONFIG, Shades(*one_class), frames, CLASSES)
    assert judging.judge(25, Shades(*one_class)).accepted
    verdict = judging.judge(25, Broken(*one_class))
    assert verdict.pace >= 1 and verdict.trust == 1.0
    assert verdict.action == "roll back" and "not finite" in verdict.reason


def test_a_class_lost_without_a_leap_is_refused():
    without_third = Shades(0.25, 0.745, 0.75)
    assert guard(pace=0.0, trust=0.0).judge(25, without_third).lost == (2,)
    assert guard(pace=0.0, trust=0.0).judge(25, without_third).action == "roll back"
    small = guard(pace=0.0, trust=0.0)
    assert small.judge(25, Shades(0.25, 0.60, 0.75)).accepted  # smaller, but there


def test_a_drift_in_small_steps_ends_the_training_with_the_last_accepted():
    judging, accepted = guard(), 0
    for step in range(1, 40):
        moved = Shades(*(bound + 0.01 * step for bound in START))
        verdict = judging.judge(step, moved)
        judging.follow(verdict)
        if not verdict.accepted:
            break
        assert verdict.trust >= 0.8 and int(judging.accepted_step) == step
        accepted = step
    assert accepted >= 3
    assert verdict.action == "stop" and "drifted" in verdict.reason and verdict.pace > 1.0 and verdict.trust < 0.8
    assert judging.stopped and int(judging.accepted_step) == accepted and float(judging.rate_scale) == 1.0


def test_pace_is_counted_from_the_last_accepted_snapshot():
    judging = guard()
    moved, twice = (Shades(*(bound + reach for bound in START)) for reach in (0.01, 0.02))
    far = judging.judge(25, twice).pace
    judging.follow(judging.judge(25, moved))
    assert judging.judge(50, twice).pace > far


def test_observing_selects_and_leaves_training_alone():
    judging = guard(mode="observe")
    collapsed = Shades(0.0, 0.0, 0.0)
    for _ in range(5):
        judging.follow(judging.judge(25, collapsed))
    assert not judging.stopped and float(judging.rate_scale) == 1.0 and int(judging.rolled_back) == 0
    moved = Shades(*(bound + 0.01 for bound in START))
    judging.follow(judging.judge(50, moved))
    assert int(judging.accepted_step) == 50


def test_observing_selects_nothing_after_the_snapshot_that_would_have_ended_the_training():
    judging = guard(mode="observe", pace=0.0)
    drifted, moved = (Shades(*(bound + reach for bound in START)) for reach in (0.1, 0.01))
    verdict = judging.judge(25, drifted)
    assert verdict.action == "stop" and "drifted" in verdict.reason
    judging.follow(verdict)
    verdict = judging.judge(50, moved)
    assert verdict.action == "stop" and "earlier" in verdict.reason and verdict.trust > 0.8
    judging.follow(verdict)
    assert int(judging.accepted_step) == 0 and float(judging.rate_scale) == 1.0


def test_a_resumed_guard_judges_as_the_first():
    first, resumed = guard(), guard()
    moved, collapsed = Shades(0.26, 0.51, 0.76), Shades(0.0, 0.0, 0.0)
    first.follow(first.judge(25, moved))
    first.follow(first.judge(50, collapsed))
    resumed.load_state_dict(first.state_dict())
    assert resumed.judge(75, Shades(*START)) == first.judge(75, Shades(*START))
    assert int(resumed.accepted_step) == 25 and float(resumed.rate_scale) == pytest.approx(0.3)


def test_an_unsure_start_is_trusted_where_it_is_surest():
    unsure = Shades(*START, sharpness=2.0)  # nowhere above 0.9
    judging = Guard(CONFIG.model_copy(update={"pace": 0.0}), unsure, frames, CLASSES)
    assert 0.1 <= judging.describe()["sure_share"] < 0.3
    assert judging.judge(25, unsure).trust == 1.0 and judging.judge(25, unsure).accepted
    assert judging.judge(25, Shades(0.0, 0.0, 0.0)).trust < 0.5


def test_dropout_has_no_say():
    model = nn.Sequential(Shades(*START), nn.Dropout(0.9)).train()
    assert guard().judge(25, model).trust == 1.0


def test_judging_draws_no_random_numbers_and_changes_no_weight():
    model = nn.Conv2d(3, CLASSES, 1)
    weights, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    judging = guard()
    judging.follow(judging.judge(25, model))
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_verdict_survives_the_metrics_file():
    verdict = guard().judge(25, Shades(0.0, 0.0, 0.0))
    assert verdict.lost
    assert verdict_from_dict(json.loads(json.dumps(verdict_as_dict(verdict)))) == verdict


def test_agreement_is_the_mean_iou_over_the_classes_of_the_reference():
    reference, labels = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 2, 1])
    assert agreement(reference, labels, 3) == pytest.approx((2 / 3 + 1) / 2)
    assert agreement(torch.tensor([]), torch.tensor([]), 3) == 0.0


# --- The content of a video ---


class Pooling(nn.Module):
    """A network with normalised features and a normalised context pooled to one position."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.BatchNorm2d(3)
        self.context = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x) + self.context(x.mean(dim=(2, 3), keepdim=True))


def test_content_is_the_variance_within_frames_over_that_of_the_statistics():
    model = nn.BatchNorm2d(3).eval()
    model.running_var.fill_(4.0)
    pattern = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert video_content(model, [pattern, pattern + 5]) == pytest.approx(0.25, rel=0.05)
    assert video_content(model, [torch.full((1, 3, 64, 64), 0.3)]) == pytest.approx(0.0, abs=1e-6)
    assert float(model.running_var[0]) == 4.0


def test_content_leaves_pooled_context_out():
    pattern = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert video_content(Pooling().eval(), [pattern]) == pytest.approx(1.0, rel=0.05)


def test_content_needs_batch_statistics():
    assert video_content(nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8)), frames()) is None


def test_contrast_is_deviation_over_mean_whatever_the_light():
    halves = np.repeat([[30, 90]], 10, axis=0).astype(np.uint8)
    assert video_contrast([halves]) == pytest.approx(30 / 61)
    assert video_contrast([halves, halves // 2]) == pytest.approx((30 / 61 + 15 / 31) / 2)
    assert video_contrast([np.zeros((15, 20), np.uint8)]) == 0.0
