"""A report: tables, charts and pictures, rendered into one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stpl.data.classes import ClassSet
from stpl.data.dataset import Image
from stpl.report.curves import SERIES_STYLES, Series, hex_color, line_chart, share_chart
from stpl.report.pictures import data_uri

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class LegendEntry:
    """A name beside its colour (a ``#rrggbb``) or its line style (a number)."""

    name: str
    color: str = ""
    style: int = 0


@dataclass
class _Section:
    title: str
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)


class Report:
    """Collects sections and writes them.

        report = Report("Adaptation", "stpl on dusk")
        report.section("Result", "Held-out frames of the target video.")
        report.add_table(["model", "mIoU"], [["source", "31.2"], ["adapted", "37.9"]], highlight=1)
        report.write(Path("report.html"))

    All text is escaped. Blocks go into the section opened last.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._facts: list[tuple[str, str]] = []
        self._sections: list[_Section] = []

    def add_fact(self, name: str, value: str) -> None:
        """One of the few numbers at the top of the page."""
        self._facts.append((name, value))

    def section(self, title: str, text: str = "") -> None:
        """Opens a section with a line or two on what it shows."""
        self._sections.append(_Section(title, text))

    def add_notice(self, text: str, *, warning: bool = False) -> None:
        """A sentence that must not be overlooked."""
        self._add("notice", text=text, warning=warning)

    def add_table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        caption: str = "",
        highlight: int | None = None,
        words: Sequence[int] = (),
    ) -> None:
        """A table; all columns but the first, and those in ``words``, are numbers.

        ``highlight`` is the index of the row to point out.

        Raises:
            ValueError: a row that does not fit the columns.
        """
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"table: expected {len(columns)} cells in each row, found {len(row)}: {list(row)}")
        cells = [list(row) for row in rows]
        self._add("table", columns=list(columns), rows=cells, caption=caption, highlight=highlight, words=set(words))

    def add_curves(
        self,
        series: Sequence[Series],
        *,
        x_label: str,
        y_label: str,
        caption: str = "",
        smooth: float = 0.0,
        markers: bool = False,
        marked_x: float | None = None,
        floor: float | None = None,
        hollow_x: Sequence[float] = (),
    ) -> None:
        """A line chart with its legend; see :func:`stpl.report.curves.line_chart`."""
        svg = line_chart(
            series,
            x_label=x_label,
            y_label=y_label,
            smooth=smooth,
            markers=markers,
            marked_x=marked_x,
            floor=floor,
            hollow_x=hollow_x,
        )
        legend = [LegendEntry(line.name, style=number % SERIES_STYLES) for number, line in enumerate(series)]
        self._add("chart", svg=Markup(svg), caption=caption, legend=legend if len(series) > 1 else [])

    def add_shares(
        self,
        x: Sequence[float],
        shares: Sequence[Sequence[float]],
        classes: ClassSet,
        *,
        x_label: str,
        caption: str = "",
    ) -> None:
        """Shares of the classes over time; see :func:`stpl.report.curves.share_chart`."""
        svg = share_chart(x, shares, classes, x_label=x_label)
        self._add("chart", svg=Markup(svg), caption=caption, legend=_class_legend(classes))

    def add_figure(self, picture: Image, caption: str = "", *, kind: str = "jpeg") -> None:
        """A picture, (H, W, 3) uint8 RGB, stored in the page as ``kind`` ("jpeg" or "png")."""
        self.add_figures([(caption, picture)], kind=kind)

    def add_figures(self, figures: Sequence[tuple[str, Image]], *, kind: str = "jpeg") -> None:
        """Captioned pictures in one row; below each other on a narrow screen."""
        self._add("figures", figures=[(caption, data_uri(picture, kind)) for caption, picture in figures])

    def add_legend(self, classes: ClassSet) -> None:
        """The colours of the classes."""
        self._add("legend", legend=_class_legend(classes))

    def add_details(self, summary: str, text: str) -> None:
        """Preformatted text that opens on a click, such as the settings of a run."""
        self._add("details", summary=summary, text=text)

    def render(self) -> str:
        """The page."""
        template = _TEMPLATES.get_template("page.html.j2")
        return template.render(
            title=self.title, subtitle=self.subtitle, facts=self._facts, sections=self._sections, styles=SERIES_STYLES
        )

    def write(self, path: Path) -> None:
        """Writes the page under a temporary name, then gives it its own."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            unfinished.write_text(self.render(), encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _add(self, kind: str, **content: Any) -> None:
        if not self._sections:
            raise ValueError(f"report: expected section() before the first {kind}")
        self._sections[-1].blocks.append({"kind": kind, **content})


def _class_legend(classes: ClassSet) -> list[LegendEntry]:
    return [
        LegendEntry(name, color=hex_color(color)) for name, color in zip(classes.names, classes.colors, strict=True)
    ]
