"""How alike label maps are: the mIoU between them, neither being the truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def label_agreement(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The mIoU between any label map of ``first`` and any of ``second``, over the classes that occur in either.

    Args:
        first, second: integer class ids 0..C-1, all of the same shape.

    Returns:
        ``(len(first), len(second))`` float64, 0..1.
    """
    classes = 1 + max(int(labels.max()) for labels in (*first, *second))
    rows = [labels.flatten().long() for labels in first]
    columns = [labels.flatten().long() for labels in second]
    return torch.tensor([[_miou(row, column, classes) for column in columns] for row in rows], dtype=torch.float64)


def _miou(a: Tensor, b: Tensor, classes: int) -> float:
    confusion = torch.bincount(a * classes + b, minlength=classes * classes).view(classes, classes).double()
    both = confusion.diagonal()
    either = confusion.sum(dim=0) + confusion.sum(dim=1) - both
    return float((both / either)[either > 0].mean())
