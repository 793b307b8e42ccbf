"""Dense inverse search through the bindings: exactly known motion, beside OpenCV, and nothing to be found at all."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import stpl_rt

cv2 = pytest.importorskip("cv2")

HEIGHT, WIDTH = 256, 512
SEEDS = (0, 1, 2)
# Mean end-point error over OpenCV's, in the worst case; most kinds of motion are at half.
ALLOWED = 1.10
# Below this many pixels a difference is that of roundings.
NEGLIGIBLE = 0.02


def _load_exact_motion() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exact_motion", Path(__file__).with_name("exact_motion.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


exact_motion = _load_exact_motion()
KINDS = [
    "still",
    "translation, small",
    "translation, medium",
    "translation, large",
    "zoom 4 %",
    "zoom 12 %",
    "rotation 2 degrees",
    "rotation 6 degrees",
    "two layers",
    "four layers over a zoom",
]


@cache
def pairs(seed: int) -> dict[str, Any]:
    return dict(exact_motion.motions(HEIGHT, WIDTH, seed))


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def test_every_kind_of_motion_is_tested() -> None:
    assert set(pairs(SEEDS[0])) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_as_exact_as_opencv(kind: str) -> None:
    """End-point error beside OpenCV's "ultrafast" preset, which has the same pyramid level, patches and iterations."""
    flow = stpl_rt.DisFlow(threads=1)
    reference = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    errors = []
    for seed in SEEDS:
        pair = pairs(seed)[kind]
        ours = exact_motion.end_point_error(flow(pair.current, pair.past), pair)
        errors.append((ours, exact_motion.end_point_error(reference.calc(pair.current, pair.past, None), pair)))
    ours, opencv = np.mean(errors, axis=0)
    assert ours <= max(ALLOWED * opencv, NEGLIGIBLE), f"{ours:.4f} pixels, OpenCV {opencv:.4f}"


def test_flow_points_into_the_past() -> None:
    """warped(x) = past(x + flow(x)): warping the past along the flow gives the current frame."""
    pair = pairs(0)["translation, medium"]
    flow = stpl_rt.dis_flow(pair.current, pair.past)
    dx, dy = np.median(flow[32:-32, 32:-32], axis=(0, 1))
    assert (dx, dy) == pytest.approx((-6.4, 3.1), abs=0.1)
    past = pair.past.astype(np.float32)[None]
    current = pair.current.astype(np.float32)
    seen = pair.visible
    moved = np.abs(stpl_rt.warp(past, flow)[0] - current)[seen].mean()
    wrong_way = np.abs(stpl_rt.warp(past, -flow)[0] - current)[seen].mean()
    unmoved = np.abs(past[0] - current)[seen].mean()
    assert moved < 0.2 * unmoved
    assert moved < 0.2 * wrong_way


def test_exchanged_frames_turn_the_flow_round() -> None:
    pair = pairs(0)["translation, small"]
    flow = stpl_rt.dis_flow(pair.past, pair.current)
    assert np.median(flow, axis=(0, 1)) == pytest.approx((-1.3, 0.7), abs=0.1)


@pytest.mark.parametrize("kind", ["zoom 12 %", "four layers over a zoom"])
def test_any_number_of_threads_gives_the_same(kind: str) -> None:
    pair = pairs(0)[kind]
    expected = stpl_rt.DisFlow(threads=1)(pair.current, pair.past)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(stpl_rt.DisFlow(threads=threads)(pair.current, pair.past), expected)


def test_nothing_is_carried_from_call_to_call() -> None:
    flow = stpl_rt.DisFlow(threads=2)
    pair = pairs(0)["two layers"]
    expected = flow(pair.current, pair.past)
    flow(noise(97, 131, 1), noise(97, 131, 2))  # smaller and larger ones use the same buffers
    flow(noise(300, 600, 3), noise(300, 600, 4))
    np.testing.assert_array_equal(flow(pair.current, pair.past), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1), (2, 2), (31, 400), (7, 7), (400, 31)])
def test_too_small_for_a_patch_is_zero_flow(size: tuple[int, int]) -> None:
    flow = stpl_rt.dis_flow(noise(*size, 0), noise(*size, 1))
    assert flow.shape == (*size, 2)
    assert flow.dtype == np.float32
    assert not flow.any()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (61, 35), (97, 131), (35, 500), (243, 321)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"finest_scale": 0, "patch_stride": 8},
        {"finest_scale": 1, "patch_size": 12, "patch_stride": 5},
        {"patch_size": 4, "patch_stride": 3, "iterations": 1},
    ],
)
def test_odd_sizes_and_options(size: tuple[int, int], options: dict[str, int]) -> None:
    flow = stpl_rt.DisFlow(**options)
    unrelated = flow(noise(*size, 0), noise(*size, 1))
    assert np.isfinite(unrelated).all()
    assert np.abs(unrelated).max() < 4 * max(size)
    same = noise(*size, 2)
    assert not flow(same, same).any()


@pytest.mark.parametrize("options", [{}, {"finest_scale": 1, "patch_size": 12, "patch_stride": 5}, {"finest_scale": 0}])
@pytest.mark.parametrize("size", [(160, 224), (163, 229)])
def test_options_find_a_translation(options: dict[str, int], size: tuple[int, int]) -> None:
    pair = exact_motion.render(*size, exact_motion.translation(3.5, -2.25), 5)
    flow = stpl_rt.DisFlow(**options)(pair.current, pair.past)
    assert exact_motion.end_point_error(flow, pair) < 0.25


@pytest.mark.parametrize("levels", [(0, 0), (9, 200), (255, 0), (17, 18)])
@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_flat_images_do_not_move(levels: tuple[int, int], size: tuple[int, int]) -> None:
    current, past = (np.full(size, level, np.uint8) for level in levels)
    assert not stpl_rt.dis_flow(current, past).any()


def test_a_change_of_brightness_is_no_motion() -> None:
    pair = pairs(0)["translation, small"]
    darker = np.clip(pair.current.astype(np.int16) // 2 + 40, 0, 255).astype(np.uint8)
    brighter = np.clip(pair.past.astype(np.int16) // 2 + 70, 0, 255).astype(np.uint8)
    flow = stpl_rt.dis_flow(darker, brighter)
    assert exact_motion.end_point_error(flow, pair) < 0.25


@pytest.mark.parametrize(
    "options",
    [
        {"finest_scale": -1},
        {"finest_scale": 7},
        {"patch_size": 3},
        {"patch_size": 33},
        {"patch_stride": 0},
        {"patch_stride": 9},
        {"iterations": 0},
        {"threads": -1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(stpl_rt.Error, match="expected"):
        stpl_rt.DisFlow(**options)


def test_frames_of_different_sizes_are_refused() -> None:
    with pytest.raises((ValueError, stpl_rt.Error)):
        stpl_rt.dis_flow(noise(64, 64, 0), noise(64, 65, 0))


@pytest.mark.parametrize("device", ["vulkan", "cuda:x", "cuda:-1", ""])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(stpl_rt.Error, match="device"):
        stpl_rt.DisFlow(device=device)


@pytest.mark.skipif("tensorrt" in stpl_rt.engines(), reason="this build has kernels for GPUs")
def test_a_gpu_is_refused_without_kernels_for_it() -> None:
    with pytest.raises(stpl_rt.Error, match="STPL_RT_CUDA=ON") as caught:
        stpl_rt.DisFlow(device="cuda:0")
    assert caught.value.code == "unsupported"
