"""The benchmarks' data sets: every id by hand, names and neighbours, sizes, the ego car."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stpl.data.batches import PreparedVideo
from stpl.data.benchmark_classes import CITYSCAPES, SYNTHIA, VIPER
from stpl.data.label_png import read_first_channel
from stpl.data.specs import open_dataset
from stpl.data.viper import ego_car
from stpl.errors import UserError
from stpl_rt import InputSpec

# Training id of every id that occurs in the files; written out from the published lists, X is "ignore".
X = 255
VIPER_IDS = {
    **{0: X, 1: X, 2: 8, 3: 0, 4: 1, 5: X, 6: 7, 7: 6, 8: 6, 9: 2, 10: X, 11: 3, 12: X, 13: 4, 14: 5, 15: X},
    **{16: X, 17: X, 18: X, 19: X, 20: 9, 21: X, 22: 14, 23: 13, 24: 10, 25: X, 26: 12, 27: 11, 28: X, 29: X},
    **{30: X, 31: X, 255: X},
}
SYNTHIA_IDS = {
    **{0: X, 1: 8, 2: 2, 3: 0, 4: 1, 5: 3, 6: 7, 7: 4, 8: 11, 9: 6, 10: 9, 11: 10, 12: X, 13: X, 14: X, 15: 5},
    **{16: X, 17: X, 18: X, 19: X, 20: X, 21: X, 22: X, 255: X},
}
CITYSCAPES_IDS_FOR_VIPER = {
    **{0: X, 1: X, 2: X, 3: X, 4: X, 5: X, 6: X, 7: 0, 8: 1, 9: X, 10: X, 11: 2, 12: X, 13: 3, 14: X, 15: X, 16: X},
    **{17: X, 18: X, 19: 4, 20: 5, 21: 6, 22: 7, 23: 8, 24: 9, 25: 9, 26: 10, 27: 11, 28: 12, 29: X, 30: X, 31: X},
    **{32: 13, 33: 14, 255: X},
}
CITYSCAPES_IDS_FOR_SYNTHIA = {
    **{0: X, 1: X, 2: X, 3: X, 4: X, 5: X, 6: X, 7: 0, 8: 1, 9: X, 10: X, 11: 2, 12: X, 13: 3, 14: X, 15: X, 16: X},
    **{17: 4, 18: X, 19: 5, 20: 6, 21: 7, 22: X, 23: 8, 24: 9, 25: 10, 26: 11, 27: X, 28: X, 29: X, 30: X, 31: X},
    **{32: X, 33: X, 255: X},
}
CITYSCAPES_IDS = {
    **{0: X, 1: X, 2: X, 3: X, 4: X, 5: X, 6: X, 7: 0, 8: 1, 9: X, 10: X, 11: 2, 12: 3, 13: 4, 14: X, 15: X, 16: X},
    **{17: 5, 18: X, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 29: X, 30: X},
    **{31: 16, 32: 17, 33: 18, 255: X},
}


def every_id(ids: dict[int, int], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A label of 4x4 blocks in which every id occurs, and what it should be read as."""
    order = np.array([*ids])
    stored = np.kron(np.resize(order, (height // 4, width // 4)), np.ones((4, 4), int))
    return stored.astype(np.uint8), np.vectorize(ids.get)(stored).astype(np.uint8)


@pytest.mark.parametrize(
    ("classes", "ids"),
    [("viper", CITYSCAPES_IDS_FOR_VIPER), ("synthia", CITYSCAPES_IDS_FOR_SYNTHIA), ("cityscapes", CITYSCAPES_IDS)],
)
def test_every_id_of_cityscapes(trees, classes, ids):
    root = trees.cityscapes("val", {"lindau_000003": [19]}, before=1, after=0)
    stored, expected = every_id(ids, 64, 128)
    file = root / "gtFine/val/lindau/lindau_000003_000019_gtFine_labelIds.png"
    PIL.Image.fromarray(stored).save(file)
    data = open_dataset(f"cityscapes-seq:{root}?classes={classes}")
    np.testing.assert_array_equal(data.label(1), expected)
    half = open_dataset(f"cityscapes-seq:{root}?classes={classes}&size=32x64")
    np.testing.assert_array_equal(half.label(1), expected[1::2, 1::2])  # nearest, of blocks of two by two


def test_every_id_of_viper(trees):
    root = trees.viper({"001": [9, 10]}, {"001": [10]})
    stored, expected = every_id(VIPER_IDS, 720, 1280)
    stored[-4:, 640:644], expected[-4:, 640:644] = 0, X  # no ego car here
    palette = PIL.Image.fromarray(stored)
    palette.putpalette([255 - i // 3 for i in range(768)])  # what counts is the index
    palette.save(root / "train/cls/001/001_00010.png")
    PIL.Image.fromarray(np.zeros((720, 1280, 3), np.uint8)).save(root / "train/img/001/001_00010.jpg")
    data = open_dataset(f"viper:{root}")
    np.testing.assert_array_equal(data.label(1), expected)


def test_every_id_of_synthia(trees):
    from .conftest import write_png16

    root = trees.synthia([0, 1])
    ids = {**SYNTHIA_IDS, 256: X, 700: X, 65535: X}
    order = np.resize(np.array([*ids]), (190, 320))
    first = np.kron(order, np.ones((4, 4))).astype(np.uint16)
    colours = np.stack([first, np.full_like(first, 3), np.full_like(first, 8)], axis=-1)
    write_png16(root / "SEQS-04-DAWN/label/000001.png", colours)
    PIL.Image.fromarray(np.zeros((760, 1280, 3), np.uint8)).save(root / "SEQS-04-DAWN/rgb/000001.png")
    expected = np.vectorize(ids.get)(first).astype(np.uint8)[:640]
    np.testing.assert_array_equal(open_dataset(f"synthia-seq:{root}").label(1), expected)


def test_classes_are_those_of_the_target_by_the_same_names_and_colours():
    assert VIPER.class_set() == CITYSCAPES["viper"].class_set()
    assert SYNTHIA.class_set() == CITYSCAPES["synthia"].class_set()
    assert (len(VIPER.ids), len(SYNTHIA.ids), len(CITYSCAPES["cityscapes"].ids)) == (15, 12, 19)
    assert list(SYNTHIA.ids)[3] == "fence"
    assert SYNTHIA.class_set().colors[10] == (255, 0, 0)


def test_cityscapes_neighbours_are_those_of_the_same_snippet(trees):
    root = trees.cityscapes("val", {"frankfurt_000000": [294, 576], "frankfurt_000001": [7], "lindau_000003": [19]})
    data = open_dataset(f"cityscapes-seq:{root}?classes=viper")
    assert len(data) == 16
    assert data.sequences == [
        *("frankfurt_000000_000292", "frankfurt_000000_000574", "frankfurt_000001_000005", "lindau_000003_000017")
    ]
    labelled = data.labelled()
    assert [data.frame_id(i).name for i in labelled] == [
        *("frankfurt_000000_000294_leftImg8bit", "frankfurt_000000_000576_leftImg8bit"),
        *("frankfurt_000001_000007_leftImg8bit", "lindau_000003_000019_leftImg8bit"),
    ]
    assert [data.previous(i) for i in labelled] == [1, 5, 9, 13]
    assert data.previous(4) is None  # 574 does not follow 295
    assert data.label(0) is None
    pair = open_dataset(f"cityscapes-seq:{root}?context=1")
    assert [pair.frame_id(i).name[-18:-12] for i in range(len(pair))] == [
        *("000293", "000294", "000575", "000576", "000006", "000007", "000018", "000019")
    ]
    assert PreparedVideo(pair, InputSpec(32, 16, mean=[0, 0, 0], std=[1, 1, 1])).pairs == [1, 3, 5, 7]
    assert len(open_dataset(f"cityscapes-seq:{root}?context=2")) == 12


def test_viper_lists_annotated_frames_that_end_in_0_of_sequences_1_to_77(trees):
    frames = {"001": [9, 10, 11, 19, 20], "077": [30], "078": [9, 10], "000": [10]}
    root = trees.viper(frames, {"001": [9, 10, 11, 20], "077": [30], "078": [10], "000": [10]})
    data = open_dataset(f"viper:{root}")
    names = [data.frame_id(i).name for i in range(len(data))]
    assert names == ["001_00009", "001_00010", "001_00011", "001_00019", "001_00020", "077_00030"]
    assert data.labelled() == [1, 4, 5]
    assert [data.previous(i) for i in data.labelled()] == [0, 3, None]


def test_synthia_lists_frames_1_to_849(trees):
    data = open_dataset(f"synthia-seq:{trees.synthia([0, 1, 2, 849, 850])}")
    assert [data.frame_id(i).name for i in data.labelled()] == ["000001", "000002", "000849"]
    assert [data.previous(i) for i in range(5)] == [None, 0, 1, None, 3]


def test_sizes(trees):
    viper = open_dataset(f"viper:{trees.viper({'001': [9, 10]}, {'001': [10]})}")
    assert viper.frame(0).shape == (720, 1280, 3)
    assert viper.label(1).shape == (720, 1280)
    synthia = open_dataset(f"synthia-seq:{trees.synthia([0, 1])}")
    assert synthia.frame(0).shape == (640, 1280, 3)
    assert synthia.label(1).shape == (640, 1280)
    stored = np.asarray(PIL.Image.open(trees.root / "SynthiaSeq/SEQS-04-DAWN/rgb/000001.png"))
    whole = np.asarray(PIL.Image.fromarray(stored).resize((1280, 760), PIL.Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(synthia.frame(1), whole[:640])  # the bottom goes, not the top
    root = trees.cityscapes("train", {"ulm_000000": [19]}, after=0)
    as_stored, brought = (open_dataset(f"cityscapes-seq:{root}?split=train{size}") for size in ("", "&size=32x64"))
    assert as_stored.frame(0).shape == (64, 128, 3)
    expected = PIL.Image.fromarray(as_stored.frame(0)).resize((64, 32), PIL.Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(brought.frame(0), np.asarray(expected))


def test_the_ego_car_is_the_8_connected_region_of_the_bottom_centre():
    drawn = """
        . . C . . . C
        C C . . . . C
        . C . C . . .
        . . C C . C .
        . . . C C . .
        C C . C . . C
    """
    expected = """
        . . C . . . .
        C C . . . . .
        . C . C . . .
        . . C C . C .
        . . . C C . .
        . . . C . . .
    """

    def cars(text: str) -> np.ndarray:
        return np.array([[cell == "C" for cell in row.split()] for row in text.strip().splitlines()])

    ids = np.where(cars(drawn), 24, 7).astype(np.uint8)
    np.testing.assert_array_equal(ego_car(ids), cars(expected))
    ids[-1, 3] = 7  # no car in the bottom centre: every car stays
    assert not ego_car(ids).any()


def test_the_ego_car_is_ignored_in_the_label(trees):
    root = trees.viper({"001": [9, 10]}, {"001": [10]})
    stored = np.full((72, 128), 3, np.uint8)
    stored[60:, 40:90] = 24
    stored[10:20, 10:20] = 24
    PIL.Image.fromarray(stored).save(root / "train/cls/001/001_00010.png")
    label = open_dataset(f"viper:{root}").label(1)
    assert (label[600:, 400:900] == 255).all()
    assert (label[100:200, 100:200] == 10).all()
    assert (label == 255).sum() == 120 * 500


def test_labels_that_would_be_misread_are_refused(trees, tmp_path):
    root = trees.cityscapes("val", {"lindau_000003": [19]}, before=0)
    label = root / "gtFine/val/lindau/lindau_000003_000019_gtFine_labelIds.png"
    PIL.Image.fromarray(np.zeros((32, 64), np.uint8)).save(label)
    with pytest.raises(UserError, match="expected the size of its frame, 128x64, found 64x32"):
        open_dataset(f"cityscapes-seq:{root}").label(0)
    cut = trees.synthia([0, 1]) / "SEQS-04-DAWN/label/000001.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    with pytest.raises(UserError, match="expected a complete PNG"):
        open_dataset(f"synthia-seq:{cut.parents[2]}").label(1)
    with pytest.raises(UserError, match="no such file"):
        read_first_channel(tmp_path / "none.png")
    palette = PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
    palette.save(tmp_path / "palette.png")
    with pytest.raises(UserError, match="pixel format 'pal8'"):
        read_first_channel(tmp_path / "palette.png")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cityscapes-seq:ROOT?splt=val", "unknown key of format cityscapes-seq 'splt': did you mean 'split'"),
        ("cityscapes-seq:ROOT?split=test", "unknown split of cityscapes-seq 'test'.*Expected one of: train, val"),
        ("cityscapes-seq:ROOT?classes=vipr", "unknown class list of cityscapes-seq 'vipr': did you mean 'viper'"),
        ("cityscapes-seq:ROOT?size=512", "size: expected HEIGHTxWIDTH, as in 512x1024; found '512'"),
        ("cityscapes-seq:ROOT?context=0", "context: expected how many frames before each labelled one"),
        ("cityscapes-seq:ROOT?split=train", "expected a folder at .*leftImg8bit_sequence/train, found nothing there"),
        ("viper:ROOT?split=train", "unknown key of format viper 'split'"),
        ("viper:ROOT", "expected a folder at .*train/img, found nothing there"),
        ("synthia-seq:ROOT?flw=x", "unknown key of format synthia-seq 'flw': did you mean 'flow'"),
        ("synthia-seq:ROOT", "expected a folder at .*SEQS-04-DAWN/rgb, found nothing there"),
        ("viper:", "expected a folder after 'viper:', found nothing; as in viper:data/Viper"),
        ("viper:/nowhere", "expected the folder of the data set at /nowhere, found nothing"),
        ("cityscapes:ROOT", "unknown data format 'cityscapes': did you mean 'cityscapes-seq'"),
    ],
)
def test_mistakes_are_named(trees, spec, message):
    root = trees.cityscapes("val", {"lindau_000003": [19]}, before=0)
    with pytest.raises(UserError, match=message):
        open_dataset(spec.replace("ROOT", str(root)))


def test_context_needs_labels_to_choose_by(trees):
    root = trees.viper({"001": [9, 10]}, {})
    with pytest.raises(UserError, match="expected labelled frames to choose by context=1; found none"):
        open_dataset(f"viper:{root}?context=1")
    assert len(open_dataset(f"viper:{root}")) == 2
    assert Path(root).is_dir()
