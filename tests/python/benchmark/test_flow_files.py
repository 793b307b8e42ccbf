"""Stored flow: names, direction, own grid, and files that cannot be used."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.flow_files import cityscapes_flow_name, read_flow, synthia_flow_name, viper_flow_name
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.train.run import data_identity

from .conftest import write_flow

SPEC = stpl_rt.InputSpec(64, 32, mean=[0, 0, 0], std=[1, 1, 1])


def test_names():
    assert cityscapes_flow_name("frankfurt_000000", 294) == "frankfurt_000000_000294_000293_int16_x10.npy"
    assert viper_flow_name("001", 10) == "001_0001000009_int16_x10.npy"
    assert viper_flow_name("077", 100) == "077_0010000099_int16_x10.npy"
    assert synthia_flow_name(1) == "000001_int16_x10.npy"


def test_values_are_tenths_of_pixels(tmp_path):
    stored = np.zeros((2, 4, 2), np.int16)
    stored[1, 2] = [-15, 7]
    np.save(tmp_path / "f.npy", stored)
    flow = read_flow(tmp_path / "f.npy", 2.0)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow[1, 2], [-1.5, 0.7], rtol=1e-6)
    assert np.count_nonzero(flow) == 2


def test_each_data_set_finds_its_own(trees):
    folder = trees.root / "flow"
    write_flow(folder / "frankfurt_000000_000294_000293_int16_x10.npy", 1, 2, (32, 64))
    city = trees.cityscapes("val", {"frankfurt_000000": [294]})
    data = open_dataset(f"cityscapes-seq:{city}?flow={folder}")
    flow = data.stored_flow(data.labelled()[0])
    assert flow.shape == (32, 64, 2)  # on its own grid
    assert (flow == [1, 2]).all()
    assert [data.stored_flow(i) is None for i in range(4)] == [True, True, False, True]
    write_flow(folder / "001_0001000009_int16_x10.npy", 3, 0, (36, 64))
    viper = open_dataset(f"viper:{trees.viper({'001': [9, 10]}, {'001': [10]})}?flow={folder}")
    assert (viper.stored_flow(1) == [3, 0]).all()
    write_flow(folder / "000001_int16_x10.npy", 0, 4, (31, 63))
    synthia = open_dataset(f"synthia-seq:{trees.synthia([0, 1])}?flow={folder}")
    assert (InMemory(synthia).stored_flow(1) == [0, 4]).all()


def test_stored_flow_takes_the_place_of_computed_flow_scaled_to_the_networks_grid(trees):
    root = trees.cityscapes("val", {"lindau_000003": [19]}, after=0)
    folder = trees.root / "flow"
    write_flow(folder / "lindau_000003_000019_000018_int16_x10.npy", 1.5, -0.5, (16, 32))
    video = PreparedVideo(open_dataset(f"cityscapes-seq:{root}?flow={folder}&context=1"), SPEC)
    flow = video.flow(1)
    np.testing.assert_allclose(flow[0], 3.0)  # the grid is twice as fine on both axes
    np.testing.assert_allclose(flow[1], -1.0)


def test_the_direction_is_that_of_our_own_flow(trees):
    # The street moves a pixel to the left with every frame: what is at x in t was at x + 1 in t-1.
    root = trees.cityscapes("val", {"lindau_000003": [19]}, after=0)
    computed = PreparedVideo(
        open_dataset(f"cityscapes-seq:{root}?context=1"), stpl_rt.InputSpec(128, 64, mean=[0, 0, 0], std=[1, 1, 1])
    )
    assert 0.8 < float(computed.flow(1)[0].median()) < 1.2
    folder = trees.root / "flow"
    write_flow(folder / "lindau_000003_000019_000018_int16_x10.npy", 1.0, 0.0, (64, 128))
    data = open_dataset(f"cityscapes-seq:{root}?context=1&flow={folder}")
    warped = stpl_rt.warp(data.frame(0).astype(np.float32).transpose(2, 0, 1).copy(), data.stored_flow(1))
    np.testing.assert_array_equal(warped[:, :, :-1], data.frame(1).transpose(2, 0, 1)[:, :, :-1])


def test_missing_files_are_said_before_anything_is_trained(trees):
    root = trees.cityscapes("val", {"lindau_000003": [19], "munster_000001": [19]})
    folder = trees.root / "flow"
    write_flow(folder / "lindau_000003_000019_000018_int16_x10.npy", 0, 0, (16, 32))
    with pytest.raises(UserError, match=r"1 are missing, the first munster_000001_000019_000018_int16_x10.npy"):
        open_dataset(f"cityscapes-seq:{root}?flow={folder}")
    with pytest.raises(UserError, match=r"expected a folder at .*flaw, found nothing there"):
        open_dataset(f"cityscapes-seq:{root}?flow={trees.root / 'flaw'}")
    unlabelled = trees.viper({"001": [9, 10]}, {})
    with pytest.raises(UserError, match=r"named as 001_0001000009_int16_x10.npy; found 1 files, none of this"):
        open_dataset(f"viper:{unlabelled}?flow={folder}")


def whole(tmp_path) -> bytes:
    write_flow(tmp_path / "whole.npy", 1, 1, (8, 16))
    return (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize("kept", [0, 5, 70, 200, -1])
def test_truncated_files(tmp_path, kept):
    path = tmp_path / "cut.npy"
    path.write_bytes(whole(tmp_path)[:kept])
    with pytest.raises(UserError, match=r"cannot read flow .*cut.npy: expected a complete .npy file"):
        read_flow(path, 2.0)


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "f.npy"
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(UserError, match="cannot read flow"):
        read_flow(path, 2.0)
    np.save(path, np.array([Harmful()], object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot read flow"):
        read_flow(path, 2.0)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 16, 2), np.float32), r"found float32 of shape \(8, 16, 2\)"),
        (np.zeros((8, 16), np.int16), r"found int16 of shape \(8, 16\)"),
        (np.zeros((2, 8, 16), np.int16), r"found int16 of shape \(2, 8, 16\)"),
        (np.zeros((0, 16, 2), np.int16), r"found int16 of shape \(0, 16, 2\)"),
        (np.zeros((16, 8, 2), np.int16), "expected the frame's aspect ratio, 2.000; found 8x16, 0.500"),
    ],
)
def test_other_arrays(tmp_path, array, message):
    np.save(tmp_path / "f.npy", array)
    with pytest.raises(UserError, match=message):
        read_flow(tmp_path / "f.npy", 2.0)


def test_archives_and_missing_files(tmp_path):
    np.savez(tmp_path / "f.npz", a=np.zeros(3))
    with pytest.raises(UserError, match="found an archive"):
        read_flow(tmp_path / "f.npz", 2.0)
    with pytest.raises(UserError, match="no such file"):
        read_flow(tmp_path / "none.npy", 2.0)


def test_stored_flow_and_labels_are_part_of_what_data_is_told_by(trees):
    folder = trees.root / "flow"
    flow = folder / "lindau_000003_000019_000018_int16_x10.npy"
    write_flow(flow, 1.5, -0.5, (16, 32))
    root = trees.cityscapes("val", {"lindau_000003": [19]}, after=0)

    def identity(options: str = f"?flow={folder}", *, labels: bool = True, flow: bool = True) -> str:
        data = InMemory(open_dataset(f"cityscapes-seq:{root}{options}"))
        return data_identity(data, labels=labels, flow=flow)

    before = identity()
    assert identity() == before != identity("")
    neither, unlabelled = identity(labels=False, flow=False), identity(labels=False)
    write_flow(folder / "zurich_000000_000019_000018_int16_x10.npy", 0, 0, (16, 32))  # of no frame of this data
    assert identity() == before
    write_flow(flow, 0, 0, (16, 32))
    changed = identity()
    assert changed != before and identity(labels=False) != unlabelled
    assert identity(labels=False, flow=False) == neither
    (label,) = root.rglob("*_labelIds.png")
    os.utime(label, ns=(0, 0))
    assert identity() != changed and identity(labels=False, flow=False) == neither
    moved = identity()
    (trees.root / "moved").mkdir()
    root = root.rename(trees.root / "moved" / root.name)
    assert identity() == moved
