"""The guard's reasoning, from a run's log: what it found of each snapshot, what it refused, what was kept and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stpl.data.classes import ClassSet
from stpl.report.curves import Series
from stpl.report.html import Report

Event = Mapping[str, Any]

DECIDED = {"accept": "accepted", "roll back": "taken back", "stop": "ended the training"}
DECIDED_LOOKING_ON = {"accept": "accepted", "roll back": "refused", "stop": "refused: would end the training"}

ABOUT = "Whether adapting does the model good, judged without labels."
ABOUT_SNAPSHOTS = (
    " Pace: how much of its labelling the model keeps from one accepted snapshot to the next, beside how much it keeps "
    "when a frame is only mirrored and its light changed; a model that is being destroyed leaps. Trust: mean IoU with "
    "what the start of training was sure of; it ends a slow drift."
)


@dataclass(frozen=True)
class GuardLog:
    """What the log of a run says of its guard.

    Attributes:
        verdicts: of the snapshots, in order.
        stages: refusals of whole stages.
        begins: what snapshots were measured against; empty in logs that do not say.
        kept: steps of the snapshot that was kept, 0 for the start of training; None where no training came to its end.
    """

    verdicts: tuple[Event, ...]
    stages: tuple[Event, ...]
    begins: Event
    kept: int | None

    @classmethod
    def of(cls, events: Sequence[Event]) -> GuardLog:
        def named(name: str) -> list[Event]:
            return [event for event in events if event.get("event") == name]

        begins, selected = named("guard_begins"), named("selected")
        return cls(
            tuple(named("guard")),
            tuple(named("guard_stage")),
            begins[-1] if begins else {},
            int(selected[-1]["after_steps"]) if selected else None,
        )

    @property
    def looking_on(self) -> bool:
        """Whether the guard judged without acting."""
        return self.begins.get("mode") == "observe"

    @property
    def roll_backs(self) -> int:
        return sum(verdict["action"] == "roll back" for verdict in self.verdicts)

    @property
    def ended_by(self) -> Event | None:
        """The verdict that ended the training before its time."""
        last = self.verdicts[-1] if self.verdicts and not self.looking_on else None
        return last if last is not None and last["action"] == "stop" else None


def kept_in_short(events: Sequence[Event], planned: int) -> str | None:
    """One line on what the guard kept, for a terminal; None where it had no say.

    Args:
        planned: steps that the training was to have.
    """
    log = GuardLog.of(events)
    for stage in log.stages:
        if stage["refused"]:
            return f"{'nothing adapted' if stage['stage'] == 'adapt' else 'no weight trained'}: {stage['reason']}"
    if log.kept is None or not log.verdicts:
        return None
    what = (
        f"kept the snapshot of step {log.kept} of {planned}" if log.kept else "kept the model that training began with"
    )
    why = [f"stopped: {log.ended_by['reason']}"] if log.ended_by is not None else []
    if log.roll_backs:
        why.append(f"{'refused' if log.looking_on else 'taken back'} {_times(log.roll_backs)}")
    return f"{what} ({'; '.join(why)})" if why else what


def add_guard(report: Report, events: Sequence[Event], classes: ClassSet, planned: int | None = None) -> None:
    """A section on the guard, where it had a say.

    Args:
        classes: names of the classes that snapshots lost.
        planned: steps that the training was to have, where known.
    """
    log = GuardLog.of(events)
    if not log.verdicts and not log.stages:
        return
    report.section("Guard", ABOUT + (ABOUT_SNAPSHOTS if log.verdicts else ""))
    for stage in log.stages:
        head = {"adapt": "Nothing was adapted", "train": "No weight was trained"}.get(stage["stage"], "Refused")
        if not stage["refused"]:
            head = "Only a remark, the guard was told not to act"
        report.add_notice(f"{head}: {stage['reason']}.", warning=True)
    if not log.verdicts:
        return
    conclusion = _conclusion(log, planned)
    if conclusion:
        report.add_notice(conclusion, warning=log.kept == 0)
    _add_verdicts(report, log, classes)
    _add_curves(report, log)


def _conclusion(log: GuardLog, planned: int | None) -> str:
    """What was kept in the end, and why, in sentences."""
    if log.kept is None:
        return ""
    of = f" of {planned}" if planned is not None else ""
    what = f"Kept: the model after {log.kept}{of} steps." if log.kept else "Kept: the model that training began with."
    parts = [what]
    ended = log.ended_by
    if log.looking_on:
        parts.append("The guard looked on: nothing was taken back, and training went on to its end.")
    if log.roll_backs and not log.looking_on:
        rate = float(log.verdicts[-1]["rate_scale"])
        parts.append(f"Training was taken back {_times(log.roll_backs)}, to go on at {rate:.2g} of its rate.")
    if ended is not None:
        parts.append(f"It was ended after {int(ended['step']) + 1} steps: {ended['reason']}.")
    elif all(verdict["action"] == "accept" for verdict in log.verdicts):
        parts.append("Every snapshot was accepted.")
    elif not log.kept:
        parts.append("No snapshot was accepted.")
    return " ".join(parts)


def _add_verdicts(report: Report, log: GuardLog, classes: ClassSet) -> None:
    decided = DECIDED_LOOKING_ON if log.looking_on else DECIDED
    rows = [["0, the start", "", "", "", "× 1", "", "what snapshots are measured against"]]
    for verdict in log.verdicts:
        lost = ", ".join(classes.names[i] if i < len(classes) else str(i) for i in verdict["lost"])
        numbers = [f"{float(verdict['pace']):.2f}", f"{float(verdict['trust']):.3f}"]
        rate = f"× {float(verdict.get('rate_scale', 1.0)):.2g}"
        why = "" if verdict["action"] == "accept" else str(verdict["reason"])
        rows.append([str(int(verdict["step"]) + 1), *numbers, lost, rate, decided[verdict["action"]], why])
    kept = [i for i, row in enumerate(rows) if log.kept is not None and row[0].split(",")[0] == str(log.kept)]
    columns = ["after step", "pace", "trust", "lost classes", "rate", "decided", "why"]
    report.add_table(columns, rows, highlight=kept[-1] if kept else None, words=(3, 5, 6))


def _add_curves(report: Report, log: GuardLog) -> None:
    at = [float(verdict["step"]) + 1 for verdict in log.verdicts]
    refused = [x for x, verdict in zip(at, log.verdicts, strict=True) if verdict["action"] != "accept"]
    for name in ("pace", "trust"):
        line = Series(name, at, [float(verdict[name]) for verdict in log.verdicts])
        floor = log.begins.get(f"{name}_floor")
        caption = f"{name.capitalize()}; the upright line marks what was kept"
        report.add_curves(
            [line],
            x_label="step",
            y_label=name,
            markers=True,
            marked_x=None if log.kept is None else float(log.kept),
            floor=None if floor is None else float(floor),
            hollow_x=refused,
            caption=caption + (", hollow points were refused" if refused else ""),
        )


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
