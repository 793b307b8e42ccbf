"""Everything that an adaptation depends on, but the source checkpoint and the video."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from stpl.config import Config
from stpl.errors import unknown_name
from stpl.method.augment import AugmentationConfig
from stpl.method.batch_norm import BatchNormConfig
from stpl.method.calibration import CalibrationConfig
from stpl.method.guard import GuardConfig
from stpl.method.objectives.hcl import HclConfig
from stpl.method.objectives.shot import ShotConfig
from stpl.method.objectives.stpl import ContrastConfig
from stpl.method.pseudo_labels import PseudoLabelConfig
from stpl.train.accel import AccelConfig

Method = Literal[
    "source", "bn", "tent", "shot", "self-training", "hcl", "tps",
    "duplicate", "temporal", "spatial", "spatial+temporal", "stpl",
]  # fmt: skip
METHODS: tuple[str, ...] = get_args(Method)
UNTRAINED = ("source", "bn")
"""Methods that take no training step: the source model as it is; calibration and batch-norm statistics alone."""


class AdaptConfig(Config):
    """The settings of one adaptation; every field can be set by YAML and ``key=value``."""

    method: Method = "stpl"
    steps: int = Field(100, ge=1)
    batch_size: int = Field(4, ge=1)
    """Frame pairs of one step, over all its parts and processes."""
    accumulate: int = Field(1, ge=1)
    """Parts that a process's share of the batch is computed in, one after another, for less memory. Each weighs the
    same, whatever share of its pixels has a label, and moves the running thresholds: close to the whole one's."""
    learning_rate: float = Field(4e-4, gt=0)
    warm_up: int = Field(50, ge=0)
    """Steps over which the rate rises to ``learning_rate``."""
    weight_decay: float = Field(0.0, ge=0)
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Of the teacher, a step; the teacher is what comes out."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """``auto``: the GPU where there is one."""
    precision: Literal["auto", "f32", "bf16", "fp16"] = "auto"
    """Of the networks' passes; weights and losses stay f32. ``auto``: bf16 on a GPU that has it, else f32. fp16 needs a
    GPU and scales the loss."""
    channels_last: bool = True
    """Whether networks and images are laid out with their channels last, as convolutions want them."""
    compile: bool = False
    """Whether the networks go through torch.compile."""
    workers: int = Field(2, ge=1)
    """Threads that decode, prepare and compute flow ahead of the steps."""
    flow_cache: str = "off"
    """Computed flow on disk: ``off``, ``auto`` (the user's cache folder) or a folder."""
    flow_cache_gigabytes: float = Field(20.0, gt=0)
    past: Literal["previous", "random"] = "previous"
    """``random`` is a control: any other frame of the video stands in for frame t-1, a new one at each step, with the
    flow computed between the two."""
    seed: int = Field(0, ge=0)
    snapshot_every: int = Field(25, ge=1)
    save_every: int = Field(50, ge=1)
    """Steps between resumable saves."""
    calibration: CalibrationConfig = CalibrationConfig()
    batch_norm: BatchNormConfig = BatchNormConfig()
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()
    contrast: ContrastConfig = ContrastConfig()
    shot: ShotConfig = ShotConfig()
    hcl: HclConfig = HclConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    guard: GuardConfig = GuardConfig()
    accel: AccelConfig = AccelConfig()

    @field_validator("method", mode="before")
    @classmethod
    def _known_method(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in METHODS:
            raise ValueError(str(unknown_name("method", value, METHODS)))
        return value
