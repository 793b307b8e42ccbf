"""Which of the project's bars for GPUs are met, by what a report of gpu_check holds; nothing is measured here.

A bar that was not measured says why, and fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

KERNELS = "kernels"
USERS = "pipelines of users"
NETWORKS = ("pipeline of networks", "pipeline of inductor")
"""Steps that time frames around real networks: TensorRT's, PyTorch's."""
ALONE = "network alone, in a graph"
EVERY = "every, GPU to GPU"
FIXED = "fixed:5, GPU to GPU"
LARGEST = ("segformer-b1", "2048x1024")
SAMPLING = "sample + argmax, 19 classes, 512x256 to 2048x1024, f16"
SAMPLED = {
    "without flow": "plain",
    "with flow": "with flow of up to 8 pixels, 2048x1024",
    "with flow of half the size": "with flow of up to 8 pixels, 1024x512",
}
LEVELS = {"as streams search it": 1, "to level 2": 2}

SHORT_US = 1000
"""A network that takes less may have frames that take ``RESIDENT_SHORT`` times as long."""
RESIDENT = 1.10
RESIDENT_SHORT = 1.25
OVER_HOST = 1.25
SAMPLING_US = 30
FLOW_US = 500
SPEED_UP = 3
ENQUEUE_US = 50
TRAINING_STEP = 2

Facts = dict[str, Any]


class NotMeasuredError(Exception):
    """The text says why."""


def found(report: Facts, step: str, *keys: str) -> Any:
    """What a step measured; one that failed may have measured this before it did."""
    entry = report["steps"].get(step, {"status": "not run"})
    said = (entry.get("reason") or "").partition("\n")[0]
    how = f"{entry['status']}: {said}" if said else entry["status"]
    value = entry.get("results")
    if value is None:
        raise NotMeasuredError(f"step '{step}' {how}")
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise NotMeasuredError(f"'{key}' is not in the step '{step}' ({how})")
        value = value[key]
    return value


def judged(figure: Callable[[], float], bar: float | None, unit: str, *, at_least: bool = False) -> Facts:
    """A figure beside its bar, if it has one."""
    row: Facts = {"unit": unit}
    if bar is not None:
        row |= {"bar": bar, "sense": "at least" if at_least else "at most"}
    try:
        value = figure()
    except NotMeasuredError as why:
        return {**row, "not measured": str(why)}
    row["figure"] = round(value, 3)
    if bar is not None:
        row["met"] = value >= bar if at_least else value <= bar
    return row


@dataclass(frozen=True)
class Frames:
    """What a step measured of whole frames around one network; times in microseconds."""

    report: Facts
    step: str
    bundle: str
    size: str

    @property
    def name(self) -> str:
        return f"{self.bundle} ({self.step})"

    def p50(self, *keys: str) -> float:
        return float(found(self.report, self.step, self.bundle, self.size, *keys, "p50_us"))

    def times_the_network(self, row: str) -> float:
        return self.p50(row, "frame", "key") / self.p50(ALONE)

    def resident_bar(self) -> float:
        try:
            return RESIDENT_SHORT if self.p50(ALONE) < SHORT_US else RESIDENT
        except NotMeasuredError:
            return RESIDENT

    def speed_up(self) -> float:
        """Frames/s of fixed:5 by those of every."""
        return self.p50(EVERY, "frame", "mean of a round") / self.p50(FIXED, "frame", "mean of a round")

    def bars(self) -> Facts:
        ratios = {
            "frame / network, GPU to GPU": judged(partial(self.times_the_network, EVERY), self.resident_bar(), "times"),
            "frame / network, host to host": judged(
                partial(self.times_the_network, "every, host to host"), OVER_HOST, "times"
            ),
            # How far the GPU's clock moved between the frames' beginning and end: those ratios are no better than this.
            "network, again / before": judged(lambda: self.p50(f"{ALONE}, again") / self.p50(ALONE), None, "times"),
        }
        enqueued = {
            f"enqueue of a frame, {row}": judged(partial(self.p50, row, "enqueue"), ENQUEUE_US, "us")
            for row in (EVERY, FIXED)
        }
        return {f"{self.name}: {what}": row for what, row in (ratios | enqueued).items()}


def networks(report: Facts) -> list[Frames]:
    """Those that frames were timed around; where there are none, the one that was to be."""
    measured = []
    for step in NETWORKS:
        results = report["steps"].get(step, {}).get("results") or {}
        for bundle, sizes in results.items():
            if bundle.endswith("-f16"):
                measured += [
                    Frames(report, step, bundle, size) for size, rows in sizes.items() if isinstance(rows, dict)
                ]
    return measured or [Frames(report, NETWORKS[-1], "-".join((*LARGEST, "f16")), LARGEST[1])]


def of_largest(report: Facts) -> Frames:
    """The largest network's frames, by TensorRT where it ran."""
    wanted = "-".join((*LARGEST, "f16"))
    unmeasured = Frames(report, NETWORKS[-1], wanted, LARGEST[1])
    return next((frames for frames in networks(report) if frames.bundle == wanted), unmeasured)


def speed_up(report: Facts) -> float:
    """Of the largest network: in the C++ pipeline, else in Python's."""
    try:
        return of_largest(report).speed_up()
    except NotMeasuredError as why:
        row = (USERS, "results", "rows", " ".join(LARGEST), "resident")
        try:
            return float(found(report, *row, "push", "ms")) / float(found(report, *row, "fixed:5", "ms"))
        except NotMeasuredError as other:
            raise NotMeasuredError(f"{why}; {other}") from None


def without_network(report: Facts) -> Facts:
    """What the host's time is where the network takes none of it."""
    return {
        f"enqueue of a frame without a network, {LARGEST[1]}, {row}": judged(
            partial(found, report, "pipeline", LARGEST[1], row, "enqueue", "p50_us"), ENQUEUE_US, "us"
        )
        for row in (EVERY, FIXED)
    }


def of_kernels(report: Facts) -> Facts:
    """Of single calls, launches included."""

    def single(group: str, row: str) -> float:
        return float(found(report, KERNELS, group, row, "single call", "p50_us"))

    sampled = {
        f"sample + argmax, 2048x1024, {how}": judged(partial(single, SAMPLING, row), SAMPLING_US, "us")
        for how, row in SAMPLED.items()
    }
    searched = {
        f"DIS flow with its pyramid, 1024x512, {how}": judged(
            partial(single, f"flow at 1024x512, finest level {level}", "pyramid + flow, in a graph"), FLOW_US, "us"
        )
        for how, level in LEVELS.items()
    }
    return sampled | searched


def of_training(report: Facts) -> Facts:
    step = ("training step", "results", "networks")
    try:
        measured = list(found(report, *step))
    except NotMeasuredError:
        measured = ["any network"]

    def ratio(network: str) -> float:
        return float(found(report, *step, network, "ratio"))

    return {
        f"STPL step / self-training step, {network}": judged(partial(ratio, network), TRAINING_STEP, "times")
        for network in measured
    }


def of_users(report: Facts) -> Facts:
    """Users' pipelines beside ours, each frame in the GPU's memory: beside push() of the same process where it ran."""
    try:
        rows: Facts = found(report, USERS, "results", "rows")
    except NotMeasuredError:
        return {}
    compared: Facts = {}
    for name, row in rows.items():
        resident = row.get("resident", {})
        ours, what, note = _beside(report, name, resident)
        for user in resident.keys() - {"push", "fixed:5", "fixed:5, scene cuts"}:
            ratio = judged(partial(_times, float(resident[user]["ms"]), ours), None, "times")
            compared[f"{name}: {user} / {what}"] = ratio | note
    return dict(sorted(compared.items()))


def _beside(report: Facts, name: str, resident: Facts) -> tuple[Callable[[], float], str, Facts]:
    """Our milliseconds, what they are of, and what is to be said of the comparison."""
    if "push" in resident:
        return (lambda: float(resident["push"]["ms"])), "push()", {}
    model, _, size = name.partition(" ")
    frames = Frames(report, "pipeline of inductor", f"{model}-{size}-f16", size)
    note = {"note": "two processes: a ratio between them is coarser than one of turns within a process"}
    return (
        (lambda: frames.p50(EVERY, "frame", "mean of a round") / 1e3),
        f"frame around PyTorch's network, {EVERY}",
        note,
    )


def _times(theirs: float, ours: Callable[[], float]) -> float:
    return theirs / ours()


def bars(report: Facts) -> Facts:
    """Every bar by its name."""
    of_frames: Facts = {}
    for frames in networks(report):
        of_frames |= frames.bars()
    model, size = LARGEST
    faster = {
        f"fixed:5 / every, frames/s, {model} {size}": judged(
            partial(speed_up, report), SPEED_UP, "times", at_least=True
        )
    }
    return of_frames | without_network(report) | faster | of_kernels(report) | of_training(report) | of_users(report)


def table(rows: Facts) -> str:
    """One line a bar."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name:{width}}  {_said(row)}" for name, row in rows.items())


def _said(row: Facts) -> str:
    if "not measured" in row:
        return f"not measured: {row['not measured']}"
    figure = f"{row['figure']:g} {row['unit']}"
    if "bar" not in row:
        return "  ".join(filter(None, (figure, row.get("note", ""))))
    return f"{figure}  ({row['sense']} {row['bar']:g})  {'met' if row['met'] else 'NOT MET'}"
