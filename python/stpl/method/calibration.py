"""Input calibration: a monotone tone curve, chosen without labels by what the source model says of the frames.

The curve becomes a look-up table of the runtime's preprocessing and costs nothing there. The frames as they are always
are a candidate, and they are kept unless two judges agree on another: the model must tell classes apart better
(information maximisation), and its labels must agree better with those that it gives under all curves together. A
model that is sure of nonsense under some curve convinces the first judge and stands alone before the second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config, Gamma
from stpl.method.agreement import label_agreement
from stpl.method.batch_norm import batch_norm_layers, reestimate_batch_norm
from stpl.method.calibration_scores import Judgement, Scores, judge
from stpl.method.tone_curves import Lut, ToneCurve

Criterion = Literal["agreement", "entropy", "information", "nuclear_norm", "batch_statistics"]


class CalibrationConfig(Config):
    enabled: bool = True
    criterion: Criterion = "agreement"
    """``agreement``: both judges, with their margins. The others take the curve with the best score of that name."""
    gammas: tuple[Gamma, ...] = (1.5, 1.25, 1.0, 0.85, 0.7, 0.6, 0.5, 0.4)
    """Candidates; below 1 brightens. 1 is added where it is missing."""
    balanced_gammas: tuple[Gamma, ...] = (1.0, 0.7)
    """Candidates that balance the channels, too: all three get the same mean. Empty: no such candidates."""
    frames: int = Field(16, ge=1)
    """Frames looked at, spread evenly over the video."""
    information_margin: float = Field(0.01, ge=0)
    """Nats by which a curve's information must exceed that of the frames as they are."""
    agreement_margin: float = Field(0.05, ge=0)
    """mIoU, 0..1, by which its agreement must; the largest that loses no gain on the development domains."""
    entropy_margin: float = Field(0.02, ge=0)
    """Nats of mean entropy by which a curve may leave the model less sure than it is of the frames as they are."""
    judge_blend: float = Field(0.75, ge=0, le=1)
    """Share of the target's batch-norm statistics in the models that are agreed with, where the stage that would
    re-estimate them is off."""


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and why.

    Attributes:
        curve: the identity where nothing was found better.
        scores: of all candidates, in the order tried; the identity first.
        reason: a sentence for people.
    """

    curve: ToneCurve
    scores: list[Scores]
    reason: str

    def as_event(self, criterion: Criterion) -> dict[str, Any]:
        """For the metrics file and the report. ``chosen`` is the gamma of the curve, ``curve`` its name."""
        return {
            "criterion": criterion,
            "chosen": self.curve.gamma,
            "curve": self.curve.name,
            "reason": self.reason,
            "candidates": [scores.as_dict() for scores in self.scores],
        }


def calibrate(
    model: nn.Module,
    frames: Callable[[Lut | None], Sequence[Tensor]],
    curves: Sequence[ToneCurve],
    config: CalibrationConfig,
    *,
    batch_norm_blend: float = 0.0,
    progress: Callable[[], None] = lambda: None,
) -> Calibration:
    """Scores every curve and chooses; whatever is not clearly better loses to the identity.

    Args:
        model: the source model in evaluation mode; left as it is.
        frames: prepares the same frames under a look-up table; ``(1, 3, H, W)`` normalised tensors.
        curves: the candidates; the identity is tried in any case.
        batch_norm_blend: where the statistics are re-estimated afterwards, by how much: each candidate is then
            scored with statistics re-estimated on its own frames. Under a large shift the untouched model's own
            opinion of its predictions misleads; with its statistics in place it follows the accuracy. Where they are
            not re-estimated afterwards, models with re-estimated statistics still are those to agree with.
        progress: called after each candidate.
    """
    identity = ToneCurve()
    ordered = [identity, *(curve for curve in curves if not curve.identity)]
    subjects: list[Judgement] = []
    judges: list[Judgement] = []
    has_statistics = bool(batch_norm_layers(model))
    for curve in ordered:
        images = frames(None if curve.identity else curve.lut())
        subject = _with_statistics(model, images, batch_norm_blend) if has_statistics else model
        subjects.append(judge(subject, images, curve))
        if has_statistics and batch_norm_blend == 0.0 and config.criterion == "agreement":
            judges.append(judge(_with_statistics(model, images, config.judge_blend), images, curve))
        progress()
    agreement = weighted_agreement(subjects, judges or None)
    scores = [replace(s.scores, agreement=float(a)) for s, a in zip(subjects, agreement, strict=True)]
    return choose(scores, config)


def weighted_agreement(subjects: Sequence[Judgement], judges: Sequence[Judgement] | None = None) -> Tensor:
    """How well the labels under each curve agree with those under all curves, the informative ones counting more.

    Args:
        subjects: under each curve, what the model says that is chosen for.
        judges: under each curve, what the models say that are agreed with; None: the subjects, each leaving out
            itself.

    Returns:
        ``(curves,)``: mean over the judges of the mIoU of the labels, 0..1; weights are the softmax of the judges'
        information over its standard deviation. 1 for a single curve.
    """
    others = subjects if judges is None else judges
    if len(subjects) == 1:
        return torch.ones(1, dtype=torch.float64)
    information = torch.tensor([s.scores.information for s in others], dtype=torch.float64)
    weights = (information / (information.std(correction=0) + 1e-9)).softmax(dim=0).expand(len(subjects), -1).clone()
    if judges is None:
        weights.fill_diagonal_(0.0)
    pairs = label_agreement([s.labels for s in subjects], [s.labels for s in others])
    return (weights * pairs).sum(dim=1) / weights.sum(dim=1)


def choose(scores: list[Scores], config: CalibrationConfig) -> Calibration:
    """What ``config`` makes of the scores of all candidates, the identity first."""
    if config.criterion == "agreement":
        return _choose_by_both(scores, config)
    criterion = config.criterion
    if criterion == "batch_statistics" and scores[0].batch_statistics != scores[0].batch_statistics:
        criterion = "information"  # NaN: no batch-norm
    best = max(scores, key=lambda s: (s.value(criterion), s.curve.identity))
    return Calibration(best.curve, scores, f"best {criterion.replace('_', ' ')}")


def _choose_by_both(scores: list[Scores], config: CalibrationConfig) -> Calibration:
    """Among the curves that both judges prefer by their margins, the one with the best sum of standard scores.

    A curve that leaves the model less sure of the pixels has not brought it back to what it knows, however its labels
    are spread over the classes: it is not among them.
    """
    base = scores[0]
    information = torch.tensor([s.information for s in scores], dtype=torch.float64)
    agreement = torch.tensor([s.agreement for s in scores], dtype=torch.float64)
    informative = information > base.information + config.information_margin
    agreed = agreement > base.agreement + config.agreement_margin
    sure = torch.tensor([s.entropy <= base.entropy + config.entropy_margin for s in scores])
    both = informative & agreed & sure
    if not bool(both.any()):
        if bool((informative & agreed).any()):
            why = "the curves that are better in information and in agreement leave the model less sure"
        elif bool(informative.any()) and bool(agreed.any()):
            why = "information and agreement prefer different curves"
        elif bool(informative.any()):
            why = f"no curve's labels agree better by {config.agreement_margin:g} mIoU with those under the others"
        elif bool(agreed.any()):
            why = f"no curve is more informative by {config.information_margin:g} nats"
        else:
            why = "no curve is better by the margins in information or in agreement"
        return Calibration(base.curve, scores, f"kept as they are: {why}")
    sums = (_standard(information) + _standard(agreement)).masked_fill(~both, float("-inf"))
    best = scores[int(sums.argmax())]
    reason = f"{best.curve.name}: information {best.information:.3f} (as they are {base.information:.3f}), "
    reason += f"agreement {best.agreement:.3f} ({base.agreement:.3f})"
    return Calibration(best.curve, scores, reason)


def _standard(values: Tensor) -> Tensor:
    return (values - values.mean()) / (values.std(correction=0) + 1e-9)


def _with_statistics(model: nn.Module, images: Sequence[Tensor], blend: float) -> nn.Module:
    if blend == 0.0:
        return model
    changed = copy.deepcopy(model)
    reestimate_batch_norm(changed, images, blend)
    return changed
