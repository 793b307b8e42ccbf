"""Settings of the adaptation, compared on generated development domains; CamVid and the test domains stay closed.

    python benchmarks/choose_settings.py --source models/street-day --only lambda --domains dusk

Each variant is a list of overrides of the defaults. Printed and stored: the mIoU of the source model, and of every
snapshot of every variant on every development domain.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from record import write_result

from stpl.config import load_config
from stpl.data.dataset import VideoDataset
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.evaluate import evaluate_checkpoint
from stpl.train.adapt import adapt
from stpl.train.checkpoint import Checkpoint, load_checkpoint
from stpl.train.config import AdaptConfig

DOMAINS = {
    "dusk": "synthstreet:?domain=dusk&seed=500&sequences=4&frames=31&fps=3&size=240x320",
    "night": "synthstreet:?domain=night&seed=600&sequences=4&frames=31&fps=3&size=240x320",
}

VARIANTS: dict[str, dict[str, list[str]]] = {
    "methods": {
        "bn": ["method=bn"],
        "self-training": ["method=self-training"],
        "spatial": ["method=spatial"],
        "temporal": ["method=temporal"],
        "spatial+temporal": ["method=spatial+temporal"],
        "stpl": ["method=stpl"],
    },
    "calibration": {
        f"{criterion}": ["method=bn", "batch_norm.enabled=false", f"calibration.criterion={criterion}"]
        for criterion in ("entropy", "information", "nuclear_norm", "batch_statistics")
    },
    "batch-norm": {
        f"blend {blend}": ["method=bn", f"batch_norm.blend={blend}"] for blend in (0.0, 0.25, 0.5, 0.75, 1.0)
    },
    "lambda": {f"lambda {weight}": [f"contrast.weight={weight}"] for weight in (0.03, 0.1, 0.3, 1.0)},
    "temperature": {f"tau {tau}": [f"contrast.temperature={tau}"] for tau in (0.05, 0.1, 0.2, 0.5)},
    "denominator": {name: [f"contrast.denominator={name}"] for name in ("negatives", "infonce")},
    "clean branch": {name: [f"contrast.clean_branch={name}"] for name in ("student", "teacher")},
    "fusion": {name: [f"contrast.fusion={name}"] for name in ("1x1", "concatenation")},
    "rate": {f"rate {rate}": [f"learning_rate={rate}"] for rate in (1e-4, 3e-4, 1e-3)},
    "pseudo-labels": {
        f"threshold {threshold}, share {share}": [
            f"pseudo_labels.threshold={threshold}",
            f"pseudo_labels.share={share}",
        ]
        for threshold, share in ((0.9, 0.5), (0.9, 0.8), (0.7, 0.5), (0.95, 0.3))
    },
}


def run_variant(source: Checkpoint, target: VideoDataset, overrides: list[str], frames: list[int]) -> dict[str, Any]:
    """Adapts once; the mIoU of every snapshot and of the result."""
    snapshots: dict[int, float] = {}

    def measure(step: int, checkpoint: Checkpoint) -> None:
        snapshots[step] = 100 * evaluate_checkpoint(checkpoint, target, frames).miou

    config = load_config(AdaptConfig, None, overrides)
    with tempfile.TemporaryDirectory() as folder:
        result = adapt(config, source, target, Path(folder), on_snapshot=measure)
    return {"miou": 100 * evaluate_checkpoint(result, target, frames).miou, "snapshots": snapshots}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS), choices=list(DOMAINS))
    parser.add_argument("--every", type=int, default=4, help="measure on every n-th frame")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    parser.add_argument("overrides", nargs="*", help="key=value, for all variants")
    args = parser.parse_args()
    source = load_checkpoint(args.source)
    targets = {name: InMemory(open_dataset(spec)) for name, spec in DOMAINS.items() if name in args.domains}
    frames = {name: target.labelled()[:: args.every] for name, target in targets.items()}
    base = {name: 100 * evaluate_checkpoint(source, target, frames[name]).miou for name, target in targets.items()}
    print("source:", {name: round(value, 2) for name, value in base.items()})
    tables: dict[str, Any] = {}
    for group in args.only:
        for name, overrides in VARIANTS[group].items():
            results = {
                domain: run_variant(source, target, [*args.overrides, *overrides], frames[domain])
                for domain, target in targets.items()
            }
            gain = fmean(results[domain]["miou"] - base[domain] for domain in targets)
            tables.setdefault(group, {})[name] = {"overrides": overrides, "mean_gain": gain, **results}
            shown = {domain: [round(v, 1) for v in r["snapshots"].values()] for domain, r in results.items()}
            final = {domain: round(r["miou"], 2) for domain, r in results.items()}
            print(f"{group} / {name}: gain {gain:+.2f} {final} snapshots {shown}", flush=True)
    record = {
        "domains": {name: DOMAINS[name] for name in targets},
        "common": args.overrides,
        "source": base,
        "tables": tables,
    }
    print(write_result("choose_settings", record, args.json))


if __name__ == "__main__":
    main()
