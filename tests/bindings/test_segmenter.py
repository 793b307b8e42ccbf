"""stpl_rt.Segmenter, Bundle and Network against what the test bundle's network computes in closed form."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

import stpl_rt

Pixels = npt.NDArray[np.uint8]


def reference_logits(frame: Pixels, maker: ModuleType, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    """Logits (1, 4, h, w) of the half-pixel bundle's network, by torch."""
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    image = F.interpolate(image, size, mode="bilinear", align_corners=False)
    mean, std = torch.tensor(maker.MEAN)[:, None, None], torch.tensor(maker.STD)[:, None, None]
    scores = torch.einsum("kc,bchw->bkhw", torch.from_numpy(maker.WEIGHTS), (image - mean) / std)
    return F.avg_pool2d(scores + torch.from_numpy(maker.BIAS)[:, None, None], 4)


def reference_labels(frame: Pixels, maker: ModuleType) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Labels at the frame's size, and where the best class is clearly ahead."""
    full = F.interpolate(reference_logits(frame, maker), frame.shape[:2], mode="bilinear", align_corners=False)[0]
    best = full.topk(2, dim=0).values
    return full.argmax(0).to(torch.uint8).numpy(), (best[0] - best[1] > 1e-4).numpy()


def test_labels_are_those_of_the_network(test_bundle: Path, bundle_maker: ModuleType, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every")
    for index, frame in enumerate(moving_picture):
        result = segmenter(frame)
        expected, clear = reference_labels(frame, bundle_maker)
        assert clear.mean() > 0.98
        assert len(np.unique(expected)) >= 3
        np.testing.assert_array_equal(result.labels[clear], expected[clear])
        assert result.is_key
        assert result.age == 0
        assert result.frame_index == index


def test_results_describe_themselves(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:3", confidence=True, scene_cuts=False)
    results = [segmenter.push(frame) for frame in moving_picture]
    assert [r.key_reason for r in results] == ["first", "none", "none", "schedule", "none", "none"]
    assert [r.age for r in results] == [0, 1, 2, 0, 1, 2]
    assert [r.is_key for r in results] == [True, False, False, True, False, False]
    for result in results:
        assert result.labels.dtype == np.uint8
        assert result.labels.shape == (96, 128)
        assert result.confidence is not None
        assert result.confidence.shape == (96, 128)
        timing = result.timing
        assert set(timing) == {"preprocess_ms", "flow_ms", "network_ms", "sample_ms", "total_ms"}
        assert 0 < timing["sample_ms"] <= timing["total_ms"]
        assert (timing["network_ms"] > 0) == result.is_key


def test_propagated_labels_follow_the_motion(coarse_bundle: Path, large_moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(coarse_bundle, schedule="fixed:6", scene_cuts=False)
    labels = [segmenter(frame).labels for frame in large_moving_picture]
    # The key frame's labels, moved by five steps of (2, 1): what any right flow gives, up to the logits' grid.
    followed = (labels[5][5:, 10:] == labels[0][:-5, :-10])[16:-16, 16:-16].mean()
    unmoved = (labels[5] == labels[0])[16:-16, 16:-16].mean()
    assert followed > 0.97
    assert followed > unmoved + 0.05


def test_flow_from_elsewhere_is_used(coarse_bundle: Path, large_moving_picture: Pixels) -> None:
    exact = np.zeros((96, 160, 2), np.float32)
    exact[..., 0], exact[..., 1] = -1.0, -0.5  # on half the frame's grid, half of (-2, -1)
    agreement = []
    for flow in (exact, -exact):
        segmenter = stpl_rt.Segmenter(coarse_bundle, schedule="fixed:6", scene_cuts=False)
        labels = [segmenter.push(frame, flow).labels for frame in large_moving_picture]
        agreement.append((labels[5][5:, 10:] == labels[0][:-5, :-10])[16:-16, 16:-16].mean())
    assert agreement[0] > 0.995
    assert agreement[1] < agreement[0] - 0.05


def test_reset_makes_a_key_frame(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:5")
    segmenter(moving_picture[0])
    segmenter.reset()
    result = segmenter(moving_picture[1])
    assert (result.key_reason, result.frame_index) == ("first", 1)


def test_another_size_starts_anew(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:5")
    segmenter(moving_picture[0])
    result = segmenter(np.ascontiguousarray(moving_picture[1][:50, :70]))
    assert result.key_reason == "size_change"
    assert result.labels.shape == (50, 70)


@pytest.mark.parametrize("layout", ["rows", "columns", "mirrored", "planes", "readonly", "torch", "torch_planes"])
def test_any_layout_gives_the_same_labels(layout: str, test_bundle: Path, moving_picture: Pixels) -> None:
    frame = moving_picture[0]
    wide = np.zeros((96, 200, 3), np.uint8)
    wide[:, 30:158] = frame
    spaced = np.zeros((96, 256, 3), np.uint8)
    spaced[:, ::2] = frame
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1))
    readonly = frame.copy()
    readonly.flags.writeable = False
    layouts = {
        "rows": wide[:, 30:158],
        "columns": spaced[:, ::2],
        "mirrored": np.ascontiguousarray(frame[::-1])[::-1],
        "planes": planes.transpose(1, 2, 0),
        "readonly": readonly,
        "torch": torch.from_numpy(frame.copy()),
        "torch_planes": torch.from_numpy(planes).permute(1, 2, 0),
    }
    assert np.array_equal(np.asarray(layouts[layout]), frame)
    expected = stpl_rt.Segmenter(test_bundle, schedule="every")(frame).labels
    labels = stpl_rt.Segmenter(test_bundle, schedule="every")(layouts[layout]).labels
    np.testing.assert_array_equal(labels, expected)


def test_bgr_and_grey_frames(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every")
    frame = moving_picture[0]
    expected = segmenter(frame).labels
    np.testing.assert_array_equal(segmenter(np.ascontiguousarray(frame[..., ::-1]), format="bgr").labels, expected)
    np.testing.assert_array_equal(segmenter(frame[..., ::-1], format="bgr").labels, expected)
    grey = np.ascontiguousarray(frame[..., 1])
    np.testing.assert_array_equal(segmenter(grey).labels, segmenter(np.stack([grey] * 3, axis=-1)).labels)


@pytest.mark.parametrize(
    ("frame", "error", "expected", "found"),
    [
        (np.zeros((8, 8, 3), np.float32), TypeError, "uint8", r"\(8, 8, 3\) float32"),
        (np.zeros((8, 8, 3), np.int8), TypeError, "uint8", r"\(8, 8, 3\) int8"),
        (np.zeros((8, 8, 4), np.uint8), stpl_rt.Error, r"\(H, W, 3\)", r"\(8, 8, 4\)"),
        (np.zeros((3, 8, 9), np.uint8), stpl_rt.Error, r"\(H, W, 3\)", r"\(3, 8, 9\)"),
        (np.zeros((8,), np.uint8), stpl_rt.Error, r"\(H, W, 3\)", r"\(8,\)"),
        (np.zeros((0, 8, 3), np.uint8), stpl_rt.Error, r"\(H, W, 3\)", r"\(0, 8, 3\)"),
    ],
)
def test_wrong_frames_are_refused_and_change_nothing(
    frame: npt.NDArray[np.uint8],
    error: type[Exception],
    expected: str,
    found: str,
    test_bundle: Path,
    moving_picture: Pixels,
) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:5", scene_cuts=False)
    segmenter(moving_picture[0])
    with pytest.raises(error, match=f"frame: expected .*{expected}.*found {found}"):
        segmenter(frame)
    result = segmenter(moving_picture[1])
    assert (result.age, result.frame_index) == (1, 1)


def test_what_is_no_array_is_refused(test_bundle: Path) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle)
    with pytest.raises(TypeError):
        segmenter([[1, 2, 3]])  # type: ignore[arg-type]


def test_wrong_flow_is_refused(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:5")
    with pytest.raises(stpl_rt.Error, match=r"flow: expected \(h, w, 2\) float32, found \(4, 4, 3\)"):
        segmenter(moving_picture[0], np.zeros((4, 4, 3), np.float32))
    with pytest.raises(TypeError, match=r"float32, found \(4, 4, 2\) float64"):
        segmenter(moving_picture[0], np.zeros((4, 4, 2)))


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("schedule", "sometimes", "invalid_argument"),
        ("schedule", "fixed:0", "invalid_argument"),
        ("precision", "f64", "invalid_argument"),
        ("threads", -1, "invalid_argument"),
        ("device", "quantum", "unsupported"),
    ],
)
def test_wrong_options_are_refused(option: str, value: object, code: str, test_bundle: Path) -> None:
    with pytest.raises(stpl_rt.Error, match=str(value)) as caught:
        stpl_rt.Segmenter(test_bundle, **{option: value})  # type: ignore[arg-type]
    assert caught.value.code == code


def test_bundles_show_their_manifest(test_bundle: Path, bundle_maker: ModuleType) -> None:
    bundle = stpl_rt.Bundle.open(test_bundle)
    manifest = json.loads((test_bundle / "manifest.json").read_text())
    assert [c.name for c in bundle.classes] == bundle_maker.NAMES
    assert [list(c.color) for c in bundle.classes] == bundle_maker.COLORS
    assert (bundle.input.width, bundle.input.height) == (96, 64)
    assert list(bundle.input.mean) == bundle_maker.MEAN
    assert bundle.input.lut is None
    assert (bundle.logits.width, bundle.logits.height, bundle.logits.align_corners) == (24, 16, False)
    assert bundle.segment.sha256 == manifest["networks"]["segment"]["sha256"]
    assert bundle.segment.inputs[0].shape == [1, 3, 64, 96]
    assert bundle.default_schedule == "fixed:3"
    assert bundle.provenance == manifest["provenance"]
    assert bundle.directory.samefile(test_bundle)
    segmenter = stpl_rt.Segmenter(test_bundle, threads=1)
    assert (segmenter.schedule, segmenter.threads, segmenter.bundle.name) == ("fixed:3", 1, "half_pixel")


def test_a_changed_network_is_refused(test_bundle: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(test_bundle, tmp_path / "broken")
    with (broken / "segment.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(stpl_rt.Error, match=r"segment\.onnx") as caught:
        stpl_rt.Segmenter(broken)
    assert caught.value.code == "invalid_bundle"
    with pytest.raises(stpl_rt.Error):
        stpl_rt.Bundle.open(tmp_path / "missing")


def test_network_gives_raw_logits(test_bundle: Path, bundle_maker: ModuleType, moving_picture: Pixels) -> None:
    network = stpl_rt.Network(test_bundle, threads=1)
    frame = moving_picture[0]
    logits = network(stpl_rt.preprocess(frame, network.bundle.input))
    np.testing.assert_allclose(logits, reference_logits(frame, bundle_maker)[0].numpy(), atol=1e-4)
    with pytest.raises(stpl_rt.Error, match=r"input: expected \(3, 64, 96\) float32, found \(3, 8, 8\)"):
        network(np.zeros((3, 8, 8), np.float32))


def test_aligned_corners(corners_bundle: Path, moving_picture: Pixels) -> None:
    network = stpl_rt.Network(corners_bundle)
    frame = moving_picture[0]
    logits = torch.from_numpy(network(stpl_rt.preprocess(frame, network.bundle.input)))[None]
    full = F.interpolate(logits, frame.shape[:2], mode="bilinear", align_corners=True)[0]
    best = full.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-4).numpy()
    labels = stpl_rt.Segmenter(corners_bundle, schedule="every")(frame).labels
    np.testing.assert_array_equal(labels[clear], full.argmax(0).numpy()[clear])


def test_labels_own_their_memory(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every")
    labels = segmenter(moving_picture[0]).labels
    kept = labels.copy()
    for frame in moving_picture[1:]:
        segmenter(frame)
    del segmenter
    gc.collect()
    np.testing.assert_array_equal(labels, kept)
    assert labels.flags.writeable


def test_push_lets_other_threads_run_and_refuses_a_second(test_bundle: Path) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every", threads=1)
    frame = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    codes: list[str] = []

    def run() -> None:
        for _ in range(20):
            try:
                segmenter(frame)
                codes.append("done")
            except stpl_rt.Error as error:
                codes.append(error.code)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(codes) == 60 and set(codes) == {"done", "in_use"}
    assert segmenter(frame).frame_index == codes.count("done")


class SignalStack(ctypes.Structure):
    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> int:
    """Where this thread's signal handlers run; 0: on the thread's own stack."""
    stack = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return int(stack.sp or 0)


def test_streams_that_overlap_leave_the_stack_of_signal_handlers_alone(test_bundle: Path) -> None:
    first = stpl_rt.Segmenter(test_bundle)
    before = signal_stack()
    second = stpl_rt.Segmenter(test_bundle)
    assert signal_stack() == before
    del first, second
    gc.collect()
    assert signal_stack() == before


def test_errors_are_runtime_errors_with_a_code() -> None:
    assert issubclass(stpl_rt.Error, RuntimeError)
    with pytest.raises(stpl_rt.Error) as caught:
        stpl_rt.InputSpec(0, 4, mean=(0, 0, 0), std=(1, 1, 1))
    assert caught.value.code == "invalid_argument"
    assert "0x4" in str(caught.value)


def test_a_stream_gives_the_results_of_push(coarse_bundle: Path, large_moving_picture: Pixels) -> None:
    one_by_one = stpl_rt.Segmenter(coarse_bundle, schedule="fixed:3", threads=1)
    expected = [one_by_one(frame) for frame in large_moving_picture]
    for ahead in (0, 1, 3):
        segmenter = stpl_rt.Segmenter(coarse_bundle, schedule="fixed:3", threads=1)
        found = list(segmenter.stream(iter(large_moving_picture), ahead=ahead))
        assert segmenter.pending == 0
        assert [r.key_reason for r in found] == [r.key_reason for r in expected]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.labels, b.labels)


def test_a_stream_with_timestamps_notices_missing_frames(coarse_bundle: Path, large_moving_picture: Pixels) -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.9, 1.0]
    frames = list(large_moving_picture[: len(times)])
    segmenter = stpl_rt.Segmenter(coarse_bundle, schedule="fixed:100", threads=1)
    assert [r.key_reason for r in segmenter.stream(zip(frames, times, strict=True))][4] == "gap"
    for untimed in (frames, [(frame, None) for frame in frames]):
        segmenter.reset()
        assert "gap" not in [r.key_reason for r in segmenter.stream(untimed)]


def test_a_stream_that_would_wait_for_itself_is_refused(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, threads=1, queue=2)
    for ahead in (-1, 2):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            next(segmenter.stream(moving_picture, ahead=ahead))
    assert len(list(segmenter.stream(moving_picture, ahead=1))) == len(moving_picture)
    shortest = stpl_rt.Segmenter(test_bundle, threads=1, queue=1)
    assert len(list(shortest.stream(moving_picture))) == len(moving_picture)  # by default it does not


def test_a_stream_that_is_left_can_go_on(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, threads=1)
    for result in segmenter.stream(moving_picture):
        assert result.frame_index == 0
        break
    assert segmenter.pending == 0
    assert segmenter(moving_picture[0]).frame_index == 2  # one was under way


def test_a_stream_raises_what_push_would(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, threads=1)
    with pytest.raises(TypeError):
        list(segmenter.stream([moving_picture[0], "no frame"]))
    assert segmenter.pending == 0
    with pytest.raises(stpl_rt.Error) as caught:
        segmenter.collect()
    assert caught.value.code == "invalid_argument"


def test_segmenters_of_one_bundle_say_what_they_say_alone(test_bundle: Path, moving_picture: Pixels) -> None:
    bundle = stpl_rt.Bundle.open(test_bundle)
    alone = stpl_rt.Segmenter(test_bundle, threads=1)
    expected = [alone(frame).labels for frame in moving_picture]
    streams = [stpl_rt.Segmenter(bundle, threads=1) for _ in range(3)]
    for t, frame in enumerate(moving_picture):
        for segmenter in streams:
            np.testing.assert_array_equal(segmenter(frame).labels, expected[t])


def test_adaptive_schedules_and_lag(coarse_bundle: Path, large_moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(coarse_bundle, schedule="adaptive:0:9", threads=1)
    assert segmenter.schedule == "adaptive:0:9"
    assert {segmenter(frame).key_reason for frame in large_moving_picture[1:]} == {"first", "drift"}
    late = stpl_rt.Segmenter(coarse_bundle, schedule="fixed:3", key_lag=1, threads=1)
    assert [late(frame).age for frame in large_moving_picture[:6]] == [0, 1, 2, 3, 1, 2]
    with pytest.raises(stpl_rt.Error, match="key_lag"):
        stpl_rt.Segmenter(coarse_bundle, schedule="every", key_lag=1)


def test_missing_frames_are_seen_by_their_timestamps(test_bundle: Path, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:99", threads=1, scene_cuts=False)
    times = (0.0, 0.1, 0.2, 0.9, 1.0)
    reasons = [segmenter(f, timestamp=t).key_reason for f, t in zip(moving_picture, times, strict=False)]
    assert reasons == ["first", "none", "none", "gap", "none"]


@pytest.mark.parametrize("layout", ["nv12", "i420"])
def test_yuv_frames_are_segmented_as_their_colours(layout: str, test_bundle: Path, moving_picture: Pixels) -> None:
    cv2 = pytest.importorskip("cv2")
    frame = np.ascontiguousarray(moving_picture[0][: moving_picture[0].shape[0] // 2 * 2])
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
    height, width = frame.shape[:2]
    if layout == "nv12":
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        packed = np.concatenate([planes[:height], chroma.transpose(1, 2, 0).reshape(height // 2, width)])
    else:
        packed = planes
    colours = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every", threads=1)
    found, expected = segmenter(packed, format=layout).labels, segmenter(colours).labels
    assert found.shape == (height, width)
    assert (found == expected).mean() > 0.995  # OpenCV rounds otherwise
    prepared = stpl_rt.preprocess(packed, segmenter.bundle.input, format=layout)
    np.testing.assert_allclose(
        prepared, stpl_rt.preprocess(colours, segmenter.bundle.input), atol=1.01 / min(segmenter.bundle.input.std)
    )
    with pytest.raises(stpl_rt.Error, match="H and W even"):
        segmenter(packed[:-1], format=layout)
    with pytest.raises(stpl_rt.Error, match="encoding"):
        segmenter(packed, format=layout, encoding="rec709")


def planes_of(yuv: Pixels, size: tuple[int, int], layout: str) -> list[Pixels]:
    """Views of I420's planes in one array, or of those of NV12."""
    height, width = size
    luma, chroma = yuv[: height * width].reshape(size), yuv[height * width :]
    half = ((height + 1) // 2, (width + 1) // 2)
    if layout == "nv12":
        return [luma, chroma.reshape(*half, 2)]
    return [luma, *chroma.reshape(2, *half)]


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1)])
@pytest.mark.parametrize("layout", ["nv12", "i420"])
def test_planes_in_arrays_of_their_own(layout: str, size: tuple[int, int], test_bundle: Path) -> None:
    """As PyAV, GStreamer and cameras hand them out; of odd sizes, too, which one array cannot hold."""
    half = (size[0] + 1) // 2 * ((size[1] + 1) // 2)
    yuv = np.random.default_rng(3).integers(0, 255, size[0] * size[1] + 2 * half, np.uint8)
    planes = planes_of(yuv, size, layout)
    # The reference: chroma repeated, each pixel converted as one of 4:4:4 (a frame of 2x2 of one colour).
    columns = [planes[1][..., 0], planes[1][..., 1]] if layout == "nv12" else planes[1:]
    cb, cr = (c.repeat(2, 0).repeat(2, 1)[: size[0], : size[1]].astype(float) - 128 for c in columns)
    luma = (planes[0].astype(float) - 16) * 255 / 219
    scale = 255 / 224
    rgb = [luma + 1.402 * scale * cr, luma - scale * (0.344136 * cb + 0.714136 * cr), luma + 1.772 * scale * cb]
    colours = np.stack(rgb, -1).clip(0, 255).round().astype(np.uint8)
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every", threads=1)
    expected = segmenter(colours).labels
    found = segmenter(planes, format=layout).labels
    assert found.shape == size
    assert (found == expected).mean() > 0.99
    spaced = [np.repeat(plane, 3, axis=1)[:, ::3] for plane in planes]  # pixels with gaps: copied
    upside_down = [plane[::-1].copy()[::-1] for plane in planes]  # rows that run upwards: not copied
    padded = [np.pad(p, [(0, 0), (0, 7 + i)] + [(0, 0)] * (p.ndim - 2))[:, : p.shape[1]] for i, p in enumerate(planes)]
    for given in (tuple(planes), spaced, upside_down, padded):
        np.testing.assert_array_equal(segmenter(given, format=layout).labels, found)
    for item in (tuple(planes), (planes, 0.5), (planes, None), (tuple(planes), np.float32(0.5))):
        np.testing.assert_array_equal(next(iter(segmenter.stream([item], format=layout))).labels, found)


def test_planes_that_do_not_fit_are_refused(test_bundle: Path) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every", threads=1)
    luma, pairs, half = np.zeros((48, 64), np.uint8), np.zeros((24, 32, 2), np.uint8), np.zeros((24, 32), np.uint8)
    for planes, layout, message in [
        ([luma, half, half], "nv12", "two planes of nv12"),
        ([luma, pairs], "i420", "three planes of i420"),
        ([], "i420", "found 0"),
        ([luma, half], "nv12", r"frame\[1\]: expected \(24, 32, 2\) uint8, found \(24, 32\) uint8"),
        ([luma, half, half[:, :-1]], "i420", r"frame\[2\]: expected \(24, 32\) uint8, found \(24, 31\)"),
        ([luma, luma, luma], "rgb", '"nv12" or "i420" alone'),
        ([luma[0], half, half], "i420", r"frame\[0\]: expected \(H, W\) uint8, found \(64,\)"),
    ]:
        with pytest.raises(stpl_rt.Error, match=message):
            segmenter(planes, format=layout)
    with pytest.raises(TypeError, match=r"frame\[1\]: expected .* uint8, found \(24, 32, 2\) float32"):
        segmenter([luma, pairs.astype(np.float32)], format="nv12")
    with pytest.raises(TypeError, match=r"frame\[1\]: expected an array .* found str"):
        segmenter([luma, "chroma"], format="nv12")


def test_logits_are_the_networks(test_bundle: Path, bundle_maker: ModuleType, moving_picture: Pixels) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every", threads=1)
    segmenter(moving_picture[0])
    expected = reference_logits(moving_picture[0], bundle_maker)[0].numpy()
    np.testing.assert_allclose(segmenter.logits(), expected, atol=1e-3)


def test_a_forked_child_is_told_to_make_its_own(test_bundle: Path, moving_picture: Pixels) -> None:
    script = """
import os, sys
import numpy as np, stpl_rt
segmenter = stpl_rt.Segmenter(sys.argv[1], threads=2)
frame = np.zeros((48, 64, 3), np.uint8)
segmenter(frame)
child = os.fork()
if child == 0:
    try:
        segmenter(frame)
    except stpl_rt.Error as error:
        assert error.code == "unsupported" and "fork" in str(error)
        del segmenter
        sys.exit(7)
    sys.exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
segmenter(frame)
"""
    done = subprocess.run([sys.executable, "-c", script, str(test_bundle)], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_forked_child_may_make_its_own(coarse_bundle: Path) -> None:
    """Of the folder and of the parent's bundle, also while the parent's network is late and frames are in its queue."""
    script = """
import os, sys
import numpy as np, stpl_rt
options = dict(threads=2, schedule="fixed:3", key_lag=1)
frames = np.random.default_rng(0).integers(0, 255, (5, 240, 320, 3), dtype=np.uint8)
segmenter = stpl_rt.Segmenter(sys.argv[1], **options)
expected = [segmenter(frame).labels for frame in frames]
segmenter.submit(frames[0])

def says_the_same(own):
    return all(np.array_equal(own(frame).labels, labels) for frame, labels in zip(frames, expected, strict=True))

child = os.fork()
if child == 0:
    of_folder = says_the_same(stpl_rt.Segmenter(sys.argv[1], **options))
    of_bundle = says_the_same(stpl_rt.Segmenter(segmenter.bundle, **options))
    sys.exit(7 if of_folder and of_bundle else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
segmenter.collect()
"""
    command = [sys.executable, "-c", script, str(coarse_bundle)]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_may_end_with_frames_under_way(test_bundle: Path) -> None:
    script = """
import sys
import numpy as np, stpl_rt
segmenter = stpl_rt.Segmenter(sys.argv[1], threads=2, queue=8)
for _ in range(8):
    segmenter.submit(np.zeros((480, 640, 3), np.uint8))
"""
    done = subprocess.run([sys.executable, "-c", script, str(test_bundle)], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def traced(bundle: Path, file: Path, arguments: str, frames: int, size: tuple[int, int] = (48, 64)) -> list[dict]:
    """The events of a Segmenter's trace, in a process of its own."""
    script = f"""
import sys
import numpy as np, stpl_rt
segmenter = stpl_rt.Segmenter(sys.argv[1], scene_cuts=False, {arguments})
for _ in range({frames}):
    segmenter(np.zeros((*{size}, 3), np.uint8))
segmenter.wait()
"""
    environment = {**os.environ, "STPL_RT_TRACE": str(file)}
    subprocess.run([sys.executable, "-c", script, str(bundle)], env=environment, timeout=60, check=True)
    return json.loads(file.read_text())["traceEvents"]


def test_what_waits_in_the_queue_is_dropped_with_the_segmenter(bundle_maker: ModuleType, tmp_path: Path) -> None:
    """Only the frame in hand is waited for."""
    bundle_maker.write_bundle(tmp_path / "slow", 320, 192, 8, align_corners=False, slow=True)
    frame = np.zeros((192, 320, 3), np.uint8)
    segmenter = stpl_rt.Segmenter(tmp_path / "slow", schedule="every", queue=30, threads=1)
    segmenter(frame)
    start = time.perf_counter()
    for _ in range(4):
        segmenter(frame)
    four = time.perf_counter() - start
    for _ in range(30):
        segmenter.submit(frame)
    start = time.perf_counter()
    del segmenter
    assert time.perf_counter() - start < 3 * four, "30 frames would take seven times as long as four"


def test_a_trace_is_written(test_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    events = traced(test_bundle, file, 'schedule="fixed:2", threads=1', 4)
    count = {name: sum(event["name"] == name for event in events) for name in ("push", "network", "flow", "sample")}
    assert count == {"push": 4, "network": 2, "flow": 4, "sample": 4}
    pushes = [event for event in events if event["name"] == "push"]
    assert all(event["dur"] > 0 and event["ph"] == "X" for event in pushes)
    assert [event["ts"] for event in pushes] == sorted(event["ts"] for event in pushes)
    assert list(tmp_path.iterdir()) == [file]


def test_a_trace_shows_the_threads_that_help_with_the_kernels(coarse_bundle: Path, tmp_path: Path) -> None:
    events = traced(coarse_bundle, tmp_path / "trace.json", 'schedule="fixed:9", threads=2', 20, (720, 1280))
    pushes = [event for event in events if event["name"] == "push"]
    helped = [event for event in events if event["name"] == "kernel"]
    # On a busy machine the caller may be done with a kernel before the other thread has woken, not with all of twenty.
    assert helped and {event["tid"] for event in helped}.isdisjoint({event["tid"] for event in pushes})
    first, last = pushes[0]["ts"], pushes[-1]["ts"] + pushes[-1]["dur"]
    assert all(first <= event["ts"] <= last and event["dur"] > 0 for event in helped)


def test_a_trace_shows_when_a_late_network_ran(coarse_bundle: Path, tmp_path: Path) -> None:
    events = traced(coarse_bundle, tmp_path / "trace.json", 'schedule="fixed:3", key_lag=2, threads=1', 7)
    late = [event for event in events if event["name"] == "network in the background"]
    starts = [event for event in events if event["name"] == "start the network"]
    assert len(late) == len(starts) == 2  # of frames 3 and 6; that of frame 0 was waited for
    pusher = next(event["tid"] for event in events if event["name"] == "push")
    for run, start in zip(late, starts, strict=True):
        assert run["tid"] != pusher
        assert start["ts"] <= run["ts"] <= start["ts"] + start["dur"] and run["dur"] > 0
