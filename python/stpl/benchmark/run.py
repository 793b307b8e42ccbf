"""A benchmark from data to table: source training, adaptations, published evaluation. What is finished stays."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stpl import __version__
from stpl.benchmark.config import BenchmarkConfig
from stpl.benchmark.data_roots import DataRoots
from stpl.benchmark.evaluation import at_size, evaluate_published
from stpl.benchmark.files import flow_digest, labels_digest
from stpl.benchmark.parts import Part, write_json
from stpl.benchmark.protocol import BENCHMARKS, Benchmark
from stpl.errors import UserError
from stpl.train.adapt import adapt
from stpl.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stpl.train.config import Method
from stpl.train.pair_source import require_start, train_pair_source
from stpl.train.run import data_identity
from stpl.train.source import train_source

logger = logging.getLogger(__name__)

SCORES_FILE = "scores.json"
LAST_FILE, BEST_FILE = "last.safetensors", "best_on_val.safetensors"
"""Snapshots beside the checkpoint that a run puts out, told apart as in the table."""
RESULTS_FILE = "results.json"

Score = dict[str, Any]
"""As :meth:`stpl.benchmark.evaluation.PublishedScore.to_dict` gives it."""


@dataclass(frozen=True)
class RunScore:
    """What one run scored on the val split.

    Attributes:
        seed: None for the source model.
        selected: the checkpoint that the run put out, chosen without labels.
        last: the snapshot of the last step.
        best: the best of the snapshots and what the run put out. The val labels find it, so that it decides nothing
            and is shown apart; the released baselines report this number.
        best_step: when that was; None where it is no snapshot: the run took none, or put out what it started from.
    """

    method: str
    seed: int | None
    selected: Score
    last: Score
    best: Score
    best_step: int | None = None


class BenchmarkRun:
    """One benchmark in one folder. Data and source model are checked before anything is trained.

    Args:
        config: the recipe.
        roots: of the data.
        out: the folder; a part of it that is finished is not made again.
        source_model: what to start from; trained where None.
        overwrite: make parts again that were made with other settings.

    Raises:
        UserError: missing data, a source model of other classes, or nothing to start its training from.
    """

    def __init__(
        self,
        config: BenchmarkConfig,
        roots: DataRoots,
        out: Path,
        *,
        source_model: Checkpoint | None = None,
        overwrite: bool = False,
    ) -> None:
        self.config = config
        self.benchmark = BENCHMARKS[config.benchmark]
        self.out = out
        self._overwrite = overwrite
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("expected one process for a benchmark; found several: adapt with accelerate, then score")
        self._given = source_model
        if self._given is not None:
            _require_classes(self._given, self.benchmark)
        elif config.pair_source is not None:
            require_start(config.pair_source)
        size = (config.evaluation.height, config.evaluation.width)
        self._roots = roots
        self._source = roots.open_source(self.benchmark, config.context) if self._given is None else None
        self._target = roots.open_target(self.benchmark, config.context, size)
        self._val = roots.open_val(self.benchmark, config.context)
        self.frames = len(self._val.labelled())
        if self.frames != self.benchmark.frames:
            logger.warning(
                "%d of the val split's %d labelled frames are there: the result is not comparable to published ones",
                *(self.frames, self.benchmark.frames),
            )

    def __call__(self) -> list[RunScore]:
        """Makes what is missing, writes `results.json` and returns the scores: the source model's, then the methods'.

        Raises:
            UserError: parts made with other settings.
            KeyboardInterrupt: after Ctrl-C, with the state saved; the same again goes on.
        """
        source = self._given if self._given is not None else self._trained_source()
        source = replace(source, input=at_size(source.input, self.config.evaluation))
        scores = [self._scored_source(source)]
        scores += [self._adapted(source, method, seed) for method in self.config.methods for seed in self.config.seeds]
        results = {
            "benchmark": self.benchmark.name,
            "labelled_frames": self.frames,
            "source_model": {"digest": source.digest, "provenance": source.provenance},
            "config": self.config.model_dump(mode="json"),
            "runs": [vars(score) for score in scores],
            "published": [vars(result) for result in self.benchmark.published],
        }
        write_json(self.out / RESULTS_FILE, results)
        return scores

    def _trained_source(self) -> Checkpoint:
        assert self._source is not None
        pairs = self.config.pair_source
        settings = self.config.source if pairs is None else pairs
        key = {
            "source": settings.model_dump(mode="json"),
            "source data": data_identity(self._source),
            "source labels": labels_digest(self._source, self._source.root),
            # Frame by frame no flow is used.
            "source flow": None if pairs is None else flow_digest(self._source, self._roots.source_flow),
        }
        part = self._part("source", key)
        if not part.finished:
            with part.making() as resume:
                if pairs is not None:
                    train_pair_source(pairs, self._source, part.folder, resume=resume)
                else:
                    train_source(self.config.source, self._source, part.folder, resume=resume)
        return load_checkpoint(part.folder)

    def _scored_source(self, source: Checkpoint) -> RunScore:
        part = self._part("source-score", {"source model": source.digest, **self._evaluation_key()})
        if not part.finished:
            with part.making():
                write_json(part.folder / SCORES_FILE, self._score(source, "source only"))
        score = json.loads((part.folder / SCORES_FILE).read_text(encoding="utf-8"))
        return RunScore("source only", None, score, score, score)

    def _adapted(self, source: Checkpoint, method: Method, seed: int) -> RunScore:
        settings = self.config.adaptation(method, seed)
        key = {
            "adapt": settings.model_dump(mode="json"),
            "source model": source.digest,
            "target": data_identity(self._target),
            "target flow": flow_digest(self._target, self._roots.target_flow),
            **self._evaluation_key(),
        }
        part = self._part(f"{method}-{seed}", key)
        file = part.folder / SCORES_FILE
        if not part.finished:
            with part.making() as resume:
                scores = _SnapshotScores(file, lambda checkpoint: self._score(checkpoint, f"{method}, seed {seed}"))
                if not resume:
                    scores.forget()
                selected = adapt(settings, source, self._target, part.folder, resume=resume, on_snapshot=scores)
                scores.add_selected(selected)
        return _run_score(method, seed, json.loads(file.read_text(encoding="utf-8")))

    def _score(self, checkpoint: Checkpoint, title: str) -> Score:
        logger.info("scoring %s on %d labelled frames", title, self.frames)
        score = evaluate_published(
            checkpoint,
            self._val,
            self.config.evaluation,
            unscored=self.benchmark.unscored,
            device=self.config.adapt.device,
        )
        logger.info("%s: mIoU %.1f %% on the val split", title, 100 * score.miou)
        return score.to_dict()

    def _part(self, name: str, key: dict[str, Any]) -> Part:
        key = {"version": __version__, "benchmark": self.benchmark.name, **key}
        return Part(self.out / name, key, overwrite=self._overwrite)

    def _evaluation_key(self) -> dict[str, Any]:
        return {
            "evaluation": self.config.evaluation.model_dump(mode="json"),
            "val": f"{data_identity(self._val)}, {self.frames} labelled",
            "val labels": labels_digest(self._val, self._val.root),
            "val flow": flow_digest(self._val, self._roots.val_flow),
        }


class _SnapshotScores:
    """Scores snapshots as they come, each once, and keeps the scores in a file, with the last snapshot and the best
    one beside it.

    Nothing of it goes back into the run: the val labels choose nothing.
    """

    def __init__(self, file: Path, score: Callable[[Checkpoint], Score]) -> None:
        self._file = file
        self._score = score
        self._record: dict[str, Any] = {"selected": None, "snapshots": {}}
        if file.is_file():  # of the part of this run before it was interrupted
            self._record = json.loads(file.read_text(encoding="utf-8"))

    def forget(self) -> None:
        """Starts anew: what is in the file belongs to a run that is being replaced."""
        self._record = {"selected": None, "snapshots": {}}
        self._file.unlink(missing_ok=True)

    def __call__(self, step: int, checkpoint: Checkpoint) -> None:
        known = [score["miou"] for score in self._record["snapshots"].values()]
        score = self._scored(checkpoint)
        save_checkpoint(checkpoint, self._file.with_name(LAST_FILE))
        if score["miou"] > max(known, default=-1.0):
            save_checkpoint(checkpoint, self._file.with_name(BEST_FILE))
        self._record["snapshots"][str(step)] = score
        write_json(self._file, self._record)

    def add_selected(self, checkpoint: Checkpoint) -> None:
        """The checkpoint that the run put out; often one of the snapshots."""
        self._record["selected"] = self._scored(checkpoint)
        write_json(self._file, self._record)

    def _scored(self, checkpoint: Checkpoint) -> Score:
        digest = checkpoint.digest
        for known in self._record["snapshots"].values():
            if known["digest"] == digest:
                return dict(known)
        return {"digest": digest, **self._score(checkpoint)}


def _run_score(method: str, seed: int, record: dict[str, Any]) -> RunScore:
    selected: Score = record["selected"]
    by_step = {int(step): score for step, score in record["snapshots"].items()}
    if not by_step:
        return RunScore(method, seed, selected, selected, selected)
    last = by_step[max(by_step)]
    best = max(sorted(by_step), key=lambda step: by_step[step]["miou"])
    if by_step[best]["miou"] >= selected["miou"]:
        return RunScore(method, seed, selected, last, by_step[best], best)
    return RunScore(method, seed, selected, last, selected)  # what training started from, which is no snapshot


def _require_classes(checkpoint: Checkpoint, benchmark: Benchmark) -> None:
    if checkpoint.classes.names != benchmark.classes.names:
        raise UserError(
            f"{checkpoint.origin}: expected the classes of {benchmark.name} ({', '.join(benchmark.classes.names)}); "
            f"found ({', '.join(checkpoint.classes.names)})"
        )
