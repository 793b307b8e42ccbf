"""The `folder` layout: what is found, in which order, what labels become, and what each mistake gets."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stpl.data.dataset import FrameId
from stpl.data.folder import FolderDataset, natural_key
from stpl.data.specs import open_dataset
from stpl.errors import UserError


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)


def test_frames_come_sequence_by_sequence_in_natural_order(write_folder, number_in):
    data = FolderDataset(write_folder({"day_10": 2, "day_2": 12}))
    assert data.sequences == ["day_2", "day_10"]
    assert len(data) == 14
    assert [number_in(data.frame(i)) for i in range(14)] == [*range(1, 13), 1, 2]
    assert data.frame_id(9) == FrameId("day_2", "10", 9)
    assert data.frame_id(13) == FrameId("day_10", "2", 1)
    assert [data.previous(i) for i in range(14)] == [None, *range(11), None, 12]
    assert data.frame(0).shape == (32, 128, 3)
    assert data.frame(0).dtype == np.uint8


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["f10", "f2", "f1"], ["f1", "f2", "f10"]),
        (["2", "a", "10", "1b"], ["1b", "2", "10", "a"]),
        (["s1_f10", "s1_f9", "s10_f1", "s2_f1"], ["s1_f9", "s1_f10", "s2_f1", "s10_f1"]),
        (["0010", "0009", "00011"], ["0009", "0010", "00011"]),
    ],
)
def test_natural_order(names, expected):
    assert sorted(names, key=natural_key) == expected


def test_the_files_that_are_read_are_known(write_folder):
    data = FolderDataset(write_folder({"day_1": 2}))
    frames, everything = data.files(), data.files(labels=True)
    assert [file.parent.name for file in frames] == ["frames"] * 2
    assert [file.name for file in everything if file not in frames] == ["1.png", "2.png", "dataset.yaml"]


def test_labels_become_training_ids_in_the_order_of_the_classes(write_folder):
    data = FolderDataset(write_folder({"day_1": 2}))
    label = data.label(0)
    assert label is not None
    assert label.dtype == np.uint8
    assert label.shape == (32, 128)
    # written as stripes of 7, 8, 3, 9 (ignore), moved by one pixel; 7 is the first class listed
    np.testing.assert_array_equal(label[5], np.roll(np.repeat([0, 1, 2, 255], 32), 1))
    assert data.classes is not None
    assert data.classes.names == ("road", "car", "sky")
    assert data.classes.colors[2] == (70, 130, 180)


def test_palette_labels_are_read_by_index_not_by_colour(write_folder):
    root = write_folder({"day_1": 1})
    file = root / "day_1/labels/1.png"
    expected = FolderDataset(root).label(0)
    with PIL.Image.open(file) as grey:
        palette = PIL.Image.frombytes("P", grey.size, grey.tobytes())
    palette.putpalette([200, 30, 40] * 256)
    palette.save(file)
    np.testing.assert_array_equal(FolderDataset(root).label(0), expected)


def test_frames_without_label_are_frames_all_the_same(write_folder):
    root = write_folder({"day_1": 3, "dusk_1": 2})
    (root / "day_1/labels/2.png").unlink()
    (root / "dusk_1/labels/1.png").unlink()
    data = FolderDataset(root)
    assert data.labelled() == [0, 2, 4]
    assert data.label(1) is None
    assert data.frame(1).shape == (32, 128, 3)


def test_sequences_are_chosen_by_patterns(write_folder):
    root = write_folder({"day_1": 1, "day_2": 1, "dusk_1": 1, "dusk_2": 1})
    assert FolderDataset(root, ["dusk_*", "day_2"]).sequences == ["day_2", "dusk_1", "dusk_2"]
    assert open_dataset(f"folder:{root}?sequences=d?y_1,*_2").sequences == ["day_1", "day_2", "dusk_2"]
    assert open_dataset(f"folder:{root}?sequences=dusk%5F1").sequences == ["dusk_1"]


def test_frame_rate_is_that_of_the_chosen_sequences(write_folder):
    root = write_folder({"day_1": 1, "dusk_1": 1, "night": 1})
    assert FolderDataset(root, ["day_1"]).fps == 25
    assert FolderDataset(root, ["dusk_1"]).fps == 15
    assert FolderDataset(root).fps is None
    assert FolderDataset(root, ["night"]).fps is None


def test_one_sequence_may_lie_directly_in_the_root(tmp_path):
    grey = np.zeros((4, 6), np.uint8)
    for name in ("3.jpg", "20.PNG", "100.jpeg"):
        save(tmp_path / "a" / name, grey)
        save(tmp_path / "b" / "frames" / name, grey)
    for name in ("a", "b"):
        data = FolderDataset(tmp_path / name)
        assert data.sequences == [name]
        assert [data.frame_id(i).name for i in range(3)] == ["3", "20", "100"]
        assert data.classes is None
        assert data.labelled() == []
        assert data.frame(1).shape == (4, 6, 3)


def test_pictures_of_other_kinds_become_rgb(tmp_path):
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    save(tmp_path / "1.png", grey)
    save(tmp_path / "2.png", np.dstack([grey, grey + 1, grey + 2, np.full_like(grey, 99)]))
    data = FolderDataset(tmp_path)
    np.testing.assert_array_equal(data.frame(0), np.dstack([grey] * 3))
    np.testing.assert_array_equal(data.frame(1), np.dstack([grey, grey + 1, grey + 2]))


def test_hidden_files_are_no_frames(write_folder):
    root = write_folder({"day_1": 2})
    (root / "day_1/frames/._1.png").write_bytes(b"resource fork")
    (root / "day_1/frames/notes.txt").write_text("hello")
    assert len(FolderDataset(root)) == 2


def test_dataset_can_be_pickled(write_folder):
    data = pickle.loads(pickle.dumps(FolderDataset(write_folder({"day_1": 2}))))
    np.testing.assert_array_equal(data.label(1)[0, :4], [255, 255, 0, 0])


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_index_out_of_range(write_folder, index):
    data = FolderDataset(write_folder({"day_1": 2}))
    for ask in (data.frame, data.label, data.frame_id, data.previous, data.exact_flow):
        with pytest.raises(IndexError, match=f"0 to 1, found {index}"):
            ask(index)


# Mistakes


def test_missing_root():
    with pytest.raises(UserError, match="expected a folder of frames at /nowhere/town, found nothing there"):
        FolderDataset("/nowhere/town")


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "town").write_text("")
    with pytest.raises(UserError, match="found a file there"):
        FolderDataset(tmp_path / "town")


def test_empty_folder(tmp_path):
    with pytest.raises(UserError, match=r"no frames under .*: expected <sequence>/frames/\*\.jpg"):
        FolderDataset(tmp_path)


def test_sequence_without_frames(write_folder):
    root = write_folder({"day_1": 1, "day_2": 0})
    with pytest.raises(UserError, match=r"no frames in .*day_2/frames: expected \*\.jpg or \*\.png"):
        FolderDataset(root)


def test_two_files_for_one_frame(write_folder):
    root = write_folder({"day_1": 2})
    save(root / "day_1/frames/2.jpg", np.zeros((32, 128, 3), np.uint8))
    with pytest.raises(UserError, match=r"expected one file for each frame in .*, found more than one named '2'"):
        FolderDataset(root)


def test_pattern_that_matches_nothing_names_the_nearest(write_folder):
    root = write_folder({"day_1": 1, "dusk_0001TP": 1})
    with pytest.raises(
        UserError, match=r"'dusk_001TP': did you mean 'dusk_0001TP'.* Expected one of: day_1, dusk_0001"
    ):
        open_dataset(f"folder:{root}?sequences=dusk_001TP")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_frame_is_named(write_folder, suffix):
    root = write_folder({"day_1": 1})
    file = root / f"day_1/frames/2.{suffix}"
    save(file, np.random.default_rng(0).integers(0, 256, (32, 128, 3)).astype(np.uint8))
    file.write_bytes(file.read_bytes()[:3000])
    data = FolderDataset(root)
    with pytest.raises(UserError, match=rf"frames/2\.{suffix}: expected a complete JPEG or PNG, found: .*truncated"):
        data.frame(1)


def test_frame_that_is_no_picture(write_folder):
    root = write_folder({"day_1": 1})
    (root / "day_1/frames/1.png").write_text("text")
    with pytest.raises(UserError, match="found: not a picture"):
        FolderDataset(root).frame(0)


def test_frame_that_vanished(write_folder):
    root = write_folder({"day_1": 1})
    data = FolderDataset(root)
    (root / "day_1/frames/1.png").unlink()
    with pytest.raises(UserError, match=r"frames/1\.png: no such file"):
        data.frame(0)


def test_frame_of_another_type(write_folder):
    root = write_folder({"day_1": 1})
    save(root / "day_1/frames/1.png", np.full((32, 128), 60_000, np.uint16))
    with pytest.raises(UserError, match=r"frames/1\.png: expected 8 bits a channel, found pixel format 'I;16'"):
        FolderDataset(root).frame(0)


def test_labels_outside_the_class_list(write_folder):
    root = write_folder({"day_1": 1})
    ids = np.full((32, 128), 7, np.uint8)
    ids[3, :2], ids[4, 5] = 42, 0
    save(root / "day_1/labels/1.png", ids)
    message = r"labels/1\.png: found ids outside the class list: 0, 42; expected 3, 7, 8 and 9 \(ignore\)"
    with pytest.raises(UserError, match=message):
        FolderDataset(root).label(0)


def test_label_of_another_size(write_folder):
    root = write_folder({"day_1": 1})
    save(root / "day_1/labels/1.png", np.full((16, 64), 7, np.uint8))
    with pytest.raises(UserError, match=r"labels/1\.png: expected the size of its frame, 128x32, found 64x16"):
        FolderDataset(root).label(0)


def test_colours_instead_of_ids(write_folder):
    root = write_folder({"day_1": 1})
    save(root / "day_1/labels/1.png", np.zeros((32, 128, 3), np.uint8))
    with pytest.raises(UserError, match="expected an 8-bit grey or palette PNG of class ids, found 8-bit RGB"):
        FolderDataset(root).label(0)


def test_label_of_few_bits_would_be_read_as_other_ids(write_folder):
    root = write_folder({"day_1": 1})
    PIL.Image.fromarray(np.zeros((32, 128), bool)).save(root / "day_1/labels/1.png")
    with pytest.raises(UserError, match="found 1-bit grey"):
        FolderDataset(root).label(0)


@pytest.mark.parametrize(("content", "message"), [(b"text", "not a picture"), (None, "truncated|complete")])
def test_damaged_label_is_named(write_folder, content, message):
    root = write_folder({"day_1": 1})
    file = root / "day_1/labels/1.png"
    if content is None:
        save(file, np.random.default_rng(0).choice([3, 7, 8], (32, 128)).astype(np.uint8))
        content = file.read_bytes()[:200]
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"labels/1\.png: .*({message})"):
        FolderDataset(root).label(0)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damage_anywhere_is_the_users_error_or_none(tmp_path, suffix):
    rng = np.random.default_rng(0)
    file = tmp_path / f"1.{suffix}"
    save(file, rng.integers(0, 256, (24, 32)).astype(np.uint8))
    intact = file.read_bytes()
    data = FolderDataset(tmp_path)
    refusals = []
    for _ in range(300):
        content = bytearray(intact)
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        file.write_bytes(content[: rng.integers(1, len(content))])
        try:
            data.frame(0)
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(str(file) in refusal for refusal in refusals)


def test_label_that_is_a_jpeg_under_another_name(write_folder):
    root = write_folder({"day_1": 1})
    save(root / "day_1/labels/2.jpg", np.full((32, 128), 7, np.uint8))
    (root / "day_1/labels/2.jpg").rename(root / "day_1/labels/1.png")
    with pytest.raises(UserError, match="expected a PNG, found a JPEG file"):
        FolderDataset(root).label(0)


def test_labels_named_otherwise_than_all_frames(write_folder):
    root = write_folder({"day_1": 2})
    for file in (root / "day_1/labels").iterdir():
        file.rename(file.with_name(f"gt_{file.name}"))
    with pytest.raises(UserError, match=r"no label in .* has a frame of the same name: found gt_1\.png and 1 more"):
        FolderDataset(root)


def test_labels_without_their_meaning_are_not_used(write_folder, caplog):
    root = write_folder({"day_1": 2})
    (root / "dataset.yaml").unlink()
    data = FolderDataset(root)
    assert data.labelled() == []
    assert "no dataset.yaml that says what they mean" in caplog.text
    with pytest.raises(UserError, match="expected labelled frames, found 2 frames without labels"):
        open_dataset(f"folder:{root}", need_labels=True)


def test_incomplete_copy_is_used_with_a_warning(write_folder, caplog):
    root = write_folder({"day_1": 2})
    text = (root / "dataset.yaml").read_text().replace("domain: day}", "frames: 5}")
    (root / "dataset.yaml").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert len(FolderDataset(root)) == 2
    assert "expected 5 frames in 'day_1' (dataset.yaml), found 2" in caplog.text
    assert "lists sequence 'dusk_1', which is not there" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ignore_index", "ignore_indx", "unknown key 'ignore_indx': did you mean 'ignore_index'"),
        ("color: [0, 0", "colour: [0, 0", r"unknown key 'classes\.1\.colour': did you mean 'classes.1.color'"),
        ("fps: 15", "fsp: 15", r"unknown key 'sequences\.dusk_1\.fsp': did you mean 'sequences.dusk_1.fps'"),
        ("name: town", "zzz: 1", r"unknown key 'zzz'\. Expected one of: name, ignore_index, classes"),
        ("id: 8", "id: 300", r"classes\.1\.id: .*less than or equal to 255; found 300"),
        ("id: 8", "id: '8'", r"classes\.1\.id: .*valid integer; found '8'"),
        ("id: 8", "id: 7", r"expected every id once, found more than once: \[7\]"),
        ("name: car", "name: road", "expected every class name once, found more than once: road"),
        ("ignore_index: 9", "ignore_index: 7", "expected an id that is no class's, found 7"),
        ("[0, 0, 142]", "[0, 142]", r"classes\.1\.color"),
        ("fps: 15", "fps: 0", r"sequences\.dusk_1\.fps: .*greater than 0; found 0"),
        ("name: car, ", "", r"expected key 'classes\.1\.name', not found"),
        ("classes:", "classes: [", "is not valid YAML"),
    ],
)
def test_faults_in_dataset_yaml_are_named(write_folder, old, new, message):
    root = write_folder({"day_1": 1})
    text = (root / "dataset.yaml").read_text()
    assert old in text
    (root / "dataset.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as error:
        FolderDataset(root)
    assert "dataset.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_dataset_yaml_that_is_no_mapping(write_folder):
    root = write_folder({"day_1": 1})
    (root / "dataset.yaml").write_text("- road\n")
    with pytest.raises(UserError, match=r"expected a mapping of keys to values, found \['road'\]"):
        FolderDataset(root)
