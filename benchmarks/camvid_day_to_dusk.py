"""CamVid, day to dusk: one source model, adapted to unlabelled dusk video by each method, three seeds each.

    python benchmarks/camvid_day_to_dusk.py --data "$STPL_CAMVID" --out runs/camvid

Labels of the dusk frames are read to measure with and for nothing else; the settings are the package's defaults, chosen
on generated video (`benchmarks/choose_settings.py`). The source model is trained by models/camvid-day.yaml where
``--source`` does not name one. Finished runs under ``--out`` are not run again. mIoU is over the classes present in the
labelled dusk frames, in percent.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from record import COMMIT, write_result

from stpl.config import load_config
from stpl.data.dataset import VideoDataset
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.evaluate import evaluate_checkpoint
from stpl.train.adapt import adapt
from stpl.train.checkpoint import FILE_NAME, Checkpoint, load_checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.run import CONFIG_FILE, run_folder
from stpl.train.source import SourceConfig, train_source

RECIPE = Path(__file__).parent.parent / "models" / "camvid-day.yaml"
DAY = "day_0006R0,day_0016E5,day_Seq05VD"
DUSK = "dusk_0001TP"

STAGES = {
    "input calibration": ["method=bn", "batch_norm.enabled=false"],
    "+ batch-norm": ["method=bn"],
}
TRAINED = {
    "self-training": ["method=self-training"],
    "spatial": ["method=spatial"],
    "STPL": ["method=stpl"],
}


def source_model(args: argparse.Namespace) -> tuple[Checkpoint, float | None]:
    """The source checkpoint and, where it was trained now, the seconds it took."""
    if args.source is not None:
        return load_checkpoint(args.source), None
    out = args.out / "source"
    settings = out / CONFIG_FILE
    recipe = load_config(SourceConfig, RECIPE)
    if (out / FILE_NAME).is_file() and settings.is_file() and load_config(SourceConfig, settings) == recipe:
        return load_checkpoint(out), None
    started = time.perf_counter()
    day = open_dataset(f"folder:{args.data}?sequences={DAY}")
    with run_folder(out, overwrite=True):
        checkpoint = train_source(recipe, day, out)
    return checkpoint, time.perf_counter() - started


def run(source: Checkpoint, dusk: VideoDataset, overrides: list[str], out: Path) -> dict[str, Any]:
    """One adaptation, or what an earlier sitting found."""
    finished = out / "result.json"
    config = load_config(AdaptConfig, None, overrides)
    key = {"config": config.model_dump(mode="json"), "source": source.digest, "commit": COMMIT}
    if finished.is_file():
        stored: dict[str, Any] = json.loads(finished.read_text(encoding="utf-8"))
        if stored["key"] == json.loads(json.dumps(key)):
            return stored
    snapshots: dict[int, float] = {}
    measuring = 0.0

    def measure(step: int, checkpoint: Checkpoint) -> None:
        nonlocal measuring
        started = time.perf_counter()
        snapshots[step] = 100 * evaluate_checkpoint(checkpoint, dusk).miou
        measuring += time.perf_counter() - started

    started = time.perf_counter()
    with run_folder(out, overwrite=True):
        adapted = adapt(config, source, dusk, out, on_snapshot=measure)
    seconds = time.perf_counter() - started - measuring
    evaluation = evaluate_checkpoint(adapted, dusk)
    result = {
        "key": key,
        "miou": 100 * evaluation.miou,
        "iou": evaluation.to_dict()["iou"],
        "snapshots": snapshots,
        "seconds": seconds,
        "gamma": adapted.provenance.get("calibration_gamma"),
    }
    finished.write_text(json.dumps(result), encoding="utf-8")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CamVid clips")
    parser.add_argument("--out", type=Path, default=Path("runs/camvid"))
    parser.add_argument("--source", type=Path, default=None, help="a source checkpoint, in place of training one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    source, training_seconds = source_model(args)
    dusk = InMemory(open_dataset(f"folder:{args.data}?sequences={DUSK}"))
    base = evaluate_checkpoint(source, dusk)
    print(f"source model: {100 * base.miou:.2f}", flush=True)
    rows: dict[str, Any] = {"source": {"miou": [100 * base.miou], "iou": base.to_dict()["iou"]}}
    for name, overrides in STAGES.items():
        result = run(source, dusk, overrides, args.out / name.strip("+ ").replace(" ", "-"))
        rows[name] = {"miou": [result["miou"]], "iou": result["iou"], "gamma": result["gamma"]}
        print(f"{name}: {result['miou']:.2f} (gamma {result['gamma']})", flush=True)
    for name, overrides in TRAINED.items():
        runs = [
            run(source, dusk, [*overrides, f"seed={seed}"], args.out / f"{name.lower()}-{seed}") for seed in args.seeds
        ]
        scores = [r["miou"] for r in runs]
        spread = stdev(scores) if len(scores) > 1 else 0.0
        rows[name] = {
            "miou": scores,
            "best_snapshot": [max(r["snapshots"].values()) for r in runs],
            "worst_snapshot": [min(r["snapshots"].values()) for r in runs],
            "snapshots": [r["snapshots"] for r in runs],
            "seconds": fmean(r["seconds"] for r in runs),
        }
        print(f"{name}: {fmean(scores):.2f} ± {spread:.2f} {[round(s, 2) for s in scores]}", flush=True)
    record = {"seeds": args.seeds, "source_training_seconds": training_seconds, "rows": rows}
    print(write_result("camvid_day_to_dusk", record, args.json))


if __name__ == "__main__":
    main()
