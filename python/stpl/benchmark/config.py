"""Recipe of a benchmark: what is trained, how it is adapted and how often."""

from __future__ import annotations

from pydantic import Field, field_validator

from stpl.benchmark.evaluation import EvaluationConfig
from stpl.benchmark.protocol import BenchmarkName
from stpl.config import Config
from stpl.train.config import AdaptConfig, Method
from stpl.train.pair_source import PairSourceConfig
from stpl.train.source import SourceConfig


class BenchmarkConfig(Config):
    """Everything that a benchmark's table depends on, but the data."""

    benchmark: BenchmarkName
    methods: tuple[Method, ...] = ("bn", "self-training", "stpl")
    """To adapt by, each for every seed; the source model is always scored beside them."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    context: int = Field(1, ge=1)
    """Frames taken before each labelled one; each frame with one before it is adapted to."""
    source: SourceConfig = SourceConfig()
    pair_source: PairSourceConfig | None = None
    """The benchmarks' own source training, on pairs of frames, in place of ``source``."""
    adapt: AdaptConfig = AdaptConfig()
    """For every method and seed; its own ``method`` and ``seed`` are replaced."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Its size is also that of the frames that are adapted to."""

    @field_validator("methods", "seeds")
    @classmethod
    def _once_each(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(value)) < len(value):
            raise ValueError("expected each one once")
        return value

    def adaptation(self, method: Method, seed: int) -> AdaptConfig:
        """The settings of one run."""
        return self.adapt.model_copy(update={"method": method, "seed": seed})
