"""The pixel-level contrastive loss.

The loss of an anchor q with positives P and negatives N (printed form, from the authors' poster, CVPR 2023):

    L_q = -1/|P| sum_{p in P} log( exp(q.p / t) / sum_{n in N} exp(q.n / t) )

Its denominator holds the negatives alone, so it can be negative. ``denominator="infonce"`` adds the positive itself
(van den Oord et al., 2018).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stpl.data.classes import IGNORE_ID

Denominator = Literal["negatives", "infonce"]


def contrast_loss(
    anchors: Tensor,
    anchor_labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float,
    denominator: Denominator,
) -> tuple[Tensor, Tensor]:
    """Sum of L_q over the anchors that have both a positive and a negative among the keys of their own image.

    Time and memory follow N * A * K; nothing waits for the GPU.

    Args:
        anchors: ``(N, A, D)`` unit vectors; ``anchor_labels`` ``(N, A)`` their classes, :data:`IGNORE_ID` for none.
        keys: ``(N, K, D)`` unit vectors of the other view; ``key_labels`` ``(N, K)`` likewise.
        temperature: t > 0.
        denominator: ``"negatives"`` as printed, or ``"infonce"``.

    Returns:
        Scalars: the sum, float32, and the number of those anchors, int64.
    """
    with torch.autocast(anchors.device.type, enabled=False):  # bf16 steps of a cosine, 0.004, over t are too coarse
        similarity = anchors.float() @ keys.float().transpose(1, 2) / temperature
    known = (anchor_labels != IGNORE_ID)[:, :, None] & (key_labels != IGNORE_ID)[:, None, :]
    same = anchor_labels[:, :, None] == key_labels[:, None, :]
    positive, negative = same & known, ~same & known
    positives = positive.sum(dim=2)
    usable = (positives > 0) & negative.any(dim=2)
    # Finite, so that no infinity comes near the gradients of an anchor without negatives.
    bottom = similarity.masked_fill(~negative, torch.finfo(similarity.dtype).min).logsumexp(dim=2, keepdim=True)
    difference = bottom - similarity
    # -log(exp(s) / (exp(s) + exp(bottom))) = softplus(bottom - s)
    terms = F.softplus(difference) if denominator == "infonce" else difference
    terms = terms.masked_fill(~(positive & usable[:, :, None]), 0.0)
    return (terms.sum(dim=2) / positives.clamp(min=1)).sum(), usable.sum()
