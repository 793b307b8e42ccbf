"""What a table keeps of a run: the last, the selected and the best snapshot, and what they cost."""

from __future__ import annotations

from statistics import fmean
from typing import Any


def score(measured: dict[str, Any]) -> float:
    """A snapshot's mIoU, percent: the mean over the two halves of the labelled frames."""
    return fmean(measured["halves"])


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Of a run's result, as :mod:`worker` writes it; a run without snapshots has one outcome."""
    snapshots: dict[str, Any] = result.get("snapshots", {})
    selected = _outcome(result["selected"], result["selected"].get("step"))
    last = best = selected
    if snapshots:
        final = max(snapshots, key=int)
        finest = max(snapshots, key=lambda step: score(snapshots[step]))
        last, best = _outcome(snapshots[final], int(final)), _outcome(snapshots[finest], int(finest))
        # The start of training is not among the snapshots, but may have been selected.
        best = max(best, selected, key=lambda outcome: float(outcome["score"]))
    return {
        "last": last,
        "selected": selected,
        "best": best,
        "snapshots": {step: round(score(measured), 3) for step, measured in snapshots.items()},
        "iou": result["selected"].get("iou"),
        **{key: result.get(key) for key in ("seconds", "cpu_seconds", "peak_mebibytes", "gamma", "commit")},
    }


def _outcome(measured: dict[str, Any], step: int | None) -> dict[str, Any]:
    whole = measured.get("all")
    return {
        "score": round(score(measured), 3),
        "all": None if whole is None else round(whole, 3),
        "halves": [round(half, 3) for half in measured["halves"]],
        "step": step,
    }
