"""The two published benchmarks, and what others reported on them.

Sources of the numbers: T, the results listed with the released code of TPS (Xing et al., ECCV 2022); P, the poster of
STPL (Lo et al., CVPR 2023); U, the results listed with the released code of UDASS, which collects later methods; O,
a public collection of papers' results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stpl.data.benchmark_classes import SYNTHIA, VIPER
from stpl.data.classes import ClassSet

BenchmarkName = Literal["viper-to-cityscapes", "synthia-to-cityscapes"]


@dataclass(frozen=True)
class PublishedResult:
    """mIoU in percent that somebody reported.

    Attributes:
        setting: what was used of the source data while adapting: `UDA` it and its labels, `SF` (source-free) none of
            it; `image` or `video` method.
        source: of the number, by the letters above.
    """

    method: str
    setting: str
    miou: float
    source: str


@dataclass(frozen=True)
class Benchmark:
    """One direction of adaptation to Cityscapes-Seq.

    Attributes:
        source_format: of the data spec of the source.
        target_classes: class list of the target.
        unscored: trained, and removed from the IoU after the argmax over all classes.
        frames: labelled frames of the target's val split.
    """

    name: BenchmarkName
    title: str
    source_format: str
    target_classes: str
    classes: ClassSet
    unscored: tuple[str, ...]
    published: tuple[PublishedResult, ...]
    frames: int = 500


def _results(*rows: tuple[str, str, float, str]) -> tuple[PublishedResult, ...]:
    return tuple(PublishedResult(*row) for row in rows)


BENCHMARKS: dict[str, Benchmark] = {
    "viper-to-cityscapes": Benchmark(
        name="viper-to-cityscapes",
        title="VIPER → Cityscapes-Seq",
        source_format="viper",
        target_classes="viper",
        classes=VIPER.class_set(),
        unscored=(),
        published=_results(
            ("source only", "–", 37.1, "T, P"),
            ("FDA", "UDA image", 44.4, "P"),
            ("RDA", "UDA image", 44.4, "P"),
            ("PixMatch", "UDA image", 46.7, "T, P"),
            ("DA-VSN", "UDA video", 47.8, "T, P"),
            ("VAT-VST", "UDA video", 48.7, "P"),
            ("TPS", "UDA video", 48.9, "T, P"),
            ("MoDA", "UDA video", 49.1, "U"),
            ("SFC", "UDA video", 51.1, "U"),
            ("TPL-SFC", "UDA video", 51.7, "U"),
            ("I2VDA", "UDA video", 51.2, "U"),
            ("PAT", "UDA video", 53.0, "U"),
            ("CMOM", "UDA video", 53.8, "U"),
            ("QuadMix (CNN)", "UDA video", 56.2, "U"),
            ("QuadMix (ViT)", "UDA video", 58.2, "U"),
            ("UR", "SF image", 45.0, "P"),
            ("HCL", "SF image", 41.5, "P"),
            ("DA-VSN, source-free", "SF video", 45.3, "P"),
            ("VAT-VST, source-free", "SF video", 43.6, "P"),
            ("TPS, source-free", "SF video", 27.8, "P"),
            ("STPL: self-training", "SF video", 45.4, "P"),
            ("STPL: duplicate contrast", "SF video", 45.7, "P"),
            ("STPL: temporal contrast", "SF video", 47.4, "P"),
            ("STPL: spatial contrast", "SF video", 51.1, "P"),
            ("STPL: spatial + temporal", "SF video", 51.4, "P"),
            ("STPL", "SF video", 52.5, "P"),
            ("oracle", "target labels", 69.9, "P"),
        ),
    ),
    "synthia-to-cityscapes": Benchmark(
        name="synthia-to-cityscapes",
        title="SYNTHIA-Seq → Cityscapes-Seq",
        source_format="synthia-seq",
        target_classes="synthia",
        classes=SYNTHIA.class_set(),
        unscored=("fence",),
        published=_results(
            ("source only", "–", 38.3, "T, P"),
            ("PixMatch", "UDA image", 51.0, "T, P"),
            ("DA-VSN", "UDA video", 49.5, "T, P"),
            ("TPS", "UDA video", 53.8, "T, P"),
            ("SFC", "UDA video", 52.5, "U"),
            ("TPL-SFC", "UDA video", 55.3, "U"),
            ("I2VDA", "UDA video", 53.0, "U"),
            ("PAT", "UDA video", 54.9, "U"),
            ("CMOM", "UDA video", 56.3, "U"),
            ("QuadMix (CNN)", "UDA video", 61.5, "U"),
            ("QuadMix (ViT)", "UDA video", 67.2, "U"),
            ("STPL", "SF video", 51.8, "O"),
        ),
    ),
}
