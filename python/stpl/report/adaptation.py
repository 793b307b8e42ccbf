"""The report of an adaptation: what was chosen and why, how training went, and frames before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stpl.data.classes import ClassSet
from stpl.data.dataset import Image, LabelMap
from stpl.report.curves import Series
from stpl.report.guard import GuardLog, add_guard
from stpl.report.html import Report
from stpl_rt import overlay

Event = Mapping[str, Any]

_CRITERIA = {
    "agreement": ("agreement", "higher is better"),
    "information": ("information", "higher is better"),
    "entropy": ("entropy", "lower is better"),
    "nuclear_norm": ("nuclear norm", "higher is better"),
    "batch_statistics": ("batch statistics", "lower is better"),
}


@dataclass(frozen=True)
class Sample:
    """One frame of the target video with the labels of the source and of the adapted model.

    Attributes:
        name: where it comes from.
        frame: (H, W, 3) uint8 RGB.
        before: (H, W) uint8 labels of the source model; after: those of the adapted one.
    """

    name: str
    frame: Image
    before: LabelMap
    after: LabelMap


def write_adaptation_report(
    out: Path, classes: ClassSet, samples: Sequence[Sample] = (), *, title: str = "Adaptation", subtitle: str = ""
) -> Path:
    """Writes ``report.html`` into the folder of an adaptation, from its ``metrics.jsonl`` and ``config.yaml``.

    Args:
        out: the run's folder.
        classes: names and colours, for legends.
        samples: frames to show before and after.
        title: of the page; the line under it is ``subtitle``.

    Returns:
        The file written.
    """
    report = Report(title, subtitle)
    events = read_events(out / "metrics.jsonl")
    config = out / "config.yaml"
    _add_facts(report, events)
    add_samples(report, classes, samples)
    add_guard(report, events, classes, _planned_steps(config))
    add_calibration(report, events)
    add_training(report, events, classes)
    if config.is_file():
        report.section("Settings", "Everything this run depended on beside the source model and the video.")
        report.add_details("config.yaml", config.read_text(encoding="utf-8"))
    path = out / "report.html"
    report.write(path)
    return path


def read_events(file: Path) -> list[Event]:
    """The objects of a ``metrics.jsonl``; none where the file is missing, broken lines left out."""
    events: list[Event] = []
    if not file.is_file():
        return events
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed while writing it
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def add_samples(report: Report, classes: ClassSet, samples: Sequence[Sample]) -> None:
    """Frames before and after, side by side."""
    if not samples:
        return
    report.section(
        "Before and after", "Frames of the target video; what the source model and the adapted model see in them."
    )
    for sample in samples:
        report.add_figures(
            [
                (sample.name, sample.frame),
                ("source model", overlay(sample.frame, sample.before, classes.colors, alpha=0.6)),
                ("adapted model", overlay(sample.frame, sample.after, classes.colors, alpha=0.6)),
            ]
        )
    report.add_legend(classes)


def add_calibration(report: Report, events: Sequence[Event]) -> None:
    """The tone curves that were tried, what the source model said of each, and which was taken."""
    event = next((e for e in events if e.get("event") == "calibration"), None)
    if event is None:
        return
    criterion = str(event.get("criterion", "information"))
    known, better = _CRITERIA.get(criterion, (criterion, ""))
    chosen = _curve_name(event, float(event["chosen"]))
    reason = str(event.get("reason", f"best {known} ({better})"))
    report.section(
        "Input calibration",
        f"The source model was shown the same frames under several tone curves. Taken: {chosen}. Why: {reason}. "
        "No label was used; at run time the curve is a look-up table.",
    )
    candidates = sorted(event["candidates"], key=lambda c: (_balanced(c), float(c["gamma"])))
    columns = [key for key in _CRITERIA if key in candidates[0]]
    deciding = ("agreement", "information") if criterion == "agreement" else (criterion,)
    heads = [f"{_CRITERIA[key][0]}{' (decides)' if key in deciding else ''}" for key in columns]
    names = [_curve_name(c, float(c["gamma"])) for c in candidates]
    rows = [[name, *(f"{c[key]:.4f}" for key in columns)] for name, c in zip(names, candidates, strict=True)]
    report.add_table(["curve", *heads], rows, highlight=next((i for i, n in enumerate(names) if n == chosen), None))
    plain = [c for c in candidates if not _balanced(c)]
    if len(plain) < 2:
        return
    gammas = [float(c["gamma"]) for c in plain]
    marked = None if "balanced" in chosen else float(event["chosen"])
    for key in (key for key in deciding if key in columns):
        name, better = _CRITERIA[key]
        line = Series(name, gammas, [float(c[key]) for c in plain])
        report.add_curves(
            [line], x_label="gamma", y_label=name, markers=True, marked_x=marked, caption=f"{name}: {better}"
        )


def _balanced(candidate: Event) -> bool:
    return any(exponent != 1.0 for exponent in candidate.get("channels", ()))


def _curve_name(event: Event, gamma: float) -> str:
    if "curve" in event:
        return str(event["curve"])
    return "as they are" if gamma == 1.0 else f"gamma {gamma:g}"


def add_training(report: Report, events: Sequence[Event], classes: ClassSet) -> None:
    """Losses by step, and what the pseudo-labelling model says of the video as it changes."""
    steps = [e for e in events if e.get("event") == "step"]
    snapshots = [e for e in events if e.get("event") == "snapshot" and "class_histogram" in e]
    if not steps and not snapshots:
        return
    report.section(
        "Training", "Losses of each step (faint) and their running mean; what the teacher says of frames of the video."
    )
    names = {"loss": "total", "loss_self_training": "self-training", "loss_contrast": "contrast"}
    present = [key for key in names if any(key in e for e in steps)]
    for key in present if len(present) != 2 else ["loss"]:  # with one part alone, the total says the same
        values = [e for e in steps if e.get(key) is not None]
        line = Series(names[key], [float(e["step"]) for e in values], [float(e[key]) for e in values])
        report.add_curves([line], x_label="step", y_label="loss", smooth=0.9, caption=f"Loss: {names[key]}")
    if not snapshots:
        return
    at = [float(e["step"]) for e in snapshots]
    if all("mean_confidence" in e for e in snapshots):
        line = Series("confidence", at, [float(e["mean_confidence"]) for e in snapshots])
        report.add_curves([line], x_label="step", y_label="confidence", markers=True, caption="Mean confidence")
    histograms = [[float(v) for v in e["class_histogram"]] for e in snapshots]
    report.add_shares(at, histograms, classes, x_label="step", caption="Classes that the teacher sees")


def _planned_steps(config: Path) -> int | None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else None
    steps = settings.get("steps") if isinstance(settings, dict) else None
    return steps if isinstance(steps, int) else None


def _add_facts(report: Report, events: Sequence[Event]) -> None:
    steps = [e for e in events if e.get("event") == "step"]
    done = next((e for e in events if e.get("event") == "done"), None)
    if steps:
        report.add_fact("steps", f"{len(steps)}")
        seconds = [float(e["seconds"]) for e in steps if "seconds" in e]
        if seconds:
            report.add_fact("steps a second", f"{len(seconds) / max(sum(seconds), 1e-9):.1f}")
    if done is not None and "seconds" in done:
        report.add_fact("time", f"{float(done['seconds']):.0f} s")
    kept = GuardLog.of(events).kept
    if kept is not None:
        report.add_fact("kept", f"step {kept}" if kept else "the start")
    calibration = next((e for e in events if e.get("event") == "calibration"), None)
    if calibration is not None:
        report.add_fact("tone curve", _curve_name(calibration, float(calibration["chosen"])))
