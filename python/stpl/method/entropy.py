"""Entropy of predictions."""

from __future__ import annotations

from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Of raw class scores ``(N, C, ...)``: ``(N, ...)`` in nats, 0 to log C."""
    log_probabilities = logits.float().log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)
