"""The kernels through the bindings, against PyTorch and OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stpl_rt

torch = pytest.importorskip("torch")
functional = torch.nn.functional

SIZES = [(48, 64), (33, 17), (1, 1), (1, 9), (13, 1), (2, 2), (97, 131)]  # (height, width)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_frame(height: int, width: int, seed: int = 0) -> np.ndarray:
    return rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_flow(height: int, width: int, scale: float, seed: int = 0) -> np.ndarray:
    return (rng(seed).standard_normal((height, width, 2)) * scale).astype(np.float32)


def identity_spec(height: int, width: int, **options: Any) -> stpl_rt.InputSpec:
    """A spec whose network input is the resized frame itself, in 0..255."""
    return stpl_rt.InputSpec(width, height, mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0], **options)


def interpolate(planes: np.ndarray, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Planes (C, h, w) at `size`, by PyTorch, in double precision."""
    batch = torch.from_numpy(np.ascontiguousarray(planes)).double()[None]
    return functional.interpolate(batch, size, mode="bilinear", align_corners=align_corners)[0]


def read_at(planes: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Planes (C, h, w) read at pixel positions (H, W), by grid_sample."""
    height, width = planes.shape[1:]
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    return functional.grid_sample(
        planes.double()[None], grid.double()[None], mode="bilinear", padding_mode="border", align_corners=True
    )[0]


def pixel_grid(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return x, y


def warped_by_torch(past: np.ndarray, flow: np.ndarray) -> np.ndarray:
    x, y = pixel_grid(*flow.shape[:2])
    displacement = torch.from_numpy(flow).double()
    return read_at(torch.from_numpy(past), x + displacement[..., 0], y + displacement[..., 1]).numpy()


# --- preprocess and luma ---


@pytest.mark.parametrize("source", SIZES)
@pytest.mark.parametrize("target", [(24, 32), (1, 1), (77, 50)])
def test_preprocess_is_interpolate(source: tuple[int, int], target: tuple[int, int]) -> None:
    frame = random_frame(*source)
    expected = interpolate(frame.transpose(2, 0, 1).astype(np.float64), target)
    found = stpl_rt.preprocess(frame, identity_spec(*target))
    assert found.dtype == np.float32 and found.shape == (3, *target)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_preprocess_of_the_networks_size_is_exact() -> None:
    frame = random_frame(37, 53)
    table = rng(1).integers(0, 256, (3, 256), dtype=np.uint8)
    mean, std = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]
    spec = stpl_rt.InputSpec(53, 37, mean=mean, std=std, lut=table)
    calibrated = np.stack([table[c][frame[..., c]] for c in range(3)])
    expected = (calibrated - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    np.testing.assert_allclose(stpl_rt.preprocess(frame, spec), expected, atol=1e-5)


def test_table_comes_before_the_resize_and_the_mean_after() -> None:
    frame = random_frame(40, 60)
    table = np.stack([np.where(np.arange(256) > 127, 255, 0)] * 3).astype(np.uint8)  # far from linear
    spec = stpl_rt.InputSpec(31, 23, mean=[10.0, 20.0, 30.0], std=[2.0, 3.0, 4.0], lut=table, color_order="bgr")
    resized = interpolate(table[0][frame[..., ::-1]].transpose(2, 0, 1).astype(np.float64), (23, 31)).numpy()
    expected = (resized - np.array([10.0, 20.0, 30.0])[:, None, None]) / np.array([2.0, 3.0, 4.0])[:, None, None]
    np.testing.assert_allclose(stpl_rt.preprocess(frame, spec), expected, atol=1e-3)


@pytest.mark.parametrize("target", [(24, 32), (60, 80)])
def test_formats_and_strides_make_no_difference(target: tuple[int, int]) -> None:
    frame = random_frame(60, 80)
    spec = identity_spec(*target)
    expected = stpl_rt.preprocess(frame, spec)
    np.testing.assert_array_equal(stpl_rt.preprocess(frame[..., ::-1].copy(), spec, format="bgr"), expected)
    wide = np.zeros((60, 100, 3), np.uint8)
    wide[:, 7:87] = frame
    np.testing.assert_array_equal(stpl_rt.preprocess(wide[:, 7:87], spec), expected)
    np.testing.assert_array_equal(stpl_rt.preprocess(frame[::-1].copy()[::-1], spec), expected)
    every_second = np.zeros((60, 160, 3), np.uint8)
    every_second[:, ::2] = frame
    np.testing.assert_array_equal(stpl_rt.preprocess(every_second[:, ::2], spec), expected)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(stpl_rt.preprocess(frame, spec, threads=threads), expected)


@pytest.mark.parametrize("target", [(24, 32), (60, 80)])
def test_grey_frames_fill_all_channels(target: tuple[int, int]) -> None:
    grey = random_frame(60, 80)[..., 0].copy()
    spec = stpl_rt.InputSpec(target[1], target[0], mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    expected = stpl_rt.preprocess(np.repeat(grey[..., None], 3, axis=2), spec)
    np.testing.assert_allclose(stpl_rt.preprocess(grey, spec, format="gray"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "target"), [((90, 120), (30, 40)), ((97, 131), (40, 50)), ((61, 47), (60, 46)), ((33, 17), (1, 1))]
)
def test_area_filter_is_opencvs(source: tuple[int, int], target: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    frame = random_frame(*source)
    expected = cv2.resize(frame.astype(np.float32), target[::-1], interpolation=cv2.INTER_AREA)
    found = stpl_rt.preprocess(frame, identity_spec(*target, filter="area"))
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, atol=2e-3)


def test_area_filter_is_bilinear_where_nothing_shrinks() -> None:
    frame = random_frame(20, 30)
    area = stpl_rt.preprocess(frame, identity_spec(40, 45, filter="area"))
    np.testing.assert_allclose(area, interpolate(frame.transpose(2, 0, 1).astype(np.float64), (40, 45)), atol=1e-3)


@pytest.mark.parametrize(
    ("source", "content"), [((60, 120), (8, 0, 16, 32)), ((90, 30), (0, 10, 32, 11)), ((16, 32), (8, 0, 16, 32))]
)
def test_letterbox_centres_the_frame_in_the_mean(source: tuple[int, int], content: tuple[int, int, int, int]) -> None:
    frame = random_frame(*source)
    spec = stpl_rt.InputSpec(32, 32, mean=[100.0] * 3, std=[50.0] * 3, resize="letterbox")
    top, left, height, width = content
    expected = np.zeros((3, 32, 32))
    inside = interpolate(frame.transpose(2, 0, 1).astype(np.float64), (height, width)).numpy()
    expected[:, top : top + height, left : left + width] = (inside - 100) / 50
    np.testing.assert_allclose(stpl_rt.preprocess(frame, spec), expected, atol=1e-4)


def test_luma_is_the_stated_formula() -> None:
    frame = random_frame(37, 53)
    wide = frame.astype(int)
    expected = (77 * wide[..., 0] + 150 * wide[..., 1] + 29 * wide[..., 2] + 128) >> 8
    np.testing.assert_array_equal(stpl_rt.luma(frame, identity_spec(37, 53)), expected)
    bgr = frame[..., ::-1].copy()
    np.testing.assert_array_equal(stpl_rt.luma(bgr, identity_spec(37, 53), format="bgr"), expected)


def test_luma_ignores_the_calibration() -> None:
    frame = random_frame(30, 40)
    inverted = np.stack([255 - np.arange(256)] * 3).astype(np.uint8)
    expected = stpl_rt.luma(frame, identity_spec(15, 20))
    np.testing.assert_array_equal(stpl_rt.luma(frame, identity_spec(15, 20, lut=inverted)), expected)


@pytest.mark.parametrize("size", [(30, 40), (45, 60), (7, 11), (1, 1)])
def test_luma_shrinks_by_area(size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    frame = random_frame(90, 120)
    luminance = frame.astype(np.float32) @ np.array([77, 150, 29], np.float32) / 256
    expected = cv2.resize(luminance, size[::-1], interpolation=cv2.INTER_AREA)
    found = stpl_rt.luma(frame, identity_spec(60, 80), size=size)
    assert np.abs(found - expected).max() <= 0.51


# --- warp and composition ---


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 11])
def test_warp_is_grid_sample(size: tuple[int, int], channels: int) -> None:
    past = rng(1).standard_normal((channels, *size)).astype(np.float32)
    flow = random_flow(*size, scale=8.0)
    found = stpl_rt.warp(past, flow)
    assert found.dtype == np.float32 and found.shape == past.shape
    np.testing.assert_allclose(found, warped_by_torch(past, flow), atol=2e-4)


def test_warp_takes_strided_arrays() -> None:
    past = rng(1).standard_normal((40, 60, 5)).astype(np.float32)
    flow = random_flow(80, 60, 3.0)
    expected = warped_by_torch(past.transpose(2, 0, 1).copy(), flow[::2].copy())
    np.testing.assert_allclose(stpl_rt.warp(past.transpose(2, 0, 1), flow[::2]), expected, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_composed_flow_is_the_latest_plus_the_warped_past(size: tuple[int, int]) -> None:
    latest = random_flow(*size, scale=4.0, seed=1)
    past = random_flow(*size, scale=4.0, seed=2)
    expected = latest + warped_by_torch(past.transpose(2, 0, 1).copy(), latest).transpose(1, 2, 0)
    np.testing.assert_allclose(stpl_rt.compose_flow(latest, past), expected, atol=2e-4)


def test_flow_validity_separates_what_was_followed_from_what_was_not() -> None:
    past = np.repeat(np.repeat(rng(3).integers(0, 256, (12, 16), dtype=np.uint8), 8, axis=0), 8, axis=1)
    current = np.roll(past, 5, axis=1)
    flow = np.zeros((*past.shape, 2), np.float32)
    flow[..., 0] = -5
    valid = stpl_rt.flow_validity(current, past, flow)
    assert valid.shape == past.shape and valid.dtype == np.float32
    assert (valid[:, 7:] == 1).all()
    assert (valid[:, :3] == 0).all()  # outside the past frame
    wrong = stpl_rt.flow_validity(current, past, np.zeros_like(flow))
    edges = np.abs(current.astype(int) - past) > 60
    assert (wrong[edges] == 0).all() and edges.mean() > 0.2


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (33, 50)])
def test_flow_validity_with_the_flow_back_is_the_forward_backward_check(size: tuple[int, int]) -> None:
    """Sundaram et al., ECCV 2010, equation 5: whole within the tolerance, nothing from twice its distance on."""
    flow = random_flow(*size, scale=3.0, seed=1)
    back = random_flow(*size, scale=1.0, seed=2) - flow
    still = np.full(size, 90, np.uint8)
    from_there = warped_by_torch(back.transpose(2, 0, 1).copy(), flow).transpose(1, 2, 0)
    off = np.square(flow + from_there).sum(-1)
    tolerance = 0.01 * (np.square(flow).sum(-1) + np.square(from_there).sum(-1)) + 0.5
    trust = np.clip((4 - off / tolerance) / 3, 0, 1)
    expected = np.minimum(stpl_rt.flow_validity(still, still, flow), trust)
    np.testing.assert_allclose(stpl_rt.flow_validity(still, still, flow, back=back), expected, atol=1e-4)


def test_flow_validity_refuses_a_flow_back_of_another_size() -> None:
    luma, flow = np.zeros((8, 9), np.uint8), np.zeros((8, 9, 2), np.float32)
    with pytest.raises(stpl_rt.Error, match="back"):
        stpl_rt.flow_validity(luma, luma, flow, back=flow[:, 1:])


# --- sampling and argmax ---


def random_logits(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return (rng(seed).standard_normal((classes, height, width)) * 3).astype(np.float32)


def assert_labels(found: np.ndarray, values: torch.Tensor) -> None:
    """At least 99.99 % of pixels agree (one may differ in a small image); the others are ties within rounding."""
    assert found.dtype == np.uint8 and found.shape == tuple(values.shape[1:])
    labels = torch.from_numpy(found.astype(np.int64))
    differing = labels != values.argmax(0)
    assert differing.sum() <= max(1, found.size // 10000), f"{int(differing.sum())} of {found.size} pixels differ"
    lead = values.amax(0) - values.gather(0, labels[None])[0]
    assert lead.max() < 1e-3


@pytest.mark.parametrize(
    ("classes", "logits_size", "size"),
    [
        (11, (60, 80), (240, 320)),
        (11, (60, 80), (360, 480)),
        (19, (65, 129), (513, 1025)),
        (19, (33, 47), (201, 333)),
        (2, (7, 5), (64, 64)),
        (150, (12, 16), (96, 128)),
        (100, (24, 70), (200, 300)),
        (5, (40, 60), (21, 33)),
        (3, (1, 1), (9, 7)),
        (3, (6, 1), (9, 7)),
        (4, (8, 8), (1, 1)),
        (1, (8, 8), (40, 40)),
        (255, (4, 4), (16, 16)),
    ],
)
@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_are_interpolate_and_argmax(
    classes: int, logits_size: tuple[int, int], size: tuple[int, int], align_corners: bool
) -> None:
    logits = random_logits(classes, *logits_size)
    values = interpolate(logits, size, align_corners)
    found, confidence = stpl_rt.sample_argmax(logits, size, align_corners=align_corners, confidence=True)
    assert_labels(found, values)
    expected = 255 * values.softmax(0).amax(0).numpy()
    assert np.abs(confidence - expected).max() < 0.6
    np.testing.assert_array_equal(stpl_rt.sample_argmax(logits, size, align_corners=align_corners), found)


def test_labels_agree_with_pytorch_in_single_precision() -> None:
    logits = random_logits(19, 128, 256)
    size = (512, 1024)
    values = functional.interpolate(torch.from_numpy(logits)[None], size, mode="bilinear", align_corners=False)[0]
    assert (stpl_rt.sample_argmax(logits, size) == values.argmax(0).numpy()).mean() >= 0.9999


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("classes", "logits_size", "flow_size", "input_size", "size"),
    [
        (11, (60, 80), (120, 160), (240, 320), (360, 480)),
        (19, (33, 65), (50, 70), (130, 258), (131, 257)),
        (40, (20, 30), (80, 120), (80, 120), (80, 120)),
        (3, (1, 1), (5, 5), (8, 8), (20, 20)),
        (3, (1, 9), (1, 1), (8, 72), (8, 72)),
        (6, (30, 40), (11, 13), (120, 160), (1, 1)),
    ],
)
def test_displaced_labels_are_grid_sample_and_argmax(
    classes: int,
    logits_size: tuple[int, int],
    flow_size: tuple[int, int],
    input_size: tuple[int, int],
    size: tuple[int, int],
    align_corners: bool,
) -> None:
    logits = random_logits(classes, *logits_size)
    flow = random_flow(*flow_size, scale=5.0)
    validity = rng(4).random(flow_size, dtype=np.float32)

    def along(n: int, n_from: int, n_to: int, x: torch.Tensor) -> torch.Tensor:
        if align_corners:
            return x * (n_to - 1) / max(n_from - 1, 1) if n > 1 else 0 * x
        return (x + 0.5) * n_to / n_from - 0.5

    x, y = pixel_grid(*size)
    x = along(size[1], size[1], input_size[1], x)
    y = along(size[0], size[0], input_size[0], y)
    on_flow = [(v + 0.5) * f / n - 0.5 for v, f, n in zip((x, y), flow_size[::-1], input_size[::-1], strict=True)]
    displacement = read_at(torch.from_numpy(flow.transpose(2, 0, 1).copy()), *on_flow)
    x = x + displacement[0] * input_size[1] / flow_size[1]
    y = y + displacement[1] * input_size[0] / flow_size[0]
    values = read_at(
        torch.from_numpy(logits),
        along(logits_size[1], input_size[1], logits_size[1], x),
        along(logits_size[0], input_size[0], logits_size[0], y),
    )
    found, confidence = stpl_rt.sample_argmax(
        logits, size, flow=flow, validity=validity, align_corners=align_corners, confidence=True, input_size=input_size
    )
    assert_labels(found, values)
    trust = read_at(torch.from_numpy(validity)[None], *on_flow)[0]
    assert np.abs(confidence - (255 * values.softmax(0).amax(0) * trust).numpy()).max() < 0.7


@pytest.mark.parametrize("align_corners", [False, True])
def test_zero_flow_changes_nothing(align_corners: bool) -> None:
    logits = random_logits(19, 45, 61)
    flow = np.zeros((90, 122, 2), np.float32)
    displaced = stpl_rt.sample_argmax(logits, (180, 244), flow=flow, align_corners=align_corners)
    plain = stpl_rt.sample_argmax(logits, (180, 244), align_corners=align_corners)
    assert (displaced == plain).mean() >= 0.9999


def test_the_lowest_of_equal_classes_wins() -> None:
    logits = np.zeros((20, 6, 8), np.float32)
    logits[[5, 18]] = 1
    flow = random_flow(24, 32, 3.0)
    assert (stpl_rt.sample_argmax(logits, (24, 32)) == 5).all()
    assert (stpl_rt.sample_argmax(logits, (24, 32), flow=flow) == 5).all()


def test_threads_make_no_difference() -> None:
    logits = random_logits(19, 64, 128)
    flow = random_flow(128, 256, 4.0)
    plain = stpl_rt.sample_argmax(logits, (256, 512), threads=1)
    displaced = stpl_rt.sample_argmax(logits, (256, 512), flow=flow, threads=1)
    for threads in (2, 3):
        np.testing.assert_array_equal(stpl_rt.sample_argmax(logits, (256, 512), threads=threads), plain)
        np.testing.assert_array_equal(stpl_rt.sample_argmax(logits, (256, 512), flow=flow, threads=threads), displaced)


def test_flow_that_is_not_finite_is_survived() -> None:
    logits = random_logits(11, 30, 40)
    flow = random_flow(60, 80, 5.0)
    flow[3, 4] = np.nan
    flow[10, 11] = [np.inf, -np.inf]
    flow[20, 21] = 1e38
    labels, confidence = stpl_rt.sample_argmax(logits, (120, 160), flow=flow, confidence=True)
    assert labels.max() < 11
    assert confidence.shape == labels.shape
    assert np.isfinite(stpl_rt.warp(logits, np.full((30, 40, 2), np.nan, np.float32))).all()


@pytest.mark.parametrize("shape", [(256, 4, 4), (0, 4, 4), (4, 4)])
def test_impossible_logits_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises((stpl_rt.Error, ValueError, TypeError)):
        stpl_rt.sample_argmax(np.zeros(shape, np.float32), (8, 8))


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises((stpl_rt.Error, ValueError)):
        stpl_rt.warp(np.zeros((3, 8, 8), np.float32), np.zeros((8, 9, 2), np.float32))
    with pytest.raises((stpl_rt.Error, ValueError)):
        stpl_rt.compose_flow(np.zeros((8, 8, 2), np.float32), np.zeros((8, 9, 2), np.float32))
    with pytest.raises((stpl_rt.Error, ValueError)):
        stpl_rt.sample_argmax(
            np.zeros((3, 8, 8), np.float32),
            (16, 16),
            flow=np.zeros((8, 8, 2), np.float32),
            validity=np.zeros((8, 9), np.float32),
        )
