"""Networks of bundles compiled by PyTorch's AOTInductor, for frames to be measured around where TensorRT does not run.

    python benchmarks/inductor_packages.py FOLDER...              for the GPU that is here, fp16
    python benchmarks/inductor_packages.py --device cpu --precision f32 FOLDER

FOLDER: one of those that `gpu_pipelines.py --export-only` leaves, with a bundle. Its checkpoint need not be carried:
without one the network has random weights made here. The package lies in the bundle then, beside the network's file,
where `stpl_rt_inductor_pipeline BUNDLE` finds it. The JSON says what compiling took, and how far the package's logits
are from the model's, as a share of the largest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parent.parent / "python"))  # after the stage of a check, if any

from record import tell
from runtime_networks import carried_checkpoint, is_carried

TYPES = {"f32": torch.float32, "f16": torch.float16}
MOST_ERROR = {"f32": 1e-3, "f16": 5e-2}
"""Of the largest logit; with fp16, sums are rounded in another order."""


class Dense(nn.Module):
    """Logits one row after the other, whatever layout the compiler prefers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(image)
        return logits.contiguous()


@torch.no_grad()
def compile_package(folder: Path, device: str, precision: str) -> dict[str, Any]:
    """Leaves the package of a folder's network, whole or not at all; ValueError where it computes another thing."""
    checkpoint = carried_checkpoint(folder)
    model = Dense(checkpoint.build()).eval().to(device, TYPES[precision])
    generator = torch.Generator().manual_seed(0)
    sides = (1, 3, checkpoint.input.height, checkpoint.input.width)
    image = torch.randn(sides, generator=generator).to(device, TYPES[precision])
    target = folder / "bundle" / f"segment.{precision}.pt2"
    fresh = target.with_name(f"fresh.{target.name}")
    started = time.perf_counter()
    program = torch.export.export(model, (image,), strict=False)
    torch._inductor.aoti_compile_and_package(program, package_path=str(fresh))
    seconds = time.perf_counter() - started
    expected = model(image).float()
    found = torch._inductor.aoti_load_package(str(fresh))(image).float()
    error = float((found - expected).abs().max() / expected.abs().max())
    if not error <= MOST_ERROR[precision]:
        fresh.unlink()
        raise ValueError(f"{folder.name}: expected the model's logits, found some {error:.2g} of the largest away")
    fresh.replace(target)
    return {"file": target.name, "seconds_to_compile": round(seconds, 1), "error": error, "torch": torch.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--precision", choices=TYPES, default="f16")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: standard output)")
    given = parser.parse_args()
    for folder in given.folders:
        if not is_carried(folder):
            parser.error(f"{folder}: expected a folder that gpu_pipelines.py --export-only left, found no bundle in it")
    found: dict[str, Any] = {}
    for folder in given.folders:
        found[folder.name] = compile_package(folder, given.device, given.precision)
        tell(found, given.json, last=folder is given.folders[-1])


if __name__ == "__main__":
    main()
