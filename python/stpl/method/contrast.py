"""Pixel-level contrast: class-balanced sampling of pixels and the contrastive loss.

The loss of an anchor q with positives P and negatives N (printed form, from the authors' poster, CVPR 2023):

    L_q = -1/|P| sum_{p in P} log( exp(q.p / t) / sum_{n in N} exp(q.n / t) )

Its denominator holds the negatives alone, so it can be negative. ``denominator="infonce"`` adds the positive itself
(van den Oord et al., 2018).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stpl.data.classes import IGNORE_ID

Denominator = Literal["negatives", "infonce"]


def sample_pixels(labels: Tensor, per_class: int) -> Tensor:
    """Draws up to ``per_class`` pixels of every class present, at random.

    Args:
        labels: ``(h, w)`` int64 class ids; :data:`IGNORE_ID` is never drawn.

    Returns:
        ``(P,)`` int64 positions in the flattened map.
    """
    flat = labels.flatten()
    candidates = torch.nonzero(flat != IGNORE_ID).squeeze(1)
    candidates = candidates[torch.randperm(candidates.numel(), device=flat.device)]
    classes = flat[candidates]
    chosen = [candidates[classes == class_id][:per_class] for class_id in classes.unique().tolist()]
    return torch.cat(chosen) if chosen else candidates


def contrast_loss(
    anchors: Tensor,
    anchor_labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float,
    denominator: Denominator,
) -> tuple[Tensor, int]:
    """Sum of L_q over the anchors that have both a positive and a negative, and their number.

    Args:
        anchors: ``(A, D)`` unit vectors; ``anchor_labels`` ``(A,)`` their classes.
        keys: ``(K, D)`` unit vectors of the other view; ``key_labels`` ``(K,)``.
        temperature: t > 0.
        denominator: ``"negatives"`` as printed, or ``"infonce"``.
    """
    similarity = anchors @ keys.T / temperature
    positive = anchor_labels[:, None] == key_labels[None, :]
    positives = positive.sum(dim=1)
    usable = (positives > 0) & (positives < key_labels.numel())
    if not bool(usable.any()):
        return similarity.sum() * 0.0, 0
    similarity, positive, positives = similarity[usable], positive[usable], positives[usable]
    bottom = similarity.masked_fill(positive, float("-inf")).logsumexp(dim=1, keepdim=True)
    if denominator == "infonce":
        bottom = torch.logaddexp(similarity, bottom)
    terms = (bottom - similarity).masked_fill(~positive, 0.0)
    return (terms.sum(dim=1) / positives).sum(), int(usable.sum())
