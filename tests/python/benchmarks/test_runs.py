"""Keys of runs: what makes a run another, and what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from catalogue import TABLES
from runs import Adaptation, Bench, FineTuning
from videos import DOMAINS, Black, EightFrames, Part, Road, content_digest, halves

from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.errors import UserError

OFF = "guard.mode=off"
METHODS = ("source", "bn", "self-training", "hcl", "spatial", "stpl")


def folders(root: Path, out: Path) -> dict[str, str]:
    """The folder of each method's run on the development domain."""
    bench = Bench(out, root=root)
    return {m: bench.folder(Adaptation(DOMAINS["dusk"], (f"method={m}", OFF))).name for m in METHODS}


def changed(code_copy: Path, out: Path, file: str, old: str, new: str) -> set[str]:
    """The methods whose runs a change of the code makes new."""
    before = folders(code_copy, out)
    path = code_copy / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{file} no longer holds {old!r}"
    path.write_text(text.replace(old, new, 1))
    after = folders(code_copy, out)
    return {method for method in METHODS if before[method] != after[method]}


OBJECTIVES = "python/stpl/method/objectives"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param(
            f"{OBJECTIVES}/stpl.py",
            "def forward(",
            "def unused(self): ...\n\n    def forward(",
            {"spatial", "stpl"},
            id="a line of the contrast",
        ),
        pytest.param(
            f"{OBJECTIVES}/hcl.py",
            "def forward(",
            "def unused(self): ...\n\n    def forward(",
            {"hcl"},
            id="a line of a rival",
        ),
        pytest.param(
            f"{OBJECTIVES}/self_training.py",
            "F.cross_entropy(",
            "2 * F.cross_entropy(",
            {"self-training", "spatial", "stpl"},
            id="a line of self-training, which the contrast stands on",
        ),
        pytest.param(
            "python/stpl/train/ema.py", "def update_teacher", "# why\ndef update_teacher", set(), id="a comment"
        ),
        pytest.param(
            "python/stpl/method/batch_norm.py",
            "from torch import Tensor",
            "from torch import Tensor\n\nLIMIT = 1",
            set(),
            id="an unused name",
        ),
        pytest.param("python/stpl/cli/adapt.py", "def adapt", "X = 1\n\n\ndef adapt", set(), id="the command line"),
        pytest.param("python/stpl/method/batch_norm.py", "import torch\n", "import  torch\n", set(), id="layout"),
        pytest.param("python/stpl/train/accel.py", "F.kl_div(", "2 * F.kl_div(", set(), id="accel mode, which is off"),
        pytest.param("cpp/flow/dis_cuda.cpp", "#include", "\n#include", set(), id="the flow of a build with CUDA"),
        pytest.param(
            "cpp/flow/dis.cpp", "#include", "\n#include", set(METHODS), id="the runtime's flow, even a blank line"
        ),
    ],
)
def test_a_changed_line_makes_new_only_what_runs_it(code_copy, tmp_path, file, old, new, expected):
    assert changed(code_copy, tmp_path, file, old, new) == expected


def test_the_guard_counts_only_where_it_is_on(code_copy, tmp_path):
    run, watched = (
        Adaptation(DOMAINS["dusk"], ("method=self-training", f"guard.mode={m}")) for m in ("off", "observe")
    )
    before = {r: Bench(tmp_path, root=code_copy).folder(r) for r in (run, watched)}
    guard = code_copy / "python/stpl/method/guard.py"
    guard.write_text(guard.read_text() + "\nGuardConfig.extra = 1\n")
    after = {r: Bench(tmp_path, root=code_copy).folder(r) for r in (run, watched)}
    assert after[run] == before[run] and after[watched] != before[watched]


def test_only_settings_that_are_used_count(tmp_path):
    bench = Bench(tmp_path)

    def folder(*overrides: str, seed: int = 0) -> Path:
        return bench.folder(Adaptation(DOMAINS["dusk"], (OFF, *overrides), seed))

    assert folder("method=self-training") == folder("method=self-training", "contrast.weight=9")
    assert folder("method=stpl") != folder("method=stpl", "contrast.weight=9")
    assert folder("method=bn") == folder("method=bn", "learning_rate=0.5")
    assert folder("method=bn") != folder("method=bn", "batch_norm.enabled=false")
    assert folder("method=stpl", "save_every=7") == folder("method=stpl")
    assert folder("method=stpl", seed=1) != folder("method=stpl")
    assert folder("method=stpl", "accel.batch_size=3") == folder("method=stpl")
    assert folder("method=stpl", "accel.enabled=true") != folder("method=stpl")
    switched_on = ("method=stpl", "accel.enabled=true")
    assert folder(*switched_on, "accel.batch_size=3") != folder(*switched_on)


def test_data_and_source_count(tmp_path):
    bench = Bench(tmp_path)
    of = {name: bench.key(Adaptation(DOMAINS[name], ("method=bn", OFF))) for name in ("dusk", "night", "black")}
    assert len({key["data"] for key in of.values()}) == 3
    assert bench.folder(FineTuning(DOMAINS["dusk"])) != bench.folder(Adaptation(DOMAINS["dusk"], ("method=bn", OFF)))


def test_a_result_under_another_key_is_not_taken(tmp_path):
    bench, run = Bench(tmp_path), Adaptation(DOMAINS["dusk"], ("method=source", OFF))
    file = bench.folder(run) / "result.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"key": {**bench.key(run), "data": "other"}}))
    assert bench.result(run) is None
    file.write_text(json.dumps({"key": bench.key(run)}))
    assert bench.result(run) is not None


def test_camvid_is_asked_for_where_it_is_missing(tmp_path):
    with pytest.raises(UserError, match="CamVid: expected the folder of its clips"):
        Bench(tmp_path).folder(Adaptation(DOMAINS["camvid-dusk"], ("method=bn", OFF)))


def test_a_job_leads_back_to_its_run(tmp_path):
    bench = Bench(tmp_path)
    for run in (Adaptation(DOMAINS["night"], ("method=stpl", OFF), 2), FineTuning(DOMAINS["night"], ("steps=3",), 1)):
        again, found = Bench.of_job(json.loads(json.dumps(bench.job(run))), tmp_path)
        assert found == run and again.key(found) == bench.key(run)


def test_all_tables_name_settings_that_exist(tmp_path):
    unknown = {
        (table.name, row.name): str(error)
        for table in TABLES.values()
        for domain, row, seed in table.runs()
        if (error := _refusal(table.run(domain, row, seed))) is not None
    }
    assert unknown == {}


def _refusal(run) -> str | None:
    try:
        assert run.config is not None
    except UserError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def street() -> InMemory:
    return InMemory(open_dataset("synthstreet:?domain=dusk&seed=500&sequences=2&frames=5&fps=3&size=240x320"))


def test_hostile_videos_show_what_they_say(street):
    assert not Black(street).frame(3).any()
    assert len(EightFrames(street)) == 8 and EightFrames(street).labelled() == list(range(8))
    assert EightFrames(street).previous(7) == 6
    with pytest.raises(IndexError):
        EightFrames(street).frame(8)
    road = Road(street)
    assert road.frame(0).shape == (48, 64, 3)
    assert (road.frame(2) == street.frame(2)[192:240, 128:192]).all()
    names = street.classes.names
    share = [float((road.label(i) == names.index("road")).mean()) for i in range(len(road))]
    assert min(share) > 0.9


def test_halves_part_the_labelled_frames_in_order(street):
    assert halves(street) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    part = Part(street, "some", labelled=[1, 2, 9])
    assert halves(part) == ([1, 2], [9])
    assert part.label(0) is None and part.label(9) is not None


def test_content_is_told_apart_by_pixels_and_labels(street):
    assert content_digest(street) == content_digest(street)
    assert content_digest(Part(street, "all")) == content_digest(street)
    assert content_digest(Part(street, "some", labelled=[1])) != content_digest(street)
    assert content_digest(Black(street)) != content_digest(street)
