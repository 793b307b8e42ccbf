"""``--precision`` of ``stpl-adapt export``: what is asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from stpl.export.lowering import Lowering
    from stpl.export.mixed_precision import Lowered

SHOWN_LAYERS = 8


@dataclass(frozen=True)
class LoweringOptions:
    """The options, as they were given."""

    precision: str
    data: str | None
    frames: int
    calibration: str
    max_loss: float | None

    def check(self) -> None:
        """Raises UserError for what cannot be, before anything is read."""
        from stpl.export.int8 import CALIBRATIONS
        from stpl.export.network_precision import PRECISIONS

        if self.precision not in PRECISIONS:
            raise UserError(f"--precision: expected {', '.join(PRECISIONS)}; found '{self.precision}'")
        if self.calibration not in CALIBRATIONS:
            raise UserError(f"--calibration: expected {', '.join(CALIBRATIONS)}; found '{self.calibration}'")
        if self.max_loss is not None and not 0 <= self.max_loss <= 100:
            raise UserError(f"--max-loss: expected a percentage, 0 to 100; found {self.max_loss:g}")
        if self.precision == "fp32":
            if self.data is not None or self.max_loss is not None:
                raise UserError(
                    "--calibration-data and --max-loss: expected --precision fp16, bf16 or int8; found fp32"
                )
        elif self.data is None:
            raise UserError(
                f"--precision {self.precision}: expected --calibration-data, some of the video that the network is for "
                "(labels are not needed); found none"
            )

    def open(self) -> Lowering | None:
        """The frames and what to do with them; None for fp32."""
        if self.precision == "fp32" or self.data is None:
            return None
        from typing import cast

        from stpl.data.specs import open_dataset
        from stpl.export.calibration_frames import frame_pairs
        from stpl.export.int8 import Calibration
        from stpl.export.lowering import Lowering
        from stpl.export.network_precision import Precision
        from stpl.train.stages import spread

        dataset = open_dataset(self.data)
        return Lowering(
            cast("Precision", self.precision),
            frame_pairs(dataset, spread(len(dataset), self.frames)),
            None if self.max_loss is None else self.max_loss / 100,
            cast("Calibration", self.calibration),
            self.data,
        )


def show_lowered(lowered: Mapping[str, Lowered], console: Console) -> None:
    """What each network lost, and the layers that were kept, with the reason of each."""
    for name, network in lowered.items():
        text = f"{name}: {network.precision}, {network.disagreement:.2%} of the labels differ from fp32's"
        if network.kept:
            text += (
                f" ({network.plain_disagreement:.2%} with all layers that can be); "
                f"{len(network.kept)} of {network.layers} layers kept in fp32:"
            )
        console.print(text, highlight=False, markup=False)
        for layer, reason in list(network.kept.items())[:SHOWN_LAYERS]:
            console.print(f"  {layer}: {reason}", highlight=False, markup=False)
        if len(network.kept) > SHOWN_LAYERS:
            console.print(f"  and {len(network.kept) - SHOWN_LAYERS} more: the manifest's provenance has all of them")
