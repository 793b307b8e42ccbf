"""The data sets of a benchmark, opened as the protocol uses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stpl.benchmark.protocol import Benchmark
from stpl.data.cityscapes_seq import CityscapesSeq
from stpl.data.synthia_seq import SynthiaSeq
from stpl.data.viper import Viper
from stpl.errors import UserError


@dataclass(frozen=True)
class DataRoots:
    """Where the data lies.

    Attributes:
        target: of Cityscapes-Seq.
        source: of VIPER or SYNTHIA-Seq; None where a source model is given.
        source_flow: stored flow of the source; computed where None, and so for the others.
        target_flow: of the target's train split.
        val_flow: of its val split.
    """

    target: Path
    source: Path | None = None
    source_flow: Path | None = None
    target_flow: Path | None = None
    val_flow: Path | None = None

    def open_source(self, benchmark: Benchmark, context: int) -> Viper | SynthiaSeq:
        """The labelled source. UserError where no root is given or it holds no labels."""
        if self.source is None:
            raise UserError("expected --source-root to train a source model on, or --source-model; found neither")
        if benchmark.source_format == "viper":
            return Viper(self.source, context=context, flow=self.source_flow)
        return SynthiaSeq(self.source, context=context, flow=self.source_flow)

    def open_target(self, benchmark: Benchmark, context: int, size: tuple[int, int]) -> CityscapesSeq:
        """The frames to adapt to, at the network's size; the labels decide which frames, and are not read."""
        classes = benchmark.target_classes
        return CityscapesSeq(self.target, "train", classes, size=size, context=context, flow=self.target_flow)

    def open_val(self, benchmark: Benchmark, context: int) -> CityscapesSeq:
        """The labelled frames to evaluate on, as stored."""
        return CityscapesSeq(self.target, "val", benchmark.target_classes, context=context, flow=self.val_flow)
