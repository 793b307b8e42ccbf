"""`stpl-adapt benchmark` on small data roots: from data to table, and again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from stpl.benchmark import run as benchmark_run
from stpl.benchmark.config import BenchmarkConfig
from stpl.benchmark.evaluation import EvaluationConfig, evaluate_published
from stpl.cli.main import run
from stpl.config import load_config
from stpl.data.dataset import VideoDataset
from stpl.data.specs import open_dataset
from stpl.train.checkpoint import Checkpoint, load_checkpoint
from stpl.train.pair_source import PairSourceConfig
from stpl.train.source import train_source

from .conftest import CITYSCAPES_SIZE, VIPER_SIZE, Trees, ids_of, write_flow, write_picture

RECIPE = """\
benchmark: viper-to-cityscapes
methods: [bn, stpl]
seeds: [0, 1]
source: {input: {height: 32, width: 64}, crop: [32, 48], steps: 2, batch_size: 2}
adapt: {steps: 4, snapshot_every: 2, batch_size: 1, calibration: {frames: 2}, guard: {mode: "off"}}
evaluation: {height: 32, width: 64}
"""


@pytest.fixture
def command(trees: Trees, tmp_path: Path) -> list[str]:
    """The command on a VIPER of two labelled frames and a Cityscapes of two for each split."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    source = trees.viper({"001": [9, 10, 19, 20]}, {"001": [10, 20]})
    trees.cityscapes("train", {"ulm_000000": [19], "ulm_000001": [19]}, before=1, after=0)
    target = trees.cityscapes("val", {"lindau_000003": [19], "munster_000001": [19]}, before=1, after=0)
    roots = ["--source-root", str(source), "--target-root", str(target)]
    return ["benchmark", "--config", str(recipe), *roots, "--out", str(tmp_path / "out")]


def test_from_data_to_table_once(command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 0
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text())
    runs = {(entry["method"], entry["seed"]): entry for entry in results["runs"]}
    assert set(runs) == {("source only", None), ("bn", 0), ("bn", 1), ("stpl", 0), ("stpl", 1)}
    stpl = runs["stpl", 1]
    assert stpl["best"]["miou"] >= max(stpl["last"]["miou"], stpl["selected"]["miou"])
    assert stpl["best_step"] in (2, 4)
    assert runs["bn", 0]["selected"] == runs["bn", 0]["last"] == runs["bn", 0]["best"]
    data = open_dataset(f"cityscapes-seq:{tmp_path / 'Cityscapes'}?classes=viper&context=1")
    size = EvaluationConfig(height=32, width=64)
    selected = evaluate_published(load_checkpoint(out / "stpl-1"), data, size)
    assert stpl["selected"]["miou"] == selected.miou
    assert stpl["selected"]["frames"] == 2
    for name, kind in (("checkpoint", "selected"), ("last", "last"), ("best_on_val", "best")):
        assert load_checkpoint(out / "stpl-1" / f"{name}.safetensors").digest == stpl[kind]["digest"]
    page = (out / "table.md").read_text()
    assert "| STPL | SF video |  |  | 52.5 | P |" in page
    assert "2 labelled frames of the val split (of 500: not comparable" in page
    assert "| stpl (ours) | SF video |" in page
    assert "2 seeds" in page

    files = [*out.glob("*/checkpoint.safetensors"), *out.glob("*/scores.json")]
    made = {file: file.stat().st_mtime_ns for file in files}
    assert len(made) == 5 + 5
    assert run([*command, "seeds=[0]"]) == 0  # fewer runs, all of them there
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert len(json.loads((out / "results.json").read_text())["runs"]) == 3

    assert run([*command, "adapt.steps=2"]) == 2  # the same folder with other settings
    assert "adapt.steps = 4; found adapt.steps = 2: make it again with --overwrite" in capfd.readouterr().err
    assert run([*command, "adapt.steps=2", "methods=[stpl]", "seeds=[0]", "--overwrite"]) == 0
    again = {file: file.stat().st_mtime_ns for file in made}
    assert {file.parent.name for file in made if again[file] != made[file]} == {"stpl-0"}


def test_an_interrupted_run_goes_on_to_the_same_result(
    command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def snapshots_scored() -> int:
        return sum(record.getMessage().startswith("scoring self-training") for record in caplog.records)

    one = [*command, "methods=[self-training]", "seeds=[0]", "adapt.steps=30", "adapt.snapshot_every=10"]
    assert run(one) == 0
    assert snapshots_scored() == 3
    whole = (tmp_path / "out" / "results.json").read_text()
    elsewhere = tmp_path / "elsewhere"
    again = [elsewhere.as_posix() if part == str(tmp_path / "out") else part for part in one]
    metrics = elsewhere / "self-training-0" / "metrics.jsonl"

    def interrupt_after_the_first_snapshot() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (metrics.exists() and '"snapshot"' in metrics.read_text()):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_after_the_first_snapshot)
    watcher.start()
    status = run(again)
    watcher.join()
    assert status == 130
    assert "the same command goes on" in capfd.readouterr().err
    assert not (elsewhere / "results.json").exists()
    caplog.clear()
    assert run(again) == 0
    assert snapshots_scored() <= 2  # of three: the first is not made again
    assert (elsewhere / "results.json").read_text() == whole


def test_a_source_model_can_be_given(command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "methods=[]"]) == 0
    out = tmp_path / "out"
    scored = json.loads((out / "results.json").read_text())["runs"]
    given = ["--source-model", str(out / "source"), "--out", str(tmp_path / "given"), "methods=[]"]
    target = ["--target-root", str(tmp_path / "Cityscapes")]
    assert run([*command[:3], *target, *given]) == 0
    assert json.loads((tmp_path / "given" / "results.json").read_text())["runs"] == scored
    capfd.readouterr()
    other = [*command[:3], *target, *given, "benchmark=synthia-to-cityscapes"]
    assert run(other) == 2
    assert "expected the classes of synthia-to-cityscapes" in capfd.readouterr().err


def test_a_guard_that_keeps_the_source_model_is_told_apart(command: list[str], tmp_path: Path) -> None:
    # Two frame pairs are too few for the guard to let anything be trained on.
    assert run([*command, "methods=[stpl]", "seeds=[0]", "adapt.guard.mode=act"]) == 0
    source, stpl = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert stpl["best_step"] is None
    assert stpl["selected"] == stpl["last"] == stpl["best"]
    assert stpl["selected"]["iou"] == source["selected"]["iou"]


@pytest.mark.parametrize(
    ("selected", "best", "step"),
    [
        pytest.param(0.30, 0.40, 2, id="a snapshot that the guard did not choose"),
        pytest.param(0.40, 0.40, 2, id="the snapshot that it chose"),
        pytest.param(0.45, 0.45, None, id="the start of training, which is no snapshot"),
    ],
)
def test_the_best_is_never_below_the_selected(selected: float, best: float, step: int | None) -> None:
    snapshots = {"2": {"miou": 0.40}, "10": {"miou": 0.35}, "4": {"miou": 0.40}}
    score = benchmark_run._run_score("stpl", 0, {"selected": {"miou": selected}, "snapshots": snapshots})
    assert (score.selected["miou"], score.last["miou"]) == (selected, 0.35)
    assert (score.best["miou"], score.best_step) == (best, step)


def flow_of(trees: Trees, *names: str) -> str:
    """A folder of stored flow of its own."""
    folder = trees.root / f"flow-{names[0]}"
    for name in names:
        write_flow(folder / f"{name}_int16_x10.npy", 0, 0, (16, 32))
    return str(folder)


def test_scores_of_other_labels_or_flow_are_not_shown(
    command: list[str], trees: Trees, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*command, "methods=[bn]", "seeds=[0]"]
    assert run(command) == 0

    def refused(*more: str) -> str:
        capfd.readouterr()
        assert run([*command, *more]) == 2
        return capfd.readouterr().err

    of_val = [f"{name}_000019_000018" for name in ("lindau_000003", "munster_000001")]
    of_train = [f"ulm_00000{number}_000019_000018" for number in (0, 1)]
    assert "val flow = None; found val flow = 2 files, " in refused("--val-flow", flow_of(trees, *of_val))
    assert "target flow = None; found target flow = 2 files, " in refused("--target-flow", flow_of(trees, *of_train))
    # A source model that is trained frame by frame uses no flow.
    assert run([*command, "--source-flow", flow_of(trees, "001_0001000009", "001_0002000019")]) == 0

    label = trees.root / "Cityscapes/gtFine/val/lindau/lindau_000003_000019_gtFine_labelIds.png"
    write_picture(label, ids_of(7, CITYSCAPES_SIZE, range(34)))
    assert "val labels = 2 files, " in refused()
    assert run([*command, "--overwrite"]) == 0
    label = trees.root / "Viper/train/cls/001/001_00010.png"
    write_picture(label, ids_of(7, VIPER_SIZE, range(32)))
    assert "source labels = 2 files, " in refused()


def test_files_of_other_frames_change_nothing(trees: Trees, command: list[str]) -> None:
    """Flow of both splits may lie in one folder."""
    folder = flow_of(trees, "lindau_000003_000019_000018", "munster_000001_000019_000018")
    command = [*command, "methods=[]", "--val-flow", folder]
    assert run(command) == 0
    write_flow(Path(folder) / "ulm_000000_000019_000018_int16_x10.npy", 0, 0, (16, 32))
    assert run(command) == 0


def test_a_source_trained_on_pairs_depends_on_their_flow(
    command: list[str], trees: Trees, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(_: PairSourceConfig, data: VideoDataset, out: Path, *, resume: bool) -> Checkpoint:
        """In place of the benchmarks' network, which takes seconds a step on a processor."""
        return train_source(load_config(BenchmarkConfig, Path(command[2])).source, data, out, resume=resume)

    monkeypatch.setattr(benchmark_run, "train_pair_source", small)
    command = [*command, "methods=[]", "pair_source.random_start=true"]
    assert run(command) == 0
    assert run([*command, "--source-flow", flow_of(trees, "001_0001000009", "001_0002000019")]) == 2
    assert "source flow = None; found source flow = 2 files, " in capfd.readouterr().err


def test_mistakes_are_named_before_anything_is_written(
    command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*arguments: str) -> str:
        capfd.readouterr()
        assert run(arguments) == 2
        return capfd.readouterr().err

    target = ["--target-root", str(tmp_path / "Cityscapes"), "--out", str(tmp_path / "out")]
    assert "expected --source-root to train" in mistake(*command[:3], *target)
    assert "did you mean 'adapt'" in mistake(*command, "adpt.steps=3")
    assert "expected each one once" in mistake(*command, "seeds=[1,1]")
    assert "benchmark" in mistake(*command, "benchmark=gta")
    assert "expected a folder at" in mistake(*command, "--val-flow", str(tmp_path / "nowhere"))
    assert "pair_source.random_start=true starts from random ones" in mistake(*command, "pair_source.steps=2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "expected one process for a benchmark" in mistake(*command)
    assert not (tmp_path / "out").exists()


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("name", "size"), [("viper", (720, 1280)), ("synthia", (640, 1280))])
def test_the_recipes_are_the_protocol(name: str, size: tuple[int, int]) -> None:
    file = ROOT / "models" / f"{name}_to_cityscapes.yaml"
    recipe = load_config(BenchmarkConfig, file)
    source = recipe.pair_source
    assert source is not None
    assert recipe.benchmark == f"{name}-to-cityscapes"
    assert (source.input.height, source.input.width) == size
    assert source.input.color_order == "bgr"
    assert source.input.mean == (104.00698793, 116.66876762, 122.67891434)
    assert source.input.std == (1, 1, 1)
    assert (source.steps, source.batch_size, source.learning_rate, source.horizon) == (40_000, 1, 2.5e-4, 250_000)
    assert (source.momentum, source.weight_decay, source.power, source.auxiliary) == (0.9, 5e-4, 0.9, 0.1)
    assert (recipe.evaluation.height, recipe.evaluation.width) == (512, 1024)
    lines = [line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("#   ")]
    command = " ".join(lines).replace("\\", " ").split("stpl-adapt ")[1].split()
    assert command[:3] == ["benchmark", "--config", f"models/{name}_to_cityscapes.yaml"]
    assert load_config(BenchmarkConfig, file, [command[-1]]).pair_source.imagenet is not None
