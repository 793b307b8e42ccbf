"""Runs: what a benchmark computes, each with a key of all that its result depends on.

A run's key holds its settings, the source model, the video and the code that it executes (see `code_digest`); its
result is one JSON file in a folder named by the key. A table asks for its runs; what is there is used, what is not is
run. A changed line of code gives new keys to the runs that execute it, and to no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

from code_digest import ROOT, CodeIndex, Symbol, digest_of_files
from torch import nn
from videos import SOURCES, Domain, content_digest, open_camvid_day, video_identity

from stpl.config import Config, load_config
from stpl.errors import UserError
from stpl.models.registry import build_model
from stpl.train.checkpoint import FILE_NAME, Checkpoint, load_checkpoint
from stpl.train.config import UNTRAINED, AdaptConfig
from stpl.train.objectives import build_objective
from stpl.train.source import SourceConfig

RESULT_FILE = "result.json"
JOB_FILE = "job.json"
FACTORIES = ("stpl.models", "stpl.method.objectives", "stpl.train.objectives")
"""They can build every network and objective; a run depends on the one that they build for it."""
GUARD = ("stpl.method.guard", "stpl.train.guarding")
ACCEL = "stpl.train.accel"
DUMPED = "stpl.train.config"
"""Its settings are in the key by their values."""
CAMVID_RECIPE = ROOT / "models" / "camvid-day.yaml"


@dataclass(frozen=True)
class Adaptation:
    """One adaptation to a domain; ``overrides`` are of :class:`AdaptConfig`."""

    kind: ClassVar[str] = "adaptation"
    domain: Domain
    overrides: tuple[str, ...] = ()
    seed: int = 0

    @cached_property
    def config(self) -> AdaptConfig:
        """Raises UserError where the package knows no such setting or method."""
        return load_config(AdaptConfig, None, [*self.overrides, f"seed={self.seed}"])

    @property
    def label(self) -> str:
        return f"{self.domain.name}-{self.config.method}-{self.seed}"

    @property
    def steps(self) -> int:
        return 0 if self.config.method in UNTRAINED else self.config.steps


@dataclass(frozen=True)
class FineTuning:
    """The oracle: trained on the labels of one half of the frames and scored on the other, and the reverse.

    Both start where the adaptations start to train: at the source model with calibrated input and the target's
    batch-norm statistics. ``overrides`` are of :class:`SourceConfig`.
    """

    kind: ClassVar[str] = "fine-tuning"
    domain: Domain
    overrides: tuple[str, ...] = ()
    seed: int = 0

    @cached_property
    def config(self) -> SourceConfig:
        return load_config(SourceConfig, None, [*self.overrides, f"seed={self.seed}"])

    @property
    def start(self) -> Adaptation:
        """What gives the checkpoint to start from."""
        return Adaptation(self.domain, ("method=bn", "guard.mode=off"))

    @property
    def label(self) -> str:
        return f"{self.domain.name}-oracle-{self.seed}"

    @property
    def steps(self) -> int:
        return 2 * self.config.steps


@dataclass(frozen=True)
class SourceTraining:
    """The CamVid source model, by its recipe."""

    kind: ClassVar[str] = "source"
    seed: int = 0

    @cached_property
    def config(self) -> SourceConfig:
        return load_config(SourceConfig, CAMVID_RECIPE)

    label: ClassVar[str] = "camvid-day-source"

    @property
    def steps(self) -> int:
        return self.config.steps


Run = Adaptation | FineTuning | SourceTraining


class Bench:
    """Where runs are kept, and what they need: the data and the source models.

    Args:
        out: the runs' folder.
        camvid: folder of the CamVid clips; None where not at hand.
        sources: source checkpoints by name, in place of the usual ones.
        root: the project's code that runs execute and keys are taken of: a frozen copy, or the project itself.
    """

    def __init__(
        self,
        out: Path,
        camvid: Path | None = None,
        sources: dict[str, Path] | None = None,
        root: Path = ROOT,
    ) -> None:
        self.out = out
        self.camvid = camvid
        self.root = root
        self.code = CodeIndex(root / "python")
        self._cpp = digest_of_files(root)
        self._given = dict(sources or {})
        self._identity = lru_cache(maxsize=None)(self._find_identity)
        self._source = lru_cache(maxsize=None)(self._load_source)
        self._executed = lru_cache(maxsize=None)(self._find_executed)
        self._folders: dict[Run, Path] = {}

    def folder(self, run: Run) -> Path:
        """The run's own. UserError where data, source model or setting are not at hand."""
        if run not in self._folders:
            digest = hashlib.sha256(json.dumps(self.key(run), sort_keys=True).encode()).hexdigest()
            self._folders[run] = self.out / f"{run.label}-{digest[:16]}"
        return self._folders[run]

    def result(self, run: Run) -> dict[str, Any] | None:
        """What an earlier sitting found, or None."""
        file = self.folder(run) / RESULT_FILE
        if not file.is_file():
            return None
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return stored if stored["key"] == self.key(run) else None

    def key(self, run: Run) -> dict[str, Any]:
        """Everything that the run's result depends on, as JSON."""
        if isinstance(run, SourceTraining):
            reached = self.code.reached([("stpl.train.source", "train_source"), *_classes(run.config.model)], FACTORIES)
            return {
                "kind": run.kind,
                "config": json.loads(run.config.model_dump_json(exclude=set(NEUTRAL))),
                "data": self._identity(None),
                "code": self.code.digest(reached),
            }
        source = self.source(run.domain)
        adapted = run if isinstance(run, Adaptation) else run.start
        key = {
            "kind": run.kind,
            "source": source.digest,
            "data": self._identity(run.domain),
            "cpp": self._cpp,
            **self._executed(adapted.config, source.arch),
        }
        if isinstance(run, FineTuning):
            reached = self.code.reached([("stpl.train.source", "train_source")], FACTORIES)
            key["fine-tuning"] = json.loads(run.config.model_dump_json(exclude={*NEUTRAL, "model", "input"}))
            key["fine-tuning code"] = self.code.digest(reached)
        return key

    def source(self, domain: Domain) -> Checkpoint:
        """The domain's source model. UserError where it has yet to be trained."""
        return self._source(self.source_path(domain))

    def source_path(self, domain: Domain) -> Path:
        if domain.source in self._given:
            return self._given[domain.source]
        shipped = SOURCES[domain.source]
        return ROOT / shipped if shipped is not None else self.folder(SourceTraining())

    def trains_source(self, domain: Domain) -> bool:
        """Whether the domain's source model is one that a run trains, and is not there yet."""
        own = domain.source not in self._given and SOURCES[domain.source] is None
        return own and not (self.folder(SourceTraining()) / RESULT_FILE).is_file()

    def job(self, run: Run) -> dict[str, Any]:
        """What a worker needs to execute the run."""
        job: dict[str, Any] = {"kind": run.kind, "key": self.key(run), "label": run.label, "seed": run.seed}
        job["camvid"] = None if self.camvid is None else str(self.camvid.resolve())
        if not isinstance(run, SourceTraining):
            job |= {"domain": asdict(run.domain), "overrides": list(run.overrides)}
            job["source"] = str(self.source_path(run.domain).resolve())
        return job

    @staticmethod
    def of_job(job: dict[str, Any], out: Path) -> tuple[Bench, Run]:
        """The other way: what a worker was given. Keys are found anew, from the code as it is now."""
        camvid = None if job["camvid"] is None else Path(job["camvid"])
        if job["kind"] == SourceTraining.kind:
            return Bench(out, camvid), SourceTraining()
        domain, overrides = Domain(**job["domain"]), tuple(job["overrides"])
        kind = Adaptation if job["kind"] == Adaptation.kind else FineTuning
        return Bench(out, camvid, {domain.source: Path(job["source"])}), kind(domain, overrides, job["seed"])

    def _load_source(self, path: Path) -> Checkpoint:
        if not (path / FILE_NAME).is_file() and not path.is_file():
            raise UserError(f"{path}: expected the source model; it has yet to be trained")
        return load_checkpoint(path)

    def _find_identity(self, domain: Domain | None) -> str:
        if domain is None:
            return content_digest(open_camvid_day(self.camvid))
        return video_identity(domain, self.camvid, self.code)

    def _find_executed(self, config: AdaptConfig, arch: str) -> dict[str, Any]:
        """Settings and code that an adaptation with this configuration uses."""
        stop = [*FACTORIES, DUMPED]
        if config.guard.mode == "off":
            stop += GUARD
        if not config.accel.enabled:
            stop.append(ACCEL)
        model = build_model(arch, 2)
        roots: list[Symbol] = [
            ("stpl.train.adapt", "adapt"),
            ("stpl.evaluate", "Predictor"),
            ("stpl.metrics", "ConfusionMatrix"),
            *_classes_of(model),
        ]
        built: Any = None
        if config.method in UNTRAINED:
            stop.append("stpl.train.training")
        else:
            objective = build_objective(config, model, (64, 64))
            roots += _classes_of(objective)
            built = _described(objective)
        reached = self.code.reached(roots, stop)
        return {
            "config": _settings(config, {name for _, name in reached} | self.code.attributes(reached)),
            "code": self.code.digest(reached),
            "objective": built,
        }


NEUTRAL = frozenset(("save_every", "workers", "flow_cache", "flow_cache_gigabytes"))
"""Settings that change how a run is executed, not what comes out."""
TRAINING_ALONE = frozenset(
    {"steps", "batch_size", "accumulate", "learning_rate", "warm_up", "weight_decay", "ema_decay", "precision"}
    | {"compile", "past", "snapshot_every"}
)
"""Settings that runs without training do not use."""


def _settings(config: AdaptConfig, mentioned: set[str]) -> dict[str, Any]:
    """The settings in use: sections that no executed code mentions, by their class or by their name, are left out."""
    dump: dict[str, Any] = json.loads(config.model_dump_json())
    for name in type(config).model_fields:
        section = getattr(config, name)
        unused = isinstance(section, Config) and not {type(section).__name__, name} & mentioned
        if unused or name in NEUTRAL or (config.method in UNTRAINED and name in TRAINING_ALONE):
            dump.pop(name, None)
    if config.guard.mode == "off":
        dump["guard"] = "off"
    if not config.accel.enabled:
        dump.pop("accel", None)
    return dump


def _classes(arch: str) -> list[Symbol]:
    return _classes_of(build_model(arch, 2))


def _classes_of(module: nn.Module) -> list[Symbol]:
    """The classes of ours that a module and what it holds are made of."""
    parts = [*module.modules(), *(value for part in module.modules() for value in vars(part).values())]
    classes = {type(part) for part in parts if type(part).__module__.split(".")[0] == "stpl"}
    return sorted((cls.__module__, cls.__qualname__) for cls in classes)


def _described(objective: nn.Module) -> list[list[Any]]:
    """How an objective was put together: its parts by name, with their plain settings."""
    return [[name, type(part).__name__, dict(_plain(part))] for name, part in objective.named_modules()]


def _plain(part: nn.Module) -> Iterator[tuple[str, Any]]:
    for key, value in sorted(vars(part).items()):
        if isinstance(value, (bool, int, float, str)) and not key.startswith("_"):
            yield key, value
