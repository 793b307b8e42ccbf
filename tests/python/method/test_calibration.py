"""Input calibration: the curves, the scores, and when the frames are kept as they are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from stpl.method.agreement import label_agreement
from stpl.method.batch_norm import reestimate_batch_norm
from stpl.method.calibration import Calibration, CalibrationConfig, calibrate, choose, weighted_agreement
from stpl.method.calibration_scores import Judgement, Scores, judge
from stpl.method.tone_curves import ToneCurve, balancing_exponents, candidate_curves, chain, gamma_lut
from stpl.models import CompactNet

IDENTITY = ToneCurve()
GAMMAS = (1.5, 1.0, 0.7, 0.5, 0.35)
CURVES = [ToneCurve(gamma) for gamma in GAMMAS]


class BrightnessModel(nn.Module):
    """Sure of a class where the image is near one of two brightnesses, unsure in between."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x[:, :1]
        return torch.cat((-((value - 0.7) ** 2), -((value - 0.3) ** 2)), dim=1) * 60


class FooledModel(nn.Module):
    """Tells dark from bright half-heartedly; in the darkest pictures it is very sure of stripes."""

    def __init__(self, below: float) -> None:
        super().__init__()
        self.below = below

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x[:, :1]
        pattern = value - value.mean()
        if float(value.mean()) < self.below:
            stripes = (torch.arange(x.shape[-1]) % 2).float() - 0.5
            pattern = stripes.expand_as(value) * 200
        return torch.cat((pattern, -pattern), dim=1) * 5


def through(pictures):
    """Frames 0..1 of uint8 ``pictures`` under a look-up table."""

    def frames(lut):
        tables = torch.arange(256).expand(3, 256) if lut is None else torch.tensor(lut)
        return [torch.stack([tables[c][picture[:, c]] for c in range(3)], dim=1).float() / 255 for picture in pictures]

    return frames


def darkened(power: float) -> torch.Tensor:
    torch.manual_seed(0)
    return (torch.where(torch.rand(1, 3, 16, 16) < 0.5, 0.3, 0.7) ** power * 255).round().long()


def choice(model: nn.Module, pictures, **config) -> Calibration:
    return calibrate(model.eval(), through(pictures), CURVES, CalibrationConfig(**config))


def test_gamma_table_is_monotone_and_fixes_both_ends():
    for gamma in (0.4, 1.0, 1.5):
        for table in gamma_lut(gamma):
            assert table[0] == 0 and table[255] == 255 and list(table) == sorted(table)
    assert gamma_lut(1.0)[0] == tuple(range(256))
    assert gamma_lut(0.5)[0][64] > 64


def test_balancing_brings_the_channels_to_one_mean():
    rng = np.random.default_rng(0)
    frame = rng.integers(100, 160, (32, 32, 3)).astype(np.uint8)
    frame[..., 2] //= 2
    curve = ToneCurve(1.0, balancing_exponents([frame]))
    means = [np.array(table)[frame[..., c]].mean() for c, table in enumerate(curve.lut())]
    assert max(means) - min(means) < 4 < frame[..., 0].mean() - frame[..., 2].mean()
    assert curve.channels[2] < 1 < curve.channels[0] and curve.name == "balanced"


@pytest.mark.parametrize("value", [0, 127, 255])
def test_grey_black_and_white_frames_are_not_balanced(value):
    assert balancing_exponents([np.full((8, 8, 3), value, np.uint8)]) == (1.0, 1.0, 1.0)


def test_candidates_are_the_identity_first_and_each_curve_once():
    curves = candidate_curves((0.5, 1.0, 0.5), (1.0, 0.7), (0.9, 1.0, 1.1))
    assert [curve.name for curve in curves] == ["as they are", "gamma 0.5", "balanced", "gamma 0.7, balanced"]
    neutral = candidate_curves((1.0, 0.7), (1.0, 0.7), (1.0, 1.0, 1.0))
    assert [curve.name for curve in neutral] == ["as they are", "gamma 0.7"]


def test_tables_are_chained_in_order():
    first, then = gamma_lut(0.5), (tuple(min(v + 20, 255) for v in range(256)),) * 3
    assert chain(first, then)[1][40] == then[1][first[1][40]] != chain(then, first)[1][40]
    assert chain(None, then) == then and chain(first, None) == first and chain(None, None) is None


def test_agreement_is_the_mean_iou_over_the_classes_of_either():
    a, b = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 2])
    # class 0: 1 of 2, class 1: 1 of 3, class 2: 0 of 1
    assert label_agreement([a], [a, b])[0].tolist() == pytest.approx([1.0, (1 / 2 + 1 / 3 + 0) / 3])


def judgement(information: float, labels: list[int]) -> Judgement:
    return Judgement(Scores(IDENTITY, 0.5, information, 1.0, 1.0), torch.tensor(labels, dtype=torch.int16))


def test_agreement_counts_the_informative_curves_more_and_none_with_itself():
    half, other = [0, 0, 1, 1], [1, 1, 0, 0]
    even = weighted_agreement([judgement(1.0, half), judgement(1.0, half), judgement(1.0, other)])
    assert even.tolist() == pytest.approx([0.5, 0.5, 0.0])
    uneven = weighted_agreement([judgement(1.0, half), judgement(0.1, half), judgement(1.0, other)])
    assert uneven[0] < 0.5 and uneven[1] == pytest.approx(0.5) and uneven[2] == 0.0
    judged = weighted_agreement([judgement(1.0, half), judgement(1.0, other)], [judgement(1.0, half)] * 2)
    assert judged.tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("criterion", ["entropy", "information", "nuclear_norm"])
def test_a_criterion_alone_finds_the_curve_that_undoes_a_darkening(criterion):
    found = choice(BrightnessModel(), [darkened(2.0)], criterion=criterion)
    assert found.curve == ToneCurve(0.5)
    assert [s.curve.gamma for s in found.scores] == [1.0, 1.5, 0.7, 0.5, 0.35]


def test_both_judges_together_undo_a_darkening():
    found = choice(BrightnessModel(), [darkened(2.0)])
    assert found.curve.gamma < 1.0 and "agreement" in found.reason


def test_a_model_fooled_by_its_confidence_keeps_the_frames_as_they_are():
    torch.manual_seed(0)
    picture = torch.randint(60, 200, (1, 3, 32, 32))
    frames = through([picture])
    darkest = float(frames(gamma_lut(1.5))[0][:, :1].mean()) + 0.01
    model = FooledModel(below=darkest)
    assert choice(model, [picture], criterion="information").curve == ToneCurve(1.5)
    assert choice(model, [picture], criterion="entropy").curve == ToneCurve(1.5)
    found = choice(model, [picture])
    assert found.curve.identity and found.reason.startswith("kept as they are: ")
    scores = {s.curve.gamma: s for s in found.scores}
    assert scores[1.5].information > 3 * scores[1.0].information
    assert scores[1.5].agreement < scores[1.0].agreement - 0.1


def test_what_is_not_better_by_the_margins_is_not_taken():
    free = choice(BrightnessModel(), [darkened(2.0)], information_margin=0, agreement_margin=0)
    scores = {s.curve.gamma: s for s in free.scores}
    best, base = scores[free.curve.gamma], scores[1.0]
    beyond = {s.information - base.information for s in free.scores}
    assert choice(BrightnessModel(), [darkened(2.0)], information_margin=max(beyond) + 1e-6).curve.identity
    leads = max(s.agreement - base.agreement for s in free.scores)
    assert leads > 0 and best.agreement > base.agreement
    assert choice(BrightnessModel(), [darkened(2.0)], agreement_margin=leads + 1e-6).curve.identity


def test_calibration_always_tries_the_identity_and_ties_keep_it():
    image = torch.rand(1, 3, 8, 8)
    for criterion in ("agreement", "information"):
        config = CalibrationConfig(criterion=criterion)
        found = calibrate(BrightnessModel(), lambda _: [image], [ToneCurve(0.5)], config)
        assert found.curve.identity and {s.curve.gamma for s in found.scores} == {1.0, 0.5}


def test_a_video_of_one_class_keeps_the_frames_as_they_are():
    found = choice(BrightnessModel(), [torch.zeros(1, 3, 16, 16, dtype=torch.long)])
    assert found.curve.identity


def test_batch_statistics_grow_with_the_distance_of_the_input():
    torch.manual_seed(0)
    model = CompactNet(4)
    reestimate_batch_norm(model, [torch.randn(4, 3, 64, 64) for _ in range(4)], blend=1.0)
    model.eval()
    near = judge(model, [torch.randn(1, 3, 64, 64)], IDENTITY).scores.batch_statistics
    far = judge(model, [torch.randn(1, 3, 64, 64) * 3 + 2], IDENTITY).scores.batch_statistics
    assert far > 2 * near


def test_the_nuclear_norm_is_that_of_the_predictions():
    torch.manual_seed(0)
    logits = torch.randn(1, 5, 6, 7) * 3
    probabilities = logits.softmax(dim=1)[0].flatten(1).T
    expected = torch.linalg.matrix_norm(probabilities, ord="nuc") / 42**0.5
    assert judge(nn.Identity(), [logits], IDENTITY).scores.nuclear_norm == pytest.approx(float(expected), rel=1e-5)


def street_model() -> tuple[nn.Module, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = CompactNet(4)
    pictures = [torch.randint(0, 256, (1, 3, 64, 64)) for _ in range(4)]
    reestimate_batch_norm(model, [picture.float() / 255 for picture in pictures], 1.0)
    return model.eval(), pictures


def test_with_batch_norm_each_curve_is_judged_with_its_own_statistics_and_the_model_is_left():
    model, pictures = street_model()
    before = copy.deepcopy(model.state_dict())
    config, curves = CalibrationConfig(), [IDENTITY, ToneCurve(0.4)]
    plain = calibrate(model, through(pictures), curves, config).scores
    judged = calibrate(model, through(pictures), curves, config, batch_norm_blend=1.0).scores
    assert judged[1].batch_statistics < 0.1 * plain[1].batch_statistics
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_the_batch_norm_stage_agreement_is_with_models_that_have_the_targets_statistics():
    model, pictures = street_model()
    curves = [IDENTITY, ToneCurve(0.4)]
    found = [
        calibrate(model, through(pictures), curves, CalibrationConfig(judge_blend=blend)).scores for blend in (0.0, 1.0)
    ]
    assert found[0][1].information == found[1][1].information  # the model itself is what is scored
    assert found[0][1].agreement != found[1][1].agreement


def test_the_chosen_curve_and_the_reason_are_in_the_log():
    event = choice(BrightnessModel(), [darkened(2.0)]).as_event("agreement")
    assert event["curve"] == f"gamma {event['chosen']:g}" and event["reason"].startswith(event["curve"])
    assert [c["curve"] for c in event["candidates"]][:2] == ["as they are", "gamma 1.5"]
    assert {"information", "agreement", "channels"} <= set(event["candidates"][0])


def test_a_curve_that_leaves_the_model_less_sure_is_not_taken() -> None:
    def scored(gamma: float, entropy: float, information: float, agreement: float) -> Scores:
        return Scores(ToneCurve(gamma), entropy, information, 1.0, 1.0, agreement)

    base = scored(1.0, 0.5, 1.0, 0.5)
    spread_out = scored(0.7, 0.53, 1.2, 0.7)
    kept = choose([base, spread_out], CalibrationConfig())
    assert kept.curve.identity and "less sure" in kept.reason
    assert choose([base, spread_out], CalibrationConfig(entropy_margin=0.04)).curve.gamma == 0.7
    assert choose([base, spread_out, scored(0.6, 0.45, 1.1, 0.6)], CalibrationConfig()).curve.gamma == 0.6
