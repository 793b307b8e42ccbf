"""Choosing among the snapshots of an adaptation without labels: the published criteria, and two leads of our own.

Each criterion scores a snapshot by what its model says of unlabelled frames; the highest score is chosen. The start of
training is a candidate like any snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stpl.data.batches import PreparedVideo
from stpl.method.calibration_scores import judge
from stpl.method.guard import agreement
from stpl.method.tone_curves import ToneCurve
from stpl.metrics import TemporalConsistency
from stpl.train.stages import spread

FRAMES = 24
PAIRS = 8
"""Frames that flow consistency is measured on, each with its predecessor."""
PIXELS = 20_000
"""Of each frame, on which snapshots are compared with their mean."""
NEIGHBOURS = 1_000
"""Pixels of each frame among which neighbours are looked for."""
TEMPERATURE = 0.05
TRUST_FLOOR = 0.97

SOURCES = {
    "last": "no choice",
    "entropy": "mean entropy, the least: Morerio et al., ICLR 2018",
    "information": "information maximisation: entropy of the mean prediction minus the mean entropy; Liang et al., "
    "ICML 2020 (SHOT)",
    "nuclear norm": "of the predictions of a frame: Cui et al., CVPR 2020 (BNM)",
    "SND": "soft neighbourhood density of the predictions, temperature 0.05: Saito et al., ICCV 2021",
    "EnsV": "most mIoU with the labels of the mean prediction of all candidates of a domain, over methods, rates and "
    "seeds: ensemble-based validation, Hu et al., NeurIPS 2024",
    "own mean": "the same with the mean of the run's own candidates alone",
    "flow consistency": "mIoU with the labels of the frame before, warped along the flow: Liu et al., ECCV 2020",
    "trust": f"the last snapshot whose mIoU with the start's ensemble, where that is sure, is {TRUST_FLOOR} or more",
}
"""Where each criterion comes from."""


@dataclass(frozen=True)
class Opinion:
    """What a candidate says of the frames of a domain.

    Attributes:
        scores: by criterion, the higher the better.
        probabilities: ``(P, C)`` float16 of pixels spread over all frames, the same of all candidates.
    """

    scores: dict[str, float]
    probabilities: Tensor


class Frames:
    """The frames that the candidates of a domain are looked at with."""

    def __init__(self, video: PreparedVideo) -> None:
        self.images = [video.image(i)[None] for i in spread(len(video.dataset), FRAMES)]
        present = [video.pairs[i] for i in spread(len(video.pairs), PAIRS)]
        self.pairs = [
            (video.image(i)[None], video.image(before)[None], video.flow(i).permute(1, 2, 0).numpy())
            for i in present
            if (before := video.dataset.previous(i)) is not None
        ]

    @torch.inference_mode()
    def opinion(self, model: nn.Module) -> Opinion:
        """What ``model``, in evaluation mode, says of them."""
        general = judge(model, self.images, ToneCurve()).scores
        densities, thinned = [], []
        for image in self.images:
            probabilities = model(image)[0].float().softmax(dim=0).flatten(1).T
            densities.append(soft_neighbourhood_density(_some(probabilities, NEIGHBOURS)))
            thinned.append(_some(probabilities, PIXELS).half())
        scores = {
            "entropy": -general.entropy,
            "information": general.information,
            "nuclear norm": general.nuclear_norm,
            "SND": float(np.mean(densities)),
            "flow consistency": self._flow_consistency(model),
        }
        return Opinion(scores, torch.cat(thinned))

    def _flow_consistency(self, model: nn.Module) -> float:
        consistency = None
        for present, past, flow in self.pairs:
            logits = model(present)[0], model(past)[0]
            consistency = consistency or TemporalConsistency(logits[0].shape[0])
            now, before = (scores.argmax(dim=0).to(torch.uint8).numpy() for scores in logits)
            consistency.update(now, before, flow)
        score = None if consistency is None else consistency.score
        return 0.0 if score is None else score


def soft_neighbourhood_density(probabilities: Tensor) -> float:
    """Mean entropy, in nats, of each sample's distribution over its neighbours; high where classes form dense groups.

    Args:
        probabilities: ``(N, C)`` predictions; they serve as the features, as proposed.
    """
    features = torch.nn.functional.normalize(probabilities, dim=1)
    similarity = (features @ features.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    neighbours = similarity.softmax(dim=1)
    return float(-(neighbours * neighbours.clamp_min(1e-12).log()).sum(dim=1).mean())


def agreement_with_mean(opinions: Sequence[Opinion], others: Sequence[Opinion]) -> list[float]:
    """The mIoU of each opinion's labels with those of the mean prediction of ``others``."""
    mean = torch.stack([opinion.probabilities.float() for opinion in others]).mean(dim=0)
    reference, classes = mean.argmax(dim=1), mean.shape[1]
    return [agreement(reference, opinion.probabilities.argmax(dim=1), classes) for opinion in opinions]


def chosen_step(criterion: str, scores: Mapping[int, float]) -> int:
    """The step that a criterion chooses by its scores; 0 is the start of training, and the earlier of two equals."""
    if criterion == "trust":
        return max(step for step, score in scores.items() if score >= TRUST_FLOOR or step == 0)
    return max(sorted(scores), key=scores.__getitem__)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's, with mean ranks for equals; None where either is constant."""
    ranks = [_ranks(values) for values in (a, b)]
    if any(np.ptp(values) == 0 for values in ranks):
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    ranks: np.ndarray = ((ends - counts + ends - 1) / 2)[places]
    return ranks


def _some(pixels: Tensor, wanted: int) -> Tensor:
    return pixels[:: max(1, pixels.shape[0] // wanted)]
