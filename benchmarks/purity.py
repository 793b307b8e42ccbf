"""Neighbour purity of the ablation's runs: how well each method's features keep the classes apart.

    python benchmarks/purity.py --data "$STPL_CAMVID" --camvid-source RUN

Of the last snapshot of every finished run of the table `ablation`, as that table: the share of a pixel's k nearest
neighbours in feature space that are of its true class, over pixels sampled class by class. Purities lie beside the runs
and are computed again only where the code for them or the model has changed; the means go to
benchmarks/results/purity.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from catalogue import TABLES, Table
from code_digest import ROOT, CodeIndex
from execution import SNAPSHOTS, write_json
from record import write_result
from runs import FACTORIES, Bench, Run
from videos import Domain, open_video

import stpl_rt
from stpl.data.dataset import VideoDataset
from stpl.errors import UserError
from stpl.method.purity import neighbour_purity
from stpl.train.checkpoint import Checkpoint, load_checkpoint
from stpl.train.stages import spread

KS = (1, 2, 5, 10, 20, 50, 100)
FRAMES = 24
PIXELS = 300
"""Of each class, over all frames."""
FILE = "purity.json"
CODE = {
    "benchmarks": [("purity", "sampled_features")],
    "python": [
        ("stpl.method.purity", "neighbour_purity"),
        ("stpl.train.checkpoint", "Checkpoint"),
        ("stpl.train.stages", "spread"),
    ],
}
"""What a purity is computed by, by the folder that holds it; the networks are told by their weights."""


@torch.inference_mode()
def sampled_features(checkpoint: Checkpoint, video: VideoDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (P, D) of at most PIXELS pixels of each class, and their labels (P,); the same pixels at each call."""
    model, spec = checkpoint.build(), checkpoint.input.spec()
    labelled = video.labelled()
    features, labels = [], []
    for place in spread(len(labelled), FRAMES):
        index = labelled[place]
        label = video.label(index)
        assert label is not None
        image = torch.from_numpy(stpl_rt.preprocess(video.frame(index), spec))[None]
        found = model.features(image)[0].float()  # type: ignore[operator]
        small = F.interpolate(torch.from_numpy(label)[None, None], size=found.shape[-2:], mode="nearest-exact")
        features.append(found.flatten(1).T)
        labels.append(small.flatten().long())
    everything, classes = torch.cat(features), torch.cat(labels)
    rng = np.random.default_rng(0)
    chosen = [
        rng.permutation(np.flatnonzero(classes.numpy() == number))[:PIXELS] for number in range(len(checkpoint.classes))
    ]
    at = torch.from_numpy(np.concatenate(chosen))
    return everything[at], classes[at]


def purity(bench: Bench, run: Run, domain: Domain, digest: str) -> dict[str, float]:
    """By k, in percent; from the run's folder where it is there."""
    checkpoint = last_checkpoint(bench.folder(run))
    key = {"code": digest, "model": checkpoint.digest}
    file = bench.folder(run) / FILE
    if file.is_file():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if {name: stored.get(name) for name in key} == key:
            return dict(stored["purity"])
    _, video = open_video(domain, bench.camvid)
    features, labels = sampled_features(checkpoint, video)
    found = {str(k): 100 * value for k, value in neighbour_purity(features, labels, KS).items()}
    write_json(file, {**key, "purity": found})
    return found


def last_checkpoint(folder: Path) -> Checkpoint:
    """A run's last snapshot, whatever the guard selected; its result where it took none."""
    snapshots = sorted((folder / SNAPSHOTS).glob("*.safetensors"))
    return load_checkpoint(snapshots[-1] if snapshots else folder)


def code_digest() -> str:
    """Of the code and the numbers that a purity depends on."""
    digests = []
    for folder, roots in CODE.items():
        code = CodeIndex(ROOT / folder, tuple({module.split(".")[0] for module, _ in roots}))
        digests.append(code.digest(code.reached(roots, stop=FACTORIES)))
    return f"{' '.join(digests)} {KS} {FRAMES} {PIXELS}"


def purities(bench: Bench, table: Table) -> dict[str, Any]:
    """By domain, row and k: mean and spread over the seeds that are finished."""
    digest = code_digest()
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for domain, row, seed in table.runs():
        run = table.run(domain, row, seed)
        try:
            if bench.result(run) is None:
                continue
        except UserError:
            continue
        found.setdefault(domain.name, {}).setdefault(row.name, []).append(purity(bench, run, domain, digest))
    return {
        domain: {row: {k: _mean_and_spread([one[k] for one in runs]) for k in runs[0]} for row, runs in rows.items()}
        for domain, rows in found.items()
    }


def _mean_and_spread(values: list[float]) -> dict[str, float]:
    return {"mean": fmean(values), "spread": stdev(values) if len(values) > 1 else 0.0, "runs": len(values)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    camvid = os.environ.get("STPL_CAMVID")
    parser.add_argument("--data", type=Path, default=Path(camvid) if camvid else None, help="CamVid (STPL_CAMVID)")
    parser.add_argument("--camvid-source", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="the runs' folder")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    sources = {"camvid-day": args.camvid_source} if args.camvid_source is not None else {}
    found = purities(Bench(args.out, args.data, sources, ROOT), TABLES["ablation"])
    about = {"ks": list(KS), "pixels": PIXELS, "frames": FRAMES, "of": "last"}
    print(write_result("purity", {**about, "domains": found}, args.json))
    return 0


if __name__ == "__main__":
    sys.exit(main())
