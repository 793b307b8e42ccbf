"""The page: one file, escaped, in order; and the report of an adaptation from what the run logged."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stpl.data.classes import ClassSet
from stpl.report.adaptation import Sample, read_events, write_adaptation_report
from stpl.report.html import Report

CLASSES = ClassSet(("road", "car"), ((128, 64, 128), (0, 0, 142)))
VOID = {"meta", "img", "br", "hr", "input", "link", "line", "circle", "polygon"}


class Page(HTMLParser):
    """Tags in order, their attributes, the text; fails on a tag that closes another than the one opened last."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def picture(value: int) -> np.ndarray:
    return np.full((12, 16, 3), value, np.uint8)


def test_a_page_loads_nothing_from_elsewhere() -> None:
    report = Report("Result", "of a run")
    report.section("Pictures")
    report.add_figures([("before", picture(10)), ("after", picture(200))], kind="png")
    page = Page(report.render())
    sources = [str(image["src"]) for image in page.named("img")]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    decoded = [PIL.Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) for source in sources]
    assert [image.getpixel((3, 3)) for image in decoded] == [(10, 10, 10), (200, 200, 200)]
    for _, attributes in page.tags:
        assert not {"href", "srcset"} & attributes.keys()
    assert "url(" not in report.render()
    assert "@import" not in report.render()


def test_text_from_outside_is_escaped() -> None:
    report = Report("<script>alert(1)</script>")
    report.section("<b>bold</b>", "a & b")
    report.add_table(["<i>", "value"], [["<img src=x>", "1"]])
    report.add_details("settings", "</pre><script>")
    page = Page(report.render())
    assert page.named("script") == []
    assert page.named("img") == []
    assert "<script>alert(1)</script>" in page.text


def test_the_row_to_point_out_is_marked() -> None:
    report = Report("t")
    report.section("s")
    report.add_table(["model", "mIoU"], [["source", "31"], ["adapted", "38"]], highlight=1)
    assert [row.get("class") for row in Page(report.render()).named("tr")] == [None, None, "highlight"]


def test_charts_in_a_row_share_one_grid() -> None:
    report = Report("t")
    report.section("s")
    for _ in range(2):
        report.add_shares([0, 1], [[0.5, 0.5], [0.2, 0.8]], CLASSES, x_label="step")
    report.add_legend(CLASSES)
    report.add_shares([0, 1], [[0.5, 0.5], [0.2, 0.8]], CLASSES, x_label="step")
    page = Page(report.render())
    assert len([d for d in page.named("div") if d.get("class") == "charts"]) == 2
    assert len(page.named("svg")) == 3


def test_blocks_need_a_section_and_rows_need_their_cells() -> None:
    report = Report("t")
    with pytest.raises(ValueError, match=r"section\(\)"):
        report.add_figure(picture(0))
    report.section("s")
    with pytest.raises(ValueError, match="expected 2 cells"):
        report.add_table(["a", "b"], [["1"]])


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    report = Report("t")
    report.section("s")
    report.write(tmp_path / "new" / "report.html")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run's log: calibration, three steps, two snapshots, a last line cut off."""
    candidates = [
        {**curve, "entropy": 0.9, "nuclear_norm": 1.1, "batch_statistics": float("nan")}
        for curve in (
            {"curve": "as they are", "gamma": 1.0, "channels": [1, 1, 1], "information": 0.4, "agreement": 0.61},
            {"curve": "gamma 0.5", "gamma": 0.5, "channels": [1, 1, 1], "information": 0.6, "agreement": 0.72},
            {"curve": "balanced", "gamma": 1.0, "channels": [0.9, 1, 1], "information": 0.7, "agreement": 0.5},
        )
    ]
    chosen = {"criterion": "agreement", "chosen": 0.5, "curve": "gamma 0.5", "reason": "gamma 0.5: agreement 0.720"}
    events = [
        {"event": "calibration", **chosen, "candidates": candidates},
        *(
            {
                "event": "step",
                "step": i,
                "loss": 2.0 - i,
                "loss_self_training": 1.0,
                "loss_contrast": 0.5,
                "seconds": 0.5,
            }
            for i in range(3)
        ),
        {"event": "snapshot", "step": 1, "class_histogram": [0.7, 0.3], "mean_confidence": 0.8},
        {"event": "snapshot", "step": 2, "class_histogram": [0.6, 0.4], "mean_confidence": 0.9},
        {"event": "done", "seconds": 12.3},
    ]
    lines = [json.dumps(event) for event in events]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"event": "st', encoding="utf-8")
    (tmp_path / "config.yaml").write_text("method: stpl\nsteps: 3\n", encoding="utf-8")
    return tmp_path


def test_the_report_of_an_adaptation_says_what_was_chosen_and_why(run_folder: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    labels = np.zeros((24, 32), np.uint8)
    file = write_adaptation_report(run_folder, CLASSES, [Sample("dusk 000001", frame, labels, labels + 1)])
    page = Page(file.read_text(encoding="utf-8"))
    assert file == run_folder / "report.html"
    for words in (
        "Taken: gamma 0.5. Why: gamma 0.5: agreement 0.720",
        "information (decides)",
        "dusk 000001",
        "method: stpl",
        "12 s",
        "2.0",
    ):
        assert words in page.text
    rows = [row.get("class") for row in page.named("tr")]
    assert rows == [None, "highlight", None, None]  # the head, by gamma, the balanced one last
    assert len(page.named("img")) == 3
    assert len(page.named("svg")) == 7  # two of the calibration, three losses, confidence, classes


def test_a_run_without_stages_still_has_a_report(tmp_path: Path) -> None:
    file = write_adaptation_report(tmp_path, CLASSES)
    assert Page(file.read_text(encoding="utf-8")).named("svg") == []


def test_broken_lines_of_a_log_are_left_out(run_folder: Path) -> None:
    assert [event["event"] for event in read_events(run_folder / "metrics.jsonl")][-1] == "done"
