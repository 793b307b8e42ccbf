"""The networks of a bundle in lower precision: what is asked for, and how it came out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

import stpl_rt
from stpl.export.calibration_frames import FramePair, NetworkInputs
from stpl.export.int8 import Calibration
from stpl.export.mixed_precision import Lowered, lower
from stpl.export.network_precision import Precision
from stpl.export.onnx import ExportedNetwork

MAX_LOSS: dict[Precision, float] = {"fp32": 0.0, "fp16": 0.005, "bf16": 0.01, "int8": 0.02}
"""Share of the labels that may change, where nobody says otherwise."""


@dataclass(frozen=True)
class Lowering:
    """How networks are to be lowered.

    Attributes:
        precision: of the layers.
        frames: of the user's own video, that ranges, overflow and loss are measured on; with their predecessors.
        max_loss: share of the labels, 0 to 1, that may change on them; :data:`MAX_LOSS` where None.
        calibration: how int8's ranges are found.
        source: what the frames are, for the manifest.
    """

    precision: Precision
    frames: Sequence[FramePair]
    max_loss: float | None = None
    calibration: Calibration = "percentile"
    source: str = ""

    @property
    def allowed(self) -> float:
        """The share of the labels that may change."""
        return MAX_LOSS[self.precision] if self.max_loss is None else self.max_loss

    def provenance(self, lowered: dict[str, Lowered]) -> dict[str, Any]:
        """For the manifest."""
        return {
            "calibration_data": self.source,
            "calibration_frames": len(self.frames),
            "calibration": self.calibration if self.precision == "int8" else None,
            "max_loss": self.allowed,
            "networks": {name: network.to_dict() for name, network in lowered.items()},
        }


def lower_networks(
    networks: dict[str, ExportedNetwork], lowering: Lowering, spec: stpl_rt.InputSpec, *, align_corners: bool
) -> tuple[dict[str, ExportedNetwork], dict[str, Lowered]]:
    """Replaces the files of a bundle's networks by lower ones; each is measured with the fp32 ``segment`` before it."""
    segment = onnx.load(networks["segment"].file)
    inputs = NetworkInputs(segment, spec, lowering.frames, align_corners=align_corners)
    written, lowered = {}, {}
    for name, network in networks.items():
        feeds = inputs.of(name, list(network.inputs))
        lowered[name] = lower(
            onnx.load(network.file),
            lowering.precision,
            feeds,
            max_loss=lowering.allowed,
            calibration=lowering.calibration,
        )
        content = lowered[name].model.SerializeToString(deterministic=True)
        network.file.write_bytes(content)
        written[name] = replace(network, sha256=hashlib.sha256(content).hexdigest())
    return written, lowered
