"""--model, --arch and --classes: every kind of model through the commands, to the runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

import stpl_rt
from stpl.data.specs import open_dataset
from stpl.train.checkpoint import load_checkpoint
from stpl.train.open_model import open_model

from .conftest import DAY, DUSK, SMALL, Command, Runs

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
QUICK = ["batch_size=2", "calibration.frames=2", "batch_norm.frames=2"]
TRAINS = ["guard.mode=off", "pseudo_labels.threshold=0"]  # a network of two steps is sure of nothing


def test_a_network_of_ones_own_from_source_to_runtime(
    stpl_adapt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES)
    source, adapted, bundle = tmp_path / "source", tmp_path / "adapted", tmp_path / "own.bundle"
    name = "own_model:build"
    trained = stpl_adapt("source", "--model", name, "--data", DAY, "--out", source, "--steps", "2", *SMALL)
    assert trained.status == 0, trained.err
    assert f"next: stpl-adapt adapt --model {source} --arch {name} --target" in trained.out
    adapt = ["adapt", "--target", DUSK, "--out", adapted, "--steps", "2", *TRAINS, *QUICK]
    assert f"say --arch {name}" in stpl_adapt(*adapt, "--model", source).mistake
    assert not adapted.exists()
    done = stpl_adapt(*adapt, "--model", source, "--arch", name)
    assert done.status == 0 and f"next: stpl-adapt export --model {adapted} --arch {name} --out" in done.out
    (adapted / "report.html").unlink()  # as of a run that was killed before its report
    assert stpl_adapt(*adapt, "--model", source, "--arch", name, "--resume").status == 0
    assert (adapted / "report.html").is_file()
    before, after = load_checkpoint(source, name).weights, load_checkpoint(adapted, name).weights
    assert any(not torch.equal(before[key], after[key]) for key in before)
    exported = stpl_adapt("export", "--model", adapted, "--arch", name, "--out", bundle, "--data", DUSK)
    assert exported.status == 0, exported.err
    frame = open_dataset(DUSK).frame(0)
    labels = stpl_rt.Segmenter(bundle).push(frame).labels
    assert labels.shape == frame.shape[:2] and labels.max() < len(open_dataset(DAY).classes or ())
    assert stpl_adapt("evaluate", "--model", bundle, "--data", DUSK).status == 0


def test_a_network_of_ones_own_is_fine_tuned_where_it_is_named(
    stpl_adapt: Command, tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES)
    name, own, tuned = "own_model:build", tmp_path / "own", tmp_path / "tuned"
    common = ["source", "--data", DAY, "--steps", "1", *SMALL]
    assert stpl_adapt(*common, "--model", name, "--out", own).status == 0
    assert f"--model {name}" in stpl_adapt(*common, "--init", own, "--out", tuned).mistake
    assert stpl_adapt(*common, "--init", own, "--model", name, "--out", tuned).status == 0
    assert load_checkpoint(tuned, name).arch == name
    # A network of ours says itself what it is.
    again = stpl_adapt(*common, "--init", runs.source, "--out", tmp_path / "again")
    assert again.status == 0 and "--arch" not in again.out
    assert (
        f"expected a checkpoint of architecture '{name}'"
        in stpl_adapt(*common, "--init", runs.source, "--model", name, "--out", tmp_path / "other").mistake
    )


def test_a_checkpoint_imports_nothing(tmp_path: Path, runs: Runs) -> None:
    """In a process of its own: the module of that name would leave a file behind."""
    from dataclasses import replace

    from stpl.train.checkpoint import save_checkpoint

    trap = tmp_path / "trap.py"
    trap.write_text("import pathlib\npathlib.Path('sprung').touch()\nbuild = None\n")
    save_checkpoint(replace(load_checkpoint(runs.source), arch="trap:build"), tmp_path / "model.safetensors")
    command = [sys.executable, "-m", "stpl.cli.main", "evaluate", "--model", "model.safetensors", "--data", DUSK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--arch trap:build" in done.stderr
    assert not (tmp_path / "sprung").exists()
    subprocess.run([*command, "--arch", "trap:build"], cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "sprung").exists()  # the trap works


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `transformers` with classes of another naming than the data's."""
    folder = tmp_path_factory.mktemp("models") / "segformer"
    tiny = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4]}
    names = dict(enumerate(["Road", "hatchback", "lorry", "sky", "unicorn"]))
    torch.manual_seed(3)
    config = SegformerConfig(
        **tiny, decoder_hidden_size=16, id2label=names, label2id={name: i for i, name in names.items()}
    )
    network = SegformerForSemanticSegmentation(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    return folder


def test_a_folder_of_transformers_is_adapted_and_exported(stpl_adapt: Command, tmp_path: Path, segformer: Path) -> None:
    adapted = tmp_path / "adapted"
    common = ["--size", "48x64", "--classes", "hatchback=car,lorry=car"]
    adapt = [
        "adapt",
        "--model",
        segformer,
        "--target",
        DUSK,
        "--out",
        adapted,
        "--steps",
        "2",
        *common,
        "guard.mode=off",
        *QUICK,
    ]
    done = stpl_adapt(*adapt)
    assert done.status == 0, done.err
    assert "car: hatchback + lorry" in done.out
    assert "not in the data: unicorn" in done.out
    checkpoint = load_checkpoint(adapted)
    assert checkpoint.arch == "segformer" and checkpoint.merge is not None
    known = open_dataset(DUSK).classes
    assert known is not None
    assert checkpoint.classes.names == tuple(n for n in known.names if n in ("road", "car", "sky"))
    assert stpl_adapt("export", "--model", adapted, "--out", tmp_path / "bundle", "--data", DUSK).status == 0
    # The bundle lacks some of the data's classes: said, then counted as wrong.
    refused = stpl_adapt("evaluate", "--model", tmp_path / "bundle", "--data", DUSK)
    assert "--classes says which is which" in refused.mistake
    report = tmp_path / "bundle.json"
    scored = stpl_adapt(
        "evaluate", "--model", tmp_path / "bundle", "--data", DUSK, "--classes", "by-name", "--json", report
    )
    assert scored.status == 0 and "not known to the model: " in scored.out
    iou = json.loads(report.read_text())["iou"]
    assert set(iou) == set(known.names) and iou["building"] == 0


def test_evaluation_maps_what_the_model_says(stpl_adapt: Command, tmp_path: Path, segformer: Path) -> None:
    """Against the counts made by hand from the model's own labels."""
    report = tmp_path / "scores.json"
    done = stpl_adapt(
        *("evaluate", "--model", segformer, "--size", "48x64", "--data", DUSK, "--limit", "2"),
        *("--classes", "hatchback=car,lorry=car", "--json", report),
    )
    assert done.status == 0, done.err
    from stpl.evaluate import Predictor

    data = open_dataset(DUSK)
    assert data.classes is not None
    names = [*data.classes.names, "nothing"]
    target = np.array([names.index(n) for n in ("road", "car", "car", "sky", "nothing")])
    predict = Predictor(open_model(segformer, size=(48, 64)))
    both = [(target[predict(data.frame(i))], data.label(i)) for i in data.labelled()[:2]]
    said, true = np.stack([said for said, _ in both]), np.stack([label for _, label in both])
    scores = json.loads(report.read_text())["iou"]
    for name in ("road", "car", "sky"):
        mine, theirs = (said == names.index(name)) & (true != 255), true == names.index(name)
        assert scores[name] == pytest.approx((mine & theirs).sum() / (mine | theirs).sum())
    assert "(none of these)" in scores


def test_raw_weights_are_evaluated_by_name_of_their_network(stpl_adapt: Command, tmp_path: Path, runs: Runs) -> None:
    checkpoint = load_checkpoint(runs.source)
    torch.save({"state_dict": dict(checkpoint.weights)}, tmp_path / "raw.pth")
    (tmp_path / "classes.yaml").write_text(f"classes: [{', '.join(checkpoint.classes.names)}]\nby_name: false\n")
    raw = ["--model", tmp_path / "raw.pth", "--size", "48x64"]
    named = ["--arch", "compact", "--classes", tmp_path / "classes.yaml"]
    scores = []
    for model in (["--model", runs.source], [*raw, *named]):
        report = tmp_path / f"{len(scores)}.json"
        assert stpl_adapt("evaluate", *model, "--data", DUSK, "--json", report).status == 0
        scores.append(json.loads(report.read_text())["iou"])
    assert scores[0] == scores[1]
    assert "--arch" in stpl_adapt("evaluate", *raw, "--data", DUSK).mistake
    assert "--classes" in stpl_adapt("evaluate", *raw, "--arch", "compact", "--data", DUSK).mistake
    wrong = ["--arch", "compcat", "--classes", tmp_path / "classes.yaml"]
    assert "did you mean 'compact'" in stpl_adapt("evaluate", *raw, *wrong, "--data", DUSK).mistake


def test_a_hub_that_cannot_be_reached_is_said(
    stpl_adapt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = stpl_adapt("export", "--model", "hf:town/segformer", "--out", tmp_path / "bundle")
    assert "hf:town/segformer: not in the local cache, and the hub cannot be reached" in done.mistake
