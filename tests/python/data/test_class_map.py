"""Which class is which: what --classes may say, what is merged, and what finds no partner."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stpl.data.class_map import CLASS_SETS, OTHER, ClassOption, match_classes, named_classes, read_classes
from stpl.data.classes import IGNORE_ID, ClassSet
from stpl.errors import UserError

MODEL = ClassSet(
    ("road", "Traffic_Light", "car", "truck", "terrain"),
    ((128, 64, 128), (250, 170, 30), (0, 0, 142), (0, 0, 70), (152, 251, 152)),
)
DATA = ClassSet(("sky", "vehicle", "traffic light", "road", "dog"), tuple((10 * i, 0, 0) for i in range(5)))


def test_cityscapes_19_is_in_the_order_of_published_weights() -> None:
    classes = CLASS_SETS["cityscapes-19"]
    assert len(classes) == 19
    assert [classes.names[i] for i in (0, 5, 10, 13, 18)] == ["road", "pole", "sky", "car", "bicycle"]
    assert classes.colors[0] == (128, 64, 128) and classes.colors[18] == (119, 11, 32)


def test_pairs_first_then_names() -> None:
    found = match_classes(MODEL, DATA, read_classes("car=vehicle,truck=vehicle"))
    assert found.targets == (3, 2, 1, 1, None)
    assert found.unmatched_model == ["terrain"]
    assert found.unmatched_data == ["sky", "dog"]
    assert found.merged == ClassSet(("vehicle", "traffic light", "road"), (DATA.colors[1], DATA.colors[2], (30, 0, 0)))
    assert found.groups == ((2, 3), (1,), (0,))
    assert found.report() == [
        "vehicle: car + truck",
        "traffic light: Traffic_Light",
        "not in the data: terrain",
        "not known to the model: sky, dog",
    ]


def test_tables_map_predictions_and_labels(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("map: {car: vehicle, truck: vehicle}\nignore: [dog]\n")
    found = match_classes(MODEL, DATA, read_classes(str(file)))
    assert found.scored.names == (*DATA.names, OTHER)
    predictions = found.of_predictions()
    assert predictions[:5].tolist() == [3, 2, 1, 1, 5] and set(predictions[5:]) == {IGNORE_ID}
    labels = found.of_labels()
    assert labels[:5].tolist() == [0, 1, 2, 3, IGNORE_ID] and labels[IGNORE_ID] == IGNORE_ID
    assert np.array_equal(labels[5:], np.arange(5, 256))
    assert found.unmatched_data == ["sky"]
    assert "not counted: dog" in found.report()


def test_all_matched_needs_no_further_class() -> None:
    same = match_classes(DATA, DATA, ClassOption(by_name=True))
    assert same.scored is DATA and same.groups == ((0,), (1,), (2,), (3,), (4,)) and same.report() == []


def test_video_without_classes_takes_the_names_of_the_pairs() -> None:
    found = match_classes(MODEL, None, read_classes("car=vehicle,truck=vehicle"))
    assert found.data.names == ("road", "Traffic_Light", "vehicle", "terrain")
    assert found.data.colors[2] == (0, 0, 142)
    assert found.groups == ((0,), (1,), (2, 3), (4,))


def test_a_file_may_leave_names_out(tmp_path: Path) -> None:
    file = tmp_path / "map.yml"
    file.write_text("by_name: false\nmap: {car: vehicle}\n")
    assert match_classes(MODEL, DATA, read_classes(str(file))).targets == (None, None, 1, None, None)


def test_names_of_the_models_own_classes(tmp_path: Path) -> None:
    option = read_classes("cityscapes-19")
    assert option.names == CLASS_SETS["cityscapes-19"] and not option.maps
    assert read_classes("cityscapes-19, by-name").by_name
    assert read_classes("cityscapes-19,rider=person").pairs == {"rider": "person"}
    file = tmp_path / "classes.yaml"
    file.write_text("classes: [road, dog, cat]\n")
    names = read_classes(str(file)).names
    assert names is not None and names.names == ("road", "dog", "cat") and names.colors[0] == (128, 64, 128)
    file.write_text("classes: {road: [1, 2, 3], cat: [4, 5, 6]}\n")
    assert read_classes(str(file)).names == ClassSet(("road", "cat"), ((1, 2, 3), (4, 5, 6)))


def test_colours_are_distinct() -> None:
    classes = named_classes([*CLASS_SETS["cityscapes-19"].names, *(f"thing {i}" for i in range(150))])
    assert len(set(classes.colors)) == len(classes) == 169


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cityscape-19", "unknown set of classes 'cityscape-19': did you mean 'cityscapes-19'"),
        ("cityscapes-19,viper-15", "expected one set of classes and MODEL=DATA pairs; found 'viper-15'"),
        ("car=", "found 'car='"),
        ("car=a,car=b", "found 'car' twice"),
        ("absent.yaml", "cannot read absent.yaml"),
    ],
)
def test_values_that_say_nothing(value: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_classes(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("maps: {a: b}", "unknown key 'maps': did you mean 'map'"),
        ("classes: [a, a]", "found more than once: a"),
        ("classes: {a: [1, 2, 300]}", "three values 0-255"),
        ("classes: cityscapes", "did you mean 'cityscapes-19'"),
    ],
)
def test_files_that_say_nothing(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "map.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        read_classes(str(tmp_path / "map.yaml"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cra=vehicle", "unknown class of the model .*did you mean 'car'"),
        ("car=vehicel", "unknown class of the data .*did you mean 'vehicle'"),
    ],
)
def test_names_that_neither_side_has(value: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        match_classes(MODEL, DATA, read_classes(value))


def test_nothing_in_common_is_said() -> None:
    with pytest.raises(UserError, match="no class of the model is one of the data's"):
        match_classes(MODEL, ClassSet(("cat",), ((0, 0, 0),)), read_classes("by-name"))


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "classes.yaml").write_text(block[1], encoding="utf-8")
    option = read_classes(str(tmp_path / "classes.yaml"))
    assert option.names == CLASS_SETS["cityscapes-19"] and option.by_name
    assert option.pairs["rider"] == "pedestrian" and option.ignored == ("bridge",)
    assert all(f"`{name}`" in page for name in CLASS_SETS)
