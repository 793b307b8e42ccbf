"""The guard's reasoning on the page and in the terminal, from logs as runs write them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stpl.data.classes import ClassSet
from stpl.report.adaptation import write_adaptation_report
from stpl.report.curves import Series, line_chart
from stpl.report.guard import add_guard, kept_in_short
from stpl.report.html import Report

CLASSES = ClassSet(("road", "car", "sign"), ((128, 64, 128), (0, 0, 142), (220, 220, 0)))
BEGINS = {"event": "guard_begins", "pace_floor": 1.0, "trust_floor": 0.8, "mode": "act"}
DRIFTED = "it drifted from what the start was sure of: trust 0.770 is below 0.8"
LEAPT = "its labels leapt: pace 0.91 is below 1"


def verdict(step: int, action: str, reason: str = "fine", pace: float = 1.2, trust: float = 0.95, **more: Any) -> dict:
    values = {"pace": pace, "trust": trust, "lost": [], "action": action, "reason": reason, "rate_scale": 1.0, **more}
    return {"event": "guard", "step": step - 1, **values}


def selected(steps: int) -> dict:
    return {"event": "selected", "after_steps": steps}


STOPPED = [
    BEGINS,
    verdict(25, "accept"),
    verdict(50, "roll back", LEAPT, pace=0.91, rate_scale=0.3, lost=[1, 2]),
    verdict(75, "accept", rate_scale=0.3),
    verdict(100, "stop", DRIFTED, trust=0.77, rate_scale=0.3),
    selected(75),
]
DESTROYED = [BEGINS, *(verdict(25 * i, "roll back", LEAPT, rate_scale=0.3**i) for i in (1, 2)), selected(0)]
COVERED = [{"event": "guard_stage", "stage": "adapt", "reason": "the video shows too little", "refused": True}]


class Page(HTMLParser):
    """Rows of tables, notices, and tags with their attributes."""

    def __init__(self, events: list[dict], planned: int | None = None) -> None:
        super().__init__()
        report = Report("t")
        report.section("Before")
        add_guard(report, events, CLASSES, planned)
        self.markup = report.render()
        self.rows: list[list[str]] = []
        self.highlighted: list[list[str]] = []
        self.notices: list[tuple[str, str]] = []
        self._within = ""
        self.feed(self.markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("class") or ""
        if tag == "tr":
            self.rows.append([])
            if kind == "highlight":
                self.highlighted.append(self.rows[-1])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "p" and kind.startswith("notice"):
            self.notices.append((kind, ""))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in ("td", "th"):
            self.rows[-1][-1] += data
        elif self._within == "p" and self.notices and not self.notices[-1][1]:
            self.notices[-1] = (self.notices[-1][0], data)


def test_every_snapshot_has_its_row_with_what_was_decided_and_why() -> None:
    page = Page(STOPPED, planned=150)
    assert [row[0] for row in page.rows] == ["after step", "0, the start", "25", "50", "75", "100"]
    assert page.rows[3] == ["50", "0.91", "0.950", "car, sign", "× 0.3", "taken back", LEAPT]
    assert page.rows[5] == ["100", "1.20", "0.770", "", "× 0.3", "ended the training", DRIFTED]
    assert page.highlighted == [page.rows[4]] and page.rows[4][5] == "accepted"


def test_what_was_kept_is_said_with_its_reasons() -> None:
    ((kind, text),) = Page(STOPPED, planned=150).notices
    assert kind == "notice"
    assert text == (
        "Kept: the model after 75 of 150 steps. Training was taken back once, to go on at 0.3 of its rate. "
        f"It was ended after 100 steps: {DRIFTED}."
    )
    calm = Page([BEGINS, verdict(25, "accept"), selected(25)])
    assert calm.notices == [("notice", "Kept: the model after 25 steps. Every snapshot was accepted.")]


def test_keeping_the_start_is_a_warning_and_marks_its_row() -> None:
    page = Page(DESTROYED)
    ((kind, text),) = page.notices
    assert kind == "notice warning"
    assert text.startswith("Kept: the model that training began with. Training was taken back twice")
    assert text.endswith("No snapshot was accepted.")
    assert page.highlighted == [page.rows[1]]


def test_curves_show_floors_refusals_and_what_was_kept() -> None:
    markup = Page(STOPPED).markup
    charts = markup.split("<svg")[1:]
    assert len(charts) == 2
    for chart, floor in zip(charts, ("at least 1<", "at least 0.8<"), strict=True):
        assert floor in chart and chart.count('class="floor"') == 1 and chart.count('class="marked"') == 1
        assert chart.count(' hollow"') == 2 and chart.count("<circle") == 4


def test_a_refused_stage_is_a_warning_and_nothing_else_is_shown() -> None:
    page = Page(COVERED)
    assert page.notices == [("notice warning", "Nothing was adapted: the video shows too little.")]
    assert page.rows == [] and "<svg" not in page.markup


def test_a_guard_that_looks_on_says_so() -> None:
    events = [{**BEGINS, "mode": "observe"}, *STOPPED[1:5], verdict(125, "accept"), selected(125)]
    page = Page(events, planned=125)
    ((_, text),) = page.notices
    assert "The guard looked on" in text and "taken back once" not in text and "ended after" not in text
    assert page.rows[3][5] == "refused" and page.rows[5][5] == "refused: would end the training"
    remark = Page([{**COVERED[0], "refused": False}]).notices[0][1]
    assert remark.startswith("Only a remark")


def test_without_a_guard_there_is_no_section() -> None:
    assert "Guard" not in Page([{"event": "step", "step": 0, "loss": 1.0}]).markup


@pytest.mark.parametrize(
    ("events", "line"),
    [
        (STOPPED, f"kept the snapshot of step 75 of 150 (stopped: {DRIFTED}; taken back once)"),
        (DESTROYED, "kept the model that training began with (taken back twice)"),
        ([BEGINS, verdict(150, "accept"), selected(150)], "kept the snapshot of step 150 of 150"),
        (COVERED, "nothing adapted: the video shows too little"),
        ([{**COVERED[0], "stage": "train"}], "no weight trained: the video shows too little"),
        ([{**COVERED[0], "refused": False}], None),
        ([BEGINS, verdict(25, "accept")], None),  # interrupted
    ],
)
def test_one_line_for_the_terminal(events: list[dict], line: str | None) -> None:
    assert kept_in_short(events, 150) == line


def test_the_page_of_a_run_takes_the_planned_steps_from_its_settings(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in STOPPED))
    (tmp_path / "config.yaml").write_text("steps: 150\n")
    page = write_adaptation_report(tmp_path, CLASSES).read_text()
    assert "Kept: the model after 75 of 150 steps." in page and "<dd>step 75</dd>" in page


def test_a_floor_and_what_was_chosen_are_inside_the_picture() -> None:
    svg = line_chart(
        [Series("pace", [25, 50], [1.2, 1.3])], x_label="step", y_label="pace", markers=True, marked_x=0, floor=1.0
    )
    marked = float(svg.split('class="marked" x1="')[1].split('"')[0])
    floor = float(svg.split('class="floor"')[1].split('y1="')[1].split('"')[0])
    assert 60 <= marked < 100 and 150 < floor < 210
