"""Neighbour purity: how well a feature space keeps the classes apart.

Source: the analysis on the poster of S.-Y. Lo et al., CVPR 2023: the share of same-class pixels among the k nearest
neighbours in feature space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stpl.data.classes import IGNORE_ID


@torch.no_grad()
def neighbour_purity(features: Tensor, labels: Tensor, ks: Sequence[int], chunk: int = 1024) -> dict[int, float]:
    """Share of each pixel's k nearest neighbours that are of its own class, mean over the pixels.

    Nearest by the cosine of the features, as the contrast compares them; the pixel itself is not its neighbour.
    Memory: chunk * P numbers.

    Args:
        features: ``(P, D)`` of sampled pixels; a class-balanced sample makes the classes count alike.
        labels: ``(P,)`` their true classes; pixels of :data:`IGNORE_ID` are left out.
        ks: numbers of neighbours, each at least 1.

    Returns:
        The mean share, 0..1, for every k, in the order given.

    Raises:
        ValueError: no k, a k below 1, or as many as there are labelled pixels.
    """
    known = labels != IGNORE_ID
    features, labels = F.normalize(features[known].float(), dim=1), labels[known]
    if not ks or min(ks) < 1 or max(ks) >= len(labels):
        raise ValueError(f"expected numbers of neighbours from 1 to {len(labels) - 1}; found {list(ks)}")
    sums = torch.zeros(max(ks), dtype=torch.float64, device=features.device)
    for start in range(0, len(labels), chunk):
        rows = torch.arange(start, min(start + chunk, len(labels)), device=features.device)
        similarity = features[rows] @ features.T
        similarity.scatter_(1, rows[:, None], -torch.inf)
        nearest = similarity.topk(max(ks), dim=1).indices
        sums += (labels[nearest] == labels[rows, None]).sum(dim=0)
    # Entry i of the sums is about the i-th neighbour alone.
    return {k: float(sums[:k].sum()) / (k * len(labels)) for k in ks}
