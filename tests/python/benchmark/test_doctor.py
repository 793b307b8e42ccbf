"""`stpl-adapt doctor --data`: what a data root lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stpl.cli.main import run
from stpl.data import cityscapes_seq
from stpl.data.inspection import Finding, inspect
from stpl.data.synthia_seq import SynthiaSeq
from stpl.data.viper import Viper
from stpl.errors import UserError

from .conftest import Trees, write_flow, write_picture


def by_name(spec: str) -> dict[str, Finding]:
    return {finding.what: finding for finding in inspect(spec)}


def incomplete(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.complete is False}


@pytest.fixture
def city(trees: Trees) -> Path:
    return trees.cityscapes("val", {"frankfurt_000000": [294], "lindau_000003": [19], "munster_000001": [19]})


@pytest.fixture
def small_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A published list of one frame a city."""
    monkeypatch.setitem(cityscapes_seq.SPLITS, "val", {"frankfurt": 1, "lindau": 1, "munster": 1})


@pytest.mark.usefixtures("small_list")
def test_a_complete_root(city: Path) -> None:
    found = by_name(f"cityscapes-seq:{city}?split=val&classes=viper&context=1")
    assert incomplete(found) == set()
    assert found["labels"].detail == "3 of 3 in the published list"
    assert found["frames t-1"].detail == "3 of 3 labelled frames have theirs"
    assert found["first files"].detail == "frame and label can be read, 128x64"
    assert "computed" in found["stored flow"].detail


def test_labels_are_counted_by_city(city: Path) -> None:
    found = by_name(f"cityscapes-seq:{city}")
    assert incomplete(found) == {"labels"}
    assert found["labels"].detail == "3 of 500 in the published list"
    assert found["labels"].missing == ("frankfurt 1 of 267", "lindau 1 of 59", "munster 1 of 174")


@pytest.mark.usefixtures("small_list")
def test_missing_frames_and_predecessors_are_named(city: Path) -> None:
    folder = city / "leftImg8bit_sequence" / "val"
    (folder / "frankfurt" / "frankfurt_000000_000293_leftImg8bit.png").unlink()
    found = by_name(f"cityscapes-seq:{city}")
    assert incomplete(found) == {"frames t-1"}
    assert found["frames t-1"].missing == ("frankfurt_000000_000293_leftImg8bit.png",)
    (folder / "munster" / "munster_000001_000019_leftImg8bit.png").unlink()
    found = by_name(f"cityscapes-seq:{city}")
    assert incomplete(found) == {"frames", "labels", "frames t-1"}
    assert found["frames"].missing == ("munster_000001_000019_gtFine_labelIds.png",)


def test_missing_folders_are_named_with_what_to_put_there(trees: Trees, tmp_path: Path) -> None:
    root = trees.viper({"001": [9, 10]}, {})
    found = by_name(f"viper:{root}")
    assert incomplete(found) == {"folder of labels", "labels"}
    assert f"expected a folder at {root / 'train/cls'}" in found["folder of labels"].detail
    assert "semantic class labels" in found["folder of labels"].remedy
    nothing = by_name(f"cityscapes-seq:{tmp_path}?split=train")
    assert incomplete(nothing) == {"folder of frames", "folder of labels"}
    assert "leftImg8bit_sequence/train" in nothing["folder of frames"].detail
    with pytest.raises(UserError, match="did you mean 'split'"):
        inspect(f"cityscapes-seq:{trees.cityscapes('val', {'lindau_000003': [19]})}?splt=val")


@pytest.mark.usefixtures("small_list")
def test_stored_flow_is_counted_and_read(city: Path, trees: Trees) -> None:
    folder = trees.root / "flow"
    write_flow(folder / "frankfurt_000000_000294_000293_int16_x10.npy", 0, 0, (16, 32))
    spec = f"cityscapes-seq:{city}?flow={folder}"
    flow = by_name(spec)["stored flow"]
    assert flow.complete is False
    assert flow.detail == f"1 of 3 files in {folder}, the first 32x16"
    assert flow.missing[0] == "lindau_000003_000019_000018_int16_x10.npy"
    for name in flow.missing:
        write_flow(folder / name, 0, 0, (16, 32))
    assert incomplete(by_name(spec)) == set()
    (folder / "frankfurt_000000_000294_000293_int16_x10.npy").write_bytes(b"\x93NUMPY")
    assert "cannot read flow" in by_name(spec)["stored flow"].detail
    assert "expected a folder" in by_name(f"cityscapes-seq:{city}?flow=/nowhere")["stored flow"].detail


def test_viper_and_synthia(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Viper, "published", {"train": 2})
    monkeypatch.setattr(SynthiaSeq, "published", {"SEQS-04-DAWN": 2})
    viper = by_name(f"viper:{trees.viper({'001': [8, 9, 10], '002': [20]}, {'001': [10], '002': [20]})}")
    assert incomplete(viper) == {"frames t-1"}
    assert viper["frames t-1"].missing == ("002_00019.jpg",)
    root = trees.synthia([0, 1, 2])
    assert incomplete(by_name(f"synthia-seq:{root}")) == set()
    (root / "SEQS-04-DAWN" / "label" / "000001.png").write_bytes(b"")
    assert incomplete(by_name(f"synthia-seq:{root}")) == {"first files"}


def test_other_formats(tmp_path: Path) -> None:
    generated = by_name("synthstreet:?sequences=1&frames=3&size=48x64")
    assert incomplete(generated) == set()
    assert generated["frames t-1"].detail == "2 of 3 frames have theirs"
    root = tmp_path / "town"
    write_picture(root / "a" / "frames" / "1.png", np.zeros((8, 8, 3), np.uint8))
    alone = by_name(f"folder:{root}")
    assert incomplete(alone) == {"frames t-1"}
    assert "consecutive frames" in alone["frames t-1"].remedy
    write_picture(root / "a" / "frames" / "2.png", np.zeros((8, 8, 3), np.uint8))
    (root / "dataset.yaml").write_text(
        "classes: [{id: 0, name: road, color: [0, 0, 0]}]\nsequences: {a: {frames: 5}, b: {}}\n"
    )
    promised = by_name(f"folder:{root}")
    assert incomplete(promised) == {"frames"}
    assert len(promised["frames"].missing) == 2


def test_the_commands_exit_status(
    city: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("stpl.cli.doctor.CHECKS", ())
    spec = f"cityscapes-seq:{city}?split=val"
    assert run(["doctor", "--data", spec]) == 2
    said = " ".join(capfd.readouterr().out.split())  # a long folder's name wraps
    assert "missing 3: frankfurt 1 of 267, lindau 1 of 59, munster 1 of 174" in said
    assert "not complete" in said
    monkeypatch.setitem(cityscapes_seq.SPLITS, "val", {"frankfurt": 1, "lindau": 1, "munster": 1})
    assert run(["doctor", "--data", spec]) == 0
    assert "not complete" not in capfd.readouterr().out
    picture = city / "leftImg8bit_sequence/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png"
    PIL.Image.new("RGB", (8, 8)).save(picture)
    assert run(["doctor", "--data", spec]) == 2
    assert "expected the size of its frame" in " ".join(capfd.readouterr().out.split())
