"""Plans of bundles by the TensorRT that Python finds, into the user's cache, where the runtime finds them.

They take and give fp16 where the networks' ends are fp16, which those that the runtime builds itself do not.

Run: python benchmarks/gpu_plans.py BUNDLE... [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "python"))  # after the stage of a check, if any

from record import tell

from stpl.export.plan_facts import read_facts
from stpl.export.tensorrt import build_plans
from stpl.export.tensorrt_library import load_tensorrt


def facts_of(bundle: Path, library: Any) -> dict[str, Any]:
    """Of each network's plan: where it lies, whether it was built just now, the types of its tensors."""
    return {
        plan.network: {
            "file": plan.file.name,
            "built": plan.built,
            "tensors": {tensor.name: tensor.type for tensor in read_facts(plan.file).tensors},
        }
        for plan in build_plans(bundle, library)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: standard output)")
    arguments = parser.parse_args()
    library = load_tensorrt()
    found: dict[str, Any] = {}
    for bundle in arguments.bundles:  # told after each: one that breaks TensorRT leaves those before it
        found[str(bundle)] = facts_of(bundle, library)
        tell(found, arguments.json, last=bundle is arguments.bundles[-1])


if __name__ == "__main__":
    main()
