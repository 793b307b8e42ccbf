"""Sheets hold their pictures unchanged where they say, and files appear whole."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pytest

from stpl.data.classes import ClassSet
from stpl.report.pictures import (
    Panel,
    Style,
    contact_sheet,
    data_uri,
    encode,
    legend,
    save_picture,
    side_by_side,
    stack,
)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def places_of(picture: np.ndarray, sheet: np.ndarray) -> list[tuple[int, int]]:
    """(top, left) wherever `picture` occurs in `sheet`."""
    height, width = picture.shape[:2]
    first = np.argwhere((sheet == picture[0, 0]).all(axis=-1))
    return [(y, x) for y, x in first.tolist() if np.array_equal(sheet[y : y + height, x : x + width], picture)]


def test_panels_stand_in_a_row_under_their_captions():
    style = Style(gap=8, font_size=15)
    left, right = noise(40, 90, 1), noise(40, 120, 2)
    sheet = side_by_side([Panel("input", left), Panel("adapted", right)], style=style)
    (top, first), (top_right, second) = places_of(left, sheet)[0], places_of(right, sheet)[0]
    assert top == top_right == style.gap + style.line_height
    assert first == style.gap
    assert second == style.gap + 90 + style.gap
    assert sheet.shape == (top + 40 + style.gap, second + 120 + style.gap, 3)
    caption = sheet[style.gap : top, first : first + 90]
    assert (caption != 255).any()  # something is written there
    assert (sheet[: style.gap] == 255).all()


def test_rows_stand_one_under_another():
    pictures = [[noise(30, 50, 10 * row + column) for column in range(3)] for row in range(2)]
    sheet = contact_sheet([[Panel("", picture) for picture in row] for row in pictures])
    places = [[places_of(picture, sheet) for picture in row] for row in pictures]
    assert all(len(found) == 1 for row in places for found in row)
    assert [[found[0] for found in row] for row in places] == [
        [(8, 8), (8, 66), (8, 124)],
        [(46, 8), (46, 66), (46, 124)],
    ]


def test_pictures_are_brought_to_one_height_with_their_aspect_kept():
    sheet = side_by_side([Panel("", noise(40, 80)), Panel("", noise(100, 300))], height=20)
    assert sheet.shape == (20 + 16, 40 + 60 + 24, 3)


def test_long_captions_stay_over_their_picture():
    narrow = [Panel("a caption much too long for so small a picture", noise(20, 60)), Panel("", noise(20, 200))]
    sheet = side_by_side(narrow)
    top = sheet.shape[0] - 8 - 20
    assert (sheet[:top, 8:68] != 255).any()
    assert (sheet[:top, 68:] == 255).all()


def test_legend_shows_every_colour():
    colors = ((128, 64, 128), (0, 0, 142), (70, 130, 180), (220, 20, 60), (107, 142, 35))
    classes = ClassSet(("road", "car", "sky", "pedestrian", "vegetation"), colors)
    for columns in (1, 2, 5, 9):
        picture = legend(classes, columns=columns)
        rows = -(-5 // columns)
        assert picture.shape[0] == rows * Style().line_height + Style().gap
        for color in colors:
            assert (picture == color).all(axis=-1).sum() > 100


def test_stack_puts_pictures_under_one_another():
    upper, lower = noise(10, 30, 1), noise(5, 20, 2)
    whole = stack([upper, lower])
    np.testing.assert_array_equal(whole[:10], upper)
    np.testing.assert_array_equal(whole[10:, :20], lower)
    assert (whole[10:, 20:] == 255).all()


def test_saved_picture_is_the_picture_and_leaves_nothing_else(tmp_path):
    picture = noise(20, 30)
    save_picture(picture, tmp_path / "a.png")
    save_picture(picture, tmp_path / "b.jpg")
    with PIL.Image.open(tmp_path / "a.png") as saved:
        np.testing.assert_array_equal(np.array(saved), picture)
    with PIL.Image.open(tmp_path / "b.jpg") as saved:
        assert saved.format == "JPEG"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.jpg"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"old")
    with pytest.raises((ValueError, TypeError)):
        save_picture(np.zeros((4, 4, 7), np.uint8), file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    assert file.read_bytes() == b"old"


def test_data_uri_holds_the_picture():
    picture = noise(6, 7)
    head, content = data_uri(picture, "png").split(",")
    assert head == "data:image/png;base64"
    with PIL.Image.open(io.BytesIO(base64.b64decode(content))) as decoded:
        np.testing.assert_array_equal(np.array(decoded), picture)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"expected 'x' as \(H, W, 3\) uint8 RGB, found \(4, 4\) uint8"):
        side_by_side([Panel("x", np.zeros((4, 4), np.uint8))])
    with pytest.raises(ValueError, match="found rows of"):
        contact_sheet([[Panel("", noise(4, 4))], []])
    with pytest.raises(ValueError, match="found rows of"):
        contact_sheet([])
    with pytest.raises(ValueError, match="expected at least one picture"):
        stack([])
    with pytest.raises(ValueError, match="'png' or 'jpeg', found 'gif'"):
        encode(noise(4, 4), "gif")
    with pytest.raises(ValueError, match="1 column or more"):
        legend(ClassSet(("a",), ((0, 0, 0),)), columns=0)
