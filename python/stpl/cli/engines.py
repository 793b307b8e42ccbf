"""What ``stpl-adapt export --tensorrt`` says and shows: options, progress, the plans that are there afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from stpl.export.plan_facts import BuildSettings
    from stpl.export.tensorrt import Plan
    from stpl.export.tensorrt_library import TensorRT

PANEL = "TensorRT (with --tensorrt)"


def _option(name: str, metavar: str | None, help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, metavar=metavar, help=help_text, rich_help_panel=PANEL)
    return option


TensorRTOption = Annotated[bool, typer.Option("--tensorrt", help="Also build TensorRT plans, into the user's cache.")]
LibraryOption = Annotated[
    str | None, _option("--tensorrt-library", "tensorrt|tensorrt_rtx", "Which TensorRT; the one that is installed.")
]
BatchOption = Annotated[str, _option("--batch", "N|MIN,USUAL,MAX", "Frames in one run of a plan.")]
CapabilityOption = Annotated[
    str,
    _option("--compute-capability", "8.9,…", "GPUs to build for (tensorrt_rtx); every one from 8.0 on where absent."),
]
WorkspaceOption = Annotated[int | None, _option("--workspace", "MIB", "Limit of the layers' working memory.")]
LevelOption = Annotated[int | None, _option("--optimization-level", "0..5", "From a fast build to a fast plan.")]
TacticsOption = Annotated[int | None, _option("--max-tactics", "N", "Ways to run a layer that are timed, at most.")]
SourcesOption = Annotated[str | None, _option("--tactic-sources", "NAME,…", "Where these ways may come from.")]
Tf32Option = Annotated[bool, _option("--tf32/--no-tf32", None, "Let fp32 layers round their factors to 10 bits.")]
DlaOption = Annotated[
    int | None, _option("--dla-core", "N", "A Jetson's accelerator; what it cannot run, the GPU does.")
]
EmbedOption = Annotated[
    bool, _option("--embed-plan", None, "Also put the plans into the bundle; used only where its user trusts them.")
]
RebuildOption = Annotated[bool, _option("--rebuild", None, "Build also the plans that are in the cache.")]


@dataclass(frozen=True)
class EngineOptions:
    """The options of the panel, as they were given."""

    library: str | None
    batch: str
    compute_capability: str
    workspace: int | None
    optimization_level: int | None
    max_tactics: int | None
    tactic_sources: str | None
    tf32: bool
    dla_core: int | None
    embed: bool
    rebuild: bool

    def open(self) -> tuple[TensorRT, BuildSettings]:
        """TensorRT and what it shall do. UserError for what cannot be, before anything is written."""
        from pydantic import ValidationError

        from stpl.export.plan_facts import BuildSettings
        from stpl.export.tensorrt import check_settings, target_of
        from stpl.export.tensorrt_library import load_tensorrt

        try:
            settings = BuildSettings(
                batches=parse_batches(self.batch),
                compute_capabilities=_words(self.compute_capability),
                workspace_mib=self.workspace,
                optimization_level=self.optimization_level,
                max_tactics=self.max_tactics,
                tactic_sources=None if self.tactic_sources is None else _words(self.tactic_sources),
                tf32=self.tf32,
                dla_core=self.dla_core,
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{first['loc'][0]}: {first['msg']}; found {first['input']}") from None
        library = load_tensorrt(self.library)
        check_settings(library, settings)
        target_of(library, settings)
        return library, settings


def parse_batches(text: str) -> tuple[int, int, int]:
    """Smallest, usual and largest batch of ``N`` or ``MIN,USUAL,MAX``. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d{1,4})(?:,(\d{1,4}),(\d{1,4}))?", text.replace(" ", ""))
    numbers = [] if match is None else [int(number) for number in match.groups(match[1])]
    if not numbers or numbers != sorted(numbers) or numbers[0] < 1:
        raise UserError(f"--batch: expected N or MIN,USUAL,MAX, such as 1,4,8; found '{text}'")
    return numbers[0], numbers[1], numbers[2]


def build_for(bundle: Path, options: EngineOptions, console: Console) -> list[Plan]:
    """Builds the plans of a bundle, or finds them, and says which; puts them into the bundle where asked to."""
    from stpl.export.embedding import embed_plans
    from stpl.export.tensorrt import build_plans

    library, settings = options.open()
    with BuildBars(console) as bars:
        plans = build_plans(bundle, library, settings, rebuild=options.rebuild, progress=bars)
    show_plans(plans, library, console)
    if options.embed:
        embed_plans(bundle, plans)
        console.print(
            f"{bundle}: plans put in; the runtime uses them with trust_engines", highlight=False, markup=False
        )
    return plans


def show_plans(plans: Sequence[Plan], library: TensorRT, console: Console) -> None:
    """One line a network: what it runs on, whether it was built, how large it is, where it lies."""
    for plan in plans:
        how = "found in the cache" if not plan.built else "built" if plan.reason is None else f"built ({plan.reason})"
        size = plan.file.stat().st_size / 1e6
        console.print(
            f"{plan.network}: {plan.identity.precision} for {plan.identity.target}, {library}, {size:.1f} MB, {how}\n"
            f"  {plan.file}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


class BuildBars:
    """Progress bars of a build: the phases that TensorRT is in, outermost first. A context manager."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
        )
        self._tasks: dict[str, TaskID] = {}

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        depth = 0 if parent is None else 1
        self._tasks[phase] = self._progress.add_task("  " * depth + phase, total=steps)

    def step(self, phase: str, step: int) -> None:
        if phase in self._tasks:
            self._progress.update(self._tasks[phase], completed=step + 1)

    def finish(self, phase: str) -> None:
        if phase in self._tasks:
            self._progress.remove_task(self._tasks.pop(phase))

    def __enter__(self) -> BuildBars:
        self._progress.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._progress.stop()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)
