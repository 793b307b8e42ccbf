"""Whatever a frame's size, format and place in memory: the labels are those of its packed copy, at its size."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import stpl_rt

Pixels = npt.NDArray[np.uint8]

FORMATS = ("rgb", "bgr", "gray", "nv12", "i420")
ENCODINGS = ("bt601", "bt709", "bt601_full", "bt709_full")
LONG = os.environ.get("STPL_HYPOTHESIS") == "long"  # the profile of conftest.py
MOST_HEIGHT, MOST_WIDTH = (2160, 4096) if LONG else (330, 330)


def sides(most: int) -> st.SearchStrategy[int]:
    """Where vector loops and the network's own size (96 x 64) begin and end, and as many in each octave as in any."""
    edges = [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 95, 96, 97]
    any_octave = st.floats(0, math.log(most)).map(lambda octave: round(math.exp(octave)))
    return st.one_of(st.integers(1, 40), st.sampled_from(edges), any_octave)


HEIGHTS, WIDTHS = sides(MOST_HEIGHT), sides(MOST_WIDTH)
LARGE = [(1, 4096), (2160, 1), (2160, 4096), (1079, 1917)]


def array_shape(height: int, width: int, pixel_format: str) -> tuple[int, ...]:
    """How a frame of that size lies in an array; 4:2:0 has even sides."""
    if pixel_format in ("nv12", "i420"):
        return (height + height % 2) * 3 // 2, width + width % 2
    return (height, width) if pixel_format == "gray" else (height, width, 3)


def frame_size(shape: tuple[int, ...], pixel_format: str) -> tuple[int, int]:
    return (shape[0] * 2 // 3 if pixel_format in ("nv12", "i420") else shape[0]), shape[1]


def random_bytes(count: int, seed: int) -> Pixels:
    return np.frombuffer(np.random.default_rng(seed).bytes(count), np.uint8)


def view_of_memory(shape: tuple[int, ...], strides: tuple[int, ...], seed: int) -> Pixels:
    """A view with these strides, positive, negative or zero, into memory that is exactly as large as it needs."""
    reaches = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    before = -sum(min(reach, 0) for reach in reaches)
    memory = random_bytes(before + sum(max(reach, 0) for reach in reaches) + 1, seed)
    return np.lib.stride_tricks.as_strided(memory[before:], shape, strides, writeable=False)


@st.composite
def strides_for(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Packed, with gaps, mirrored, broadcast, overlapping, or column by column."""
    order = list(range(len(shape)))
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis] * draw(st.sampled_from([1, 1, 1, 2]))
        strides[axis] *= draw(st.sampled_from([1, 1, 1, -1, 0]))
        if draw(st.integers(0, 9)) == 0:
            strides[axis] = draw(st.integers(-7, 7))
    return tuple(strides)


@st.composite
def views(draw: st.DrawFn) -> tuple[str, Pixels]:
    pixel_format = draw(st.sampled_from(FORMATS))
    shape = array_shape(draw(HEIGHTS), draw(WIDTHS), pixel_format)
    return pixel_format, view_of_memory(shape, draw(strides_for(shape)), draw(st.integers(0, 999)))


class Exchanged:
    """An array that can do nothing but hand itself over by DLPack."""

    def __init__(self, array: Pixels) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


@pytest.fixture(scope="module")
def segmenter(test_bundle: Path) -> stpl_rt.Segmenter:
    return stpl_rt.Segmenter(test_bundle, schedule="every", threads=2, confidence=True)


def pushed(segmenter: stpl_rt.Segmenter, frame: Any, pixel_format: str, encoding: str = "bt601") -> stpl_rt.Result:
    name = "rgb" if pixel_format == "gray" else pixel_format
    return segmenter.push(frame, format=name, encoding=encoding)


def assert_same(a: stpl_rt.Result, b: stpl_rt.Result) -> None:
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.confidence, b.confidence)


@given(view=views(), encoding=st.sampled_from(ENCODINGS))
@example(view=("rgb", view_of_memory((9, 7, 3), (3, 3, 1), 0)), encoding="bt601")  # a sliding window
@example(view=("gray", view_of_memory((9, 7), (-2, 1), 0)), encoding="bt601")
@example(view=("bgr", view_of_memory((9, 7, 3), (0, 3, 1), 0)), encoding="bt601")  # one row, again and again
@example(view=("rgb", view_of_memory((9, 7, 3), (1, 9, 63), 0)), encoding="bt601")  # Fortran's order
@example(view=("nv12", view_of_memory((12, 6), (1, 12), 0)), encoding="bt709")
@example(view=("i420", view_of_memory((12, 6), (-6, -1), 0)), encoding="bt709_full")
def test_a_view_says_what_its_copy_says(segmenter: stpl_rt.Segmenter, view: tuple[str, Pixels], encoding: str) -> None:
    pixel_format, frame = view
    before = frame.copy()
    result = pushed(segmenter, frame, pixel_format, encoding)
    assert result.labels.shape == frame_size(frame.shape, pixel_format)
    assert result.labels.dtype == np.uint8 and result.labels.max() < 4
    assert result.confidence is not None and result.confidence.shape == result.labels.shape
    assert_same(result, pushed(segmenter, np.ascontiguousarray(frame), pixel_format, encoding))
    np.testing.assert_array_equal(frame, before)  # it was only read


@st.composite
def videos_of_views(draw: st.DrawFn) -> tuple[str, list[Pixels]]:
    """Frames of one size and format: the first again, or other pixels with strides of their own."""
    pixel_format, first = draw(views())
    frames = [first]
    for _ in range(draw(st.integers(1, 5))):
        view = view_of_memory(first.shape, draw(strides_for(first.shape)), draw(st.integers(0, 999)))
        frames.append(draw(st.sampled_from([first, view])))
    return pixel_format, frames


@pytest.fixture(scope="module")
def bundle(segmenter: stpl_rt.Segmenter) -> stpl_rt.Bundle:
    return segmenter.bundle


@given(video=videos_of_views(), interval=st.integers(2, 5), scene_cuts=st.booleans())
@settings(max_examples=300 if LONG else 15)
def test_a_stream_of_views_says_what_that_of_their_copies_says(
    bundle: stpl_rt.Bundle, video: tuple[str, list[Pixels]], interval: int, scene_cuts: bool
) -> None:
    """With frames between the key frames, whose flow and sampling read the frame, too."""
    pixel_format, frames = video
    options: dict[str, Any] = {"schedule": f"fixed:{interval}", "scene_cuts": scene_cuts, "confidence": True}
    of_views, of_copies = (stpl_rt.Segmenter(bundle, threads=2, **options) for _ in range(2))
    propagated = 0
    for frame in frames:
        found = pushed(of_views, frame, pixel_format)
        expected = pushed(of_copies, np.ascontiguousarray(frame), pixel_format)
        assert (found.key_reason, found.age, found.drift) == (expected.key_reason, expected.age, expected.drift)
        assert found.labels.shape == frame_size(frame.shape, pixel_format)
        assert_same(found, expected)
        propagated += not found.is_key
    if not scene_cuts:
        assert propagated == len(frames) - len(range(0, len(frames), interval))


@given(view=views(), way=st.sampled_from(["torch", "dlpack", "readonly", "queue", "luma and input"]))
def test_any_way_in_gives_the_same(segmenter: stpl_rt.Segmenter, view: tuple[str, Pixels], way: str) -> None:
    pixel_format, frame = view
    packed = np.ascontiguousarray(frame)
    expected = pushed(segmenter, packed, pixel_format)
    name = "rgb" if pixel_format == "gray" else pixel_format
    if way == "luma and input":
        for kernel in (stpl_rt.preprocess, stpl_rt.luma):
            found = kernel(frame, segmenter.bundle.input, format=name, threads=1)
            np.testing.assert_array_equal(found, kernel(packed, segmenter.bundle.input, format=name, threads=2))
    elif way == "queue":
        segmenter.submit(frame, format=name)
        assert_same(segmenter.collect(), expected)
    elif way == "readonly":
        packed.flags.writeable = False
        assert_same(pushed(segmenter, packed, pixel_format), expected)
    else:
        other = torch.from_numpy(packed.copy()) if way == "torch" else Exchanged(packed)
        assert_same(pushed(segmenter, other, pixel_format), expected)


@given(size=st.tuples(HEIGHTS, WIDTHS), pixel_format=st.sampled_from(FORMATS), seed=st.integers(0, 99))
@example(size=LARGE[0], pixel_format="rgb", seed=0)
@example(size=LARGE[1], pixel_format="gray", seed=0)
@example(size=LARGE[2], pixel_format="bgr", seed=0)
@example(size=LARGE[2], pixel_format="i420", seed=0)
@example(size=LARGE[3], pixel_format="nv12", seed=0)
def test_the_number_of_threads_makes_no_difference(
    test_bundle: Path, segmenter: stpl_rt.Segmenter, size: tuple[int, int], pixel_format: str, seed: int
) -> None:
    shape = array_shape(*size, pixel_format)
    frame = random_bytes(int(np.prod(shape)), seed).reshape(shape)
    alone = stpl_rt.Segmenter(segmenter.bundle, schedule="every", threads=1, confidence=True)
    result = pushed(segmenter, frame, pixel_format)
    assert result.labels.shape == frame_size(shape, pixel_format)
    assert_same(result, pushed(alone, frame, pixel_format))


@given(
    dtype=st.sampled_from([np.int8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64, np.bool_]),
    size=st.tuples(HEIGHTS, WIDTHS),
    pixel_format=st.sampled_from(FORMATS),
)
def test_another_element_type_is_refused(
    segmenter: stpl_rt.Segmenter, dtype: Any, size: tuple[int, int], pixel_format: str
) -> None:
    frame = np.zeros(array_shape(*size, pixel_format), dtype)
    before = pushed(segmenter, np.zeros((2, 2, 3), np.uint8), "rgb").frame_index
    with pytest.raises(TypeError, match=r"frame: expected .* uint8, found"):
        pushed(segmenter, frame, pixel_format)
    assert pushed(segmenter, np.zeros((2, 2, 3), np.uint8), "rgb").frame_index == before + 1


@given(
    shape=st.lists(st.one_of(st.integers(0, 7), st.sampled_from([16385, 1 << 20, 1 << 31, 1 << 33])), max_size=5),
    pixel_format=st.sampled_from(FORMATS),
    whole=st.booleans(),
)
def test_any_shape_is_taken_or_refused(
    segmenter: stpl_rt.Segmenter, shape: list[int], pixel_format: str, whole: bool
) -> None:
    """Also of arrays that claim any size by repeating one byte: nothing of that size is allocated."""
    claimed = tuple(shape) + ((3,) if whole and pixel_format in ("rgb", "bgr") else ())
    yuv = pixel_format in ("nv12", "i420")
    name = "rgb" if pixel_format == "gray" else pixel_format
    possible = len(claimed) == 2 or (len(claimed) == 3 and claimed[2] == 3 and not yuv)
    possible = possible and min(claimed) > 0 and claimed[1] <= 16384 and frame_size(claimed, name)[0] <= 16384
    possible = possible and not (yuv and (claimed[0] % 3 or claimed[1] % 2))
    try:
        frame = np.broadcast_to(np.uint8(7), claimed)
    except ValueError:  # NumPy's own limit
        return
    if possible:
        assert segmenter.push(frame, format=name).labels.shape == frame_size(claimed, name)
        return
    with pytest.raises(stpl_rt.Error, match="frame: expected") as caught:
        segmenter.push(frame, format=name)
    assert caught.value.code == "invalid_argument"


def test_flow_of_any_claimed_size_is_refused_before_it_is_copied(segmenter: stpl_rt.Segmenter) -> None:
    vectors = np.broadcast_to(np.float32(0), (1 << 28, 1 << 28, 2))
    with pytest.raises(stpl_rt.Error, match="flow: expected a width and height from 1 to 16384") as caught:
        segmenter.push(np.zeros((4, 4, 3), np.uint8), vectors)
    assert caught.value.code == "invalid_argument"
