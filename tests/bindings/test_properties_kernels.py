"""The kernels against what their headers say, written down once more in NumPy, for whatever sizes and values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import example, given
from hypothesis import strategies as st

import stpl_rt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Size = tuple[int, int]  # height, width

SIDES = st.one_of(st.integers(1, 33), st.integers(34, 150))
SIZES = st.tuples(SIDES, SIDES)
SEEDS = st.integers(0, 9999)
# Red's and blue's weights in luma; whether luma uses all of 0 to 255.
ENCODINGS = {
    "bt601": (0.299, 0.114, False),
    "bt709": (0.2126, 0.0722, False),
    "bt601_full": (0.299, 0.114, True),
    "bt709_full": (0.2126, 0.0722, True),
}


# --- preprocess and luma, transcribed ---


def random_frame(size: Size, pixel_format: str, seed: int) -> Bytes:
    height, width = size
    shape: tuple[int, ...] = (height, width, 3)
    if pixel_format == "gray":
        shape = (height, width)
    elif pixel_format in ("nv12", "i420"):
        shape = ((height + height % 2) * 3 // 2, width + width % 2)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def planes_of(frame: Bytes, pixel_format: str) -> tuple[Bytes, Bytes, Bytes]:
    """Luma and the two chroma planes at its size, repeated."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    chroma = frame[height:].reshape(-1)
    if pixel_format == "nv12":
        cb, cr = chroma.reshape(height // 2, width // 2, 2).transpose(2, 0, 1)
    else:
        cb, cr = chroma.reshape(2, height // 2, width // 2)
    return frame[:height], cb.repeat(2, 0).repeat(2, 1), cr.repeat(2, 0).repeat(2, 1)


def fixed(value: float) -> int:
    """In 16 fractional bits."""
    return math.floor(abs(value) * 65536 + 0.5) * (1 if value >= 0 else -1)


def to_bytes(value: Any) -> Floats:
    """From 16 fractional bits, rounded and clipped."""
    return np.asarray(np.clip((np.asarray(value) + 32768) >> 16, 0, 255), float)


def stretched_luma(luma: Bytes, encoding: str) -> npt.NDArray[np.int64]:
    """In 16 fractional bits."""
    full = ENCODINGS[encoding][2]
    return np.asarray(fixed(1.0 if full else 255 / 219) * (luma.astype(np.int64) - (0 if full else 16)))


def to_rgb(frame: Bytes, pixel_format: str, encoding: str) -> Floats:
    """(H, W, 3), 0 to 255."""
    if pixel_format == "gray":
        return np.repeat(frame[..., None], 3, axis=2).astype(float)
    if pixel_format in ("rgb", "bgr"):
        return (frame if pixel_format == "rgb" else frame[..., ::-1]).astype(float)
    red, blue, full = ENCODINGS[encoding]
    green = 1 - red - blue
    step = 2 * (1.0 if full else 255 / 224)
    luma, cb, cr = planes_of(frame, pixel_format)
    y, u, v = stretched_luma(luma, encoding), cb.astype(np.int64) - 128, cr.astype(np.int64) - 128
    g = y + fixed(-step * (1 - blue) * blue / green) * u + fixed(-step * (1 - red) * red / green) * v
    return to_bytes(np.stack([y + fixed(step * (1 - red)) * v, g, y + fixed(step * (1 - blue)) * u], axis=2))


def weights(n_out: int, n_in: int, scale: float, offset: float, area: bool) -> Floats:
    """(n_out, n_in): how much of each source pixel is in each output pixel, centred at scale * i + offset."""
    centres = scale * np.arange(n_out) + offset
    if area and scale > 1:
        low = np.clip(centres + 0.5 - scale / 2, 0, n_in)[:, None]
        high = np.clip(centres + 0.5 + scale / 2, 0, n_in)[:, None]
        edges = np.arange(n_in)
        overlap = np.clip(np.minimum(high, edges + 1) - np.maximum(low, edges), 0, None)
        outside = high[:, 0] - low[:, 0] < 1e-6
        overlap[outside] = 0
        overlap[outside, np.where(low[outside, 0] <= 0, 0, n_in - 1)] = 1
        return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))
    centres = np.clip(centres, 0, n_in - 1)
    left = np.minimum(centres.astype(int), max(n_in - 2, 0))
    result = np.zeros((n_out, n_in))
    rows = np.arange(n_out)
    np.add.at(result, (rows, left), 1 - (centres - left))
    np.add.at(result, (rows, np.minimum(left + 1, n_in - 1)), centres - left)
    return result


def content(frame: Size, spec: stpl_rt.InputSpec) -> tuple[int, int, int, int]:
    """Top, left, height and width of what the frame covers of the input."""
    if spec.resize == "stretch":
        return 0, 0, spec.height, spec.width
    scale = min(spec.width / frame[1], spec.height / frame[0])
    width = min(max(math.floor(frame[1] * scale + 0.5), 1), spec.width)
    height = min(max(math.floor(frame[0] * scale + 0.5), 1), spec.height)
    return (spec.height - height) // 2, (spec.width - width) // 2, height, width


def transcribed_preprocess(rgb: Floats, spec: stpl_rt.InputSpec) -> Floats:
    if spec.lut is not None:
        rgb = np.stack([spec.lut[c][rgb[..., c].astype(int)] for c in range(3)], axis=2).astype(float)
    top, left, height, width = content((rgb.shape[0], rgb.shape[1]), spec)
    scales = rgb.shape[0] / height, rgb.shape[1] / width
    down, across = (
        weights(n, m, s, 0.5 * s - 0.5, spec.filter == "area")
        for n, m, s in zip((height, width), rgb.shape[:2], scales, strict=True)
    )
    out = np.zeros((3, spec.height, spec.width))
    for plane in range(3):
        colour = 2 - plane if spec.color_order == "bgr" else plane
        resized = down @ rgb[..., colour] @ across.T
        out[plane, top : top + height, left : left + width] = (resized - spec.mean[plane]) / spec.std[plane]
    return out


def transcribed_luma(bright: Floats, spec: stpl_rt.InputSpec, grid: Size) -> Floats:
    """`bright`: the luma of the frame's own pixels."""
    top, left, height, width = content((bright.shape[0], bright.shape[1]), spec)

    def axis(n_grid: int, n_input: int, begin: int, n_content: int, n_source: int) -> Floats:
        to_source = n_source / n_content
        scale = n_input / n_grid * to_source
        return weights(n_grid, n_source, scale, 0.5 * scale - begin * to_source - 0.5, True)

    down = axis(grid[0], spec.height, top, height, bright.shape[0])
    across = axis(grid[1], spec.width, left, width, bright.shape[1])
    return np.asarray(down @ bright @ across.T)


@st.composite
def specs(draw: st.DrawFn) -> stpl_rt.InputSpec:
    height, width = draw(SIZES)
    table = None
    if draw(st.booleans()):
        table = np.random.default_rng(draw(SEEDS)).integers(0, 256, (3, 256), dtype=np.uint8)
    return stpl_rt.InputSpec(
        width,
        height,
        mean=draw(st.lists(st.floats(-50, 300), min_size=3, max_size=3)),
        std=draw(st.lists(st.floats(1, 200), min_size=3, max_size=3)),
        lut=table,
        color_order=draw(st.sampled_from(["rgb", "bgr"])),
        resize=draw(st.sampled_from(["stretch", "letterbox"])),
        filter=draw(st.sampled_from(["bilinear", "area"])),
    )


@given(
    size=SIZES,
    spec=specs(),
    pixel_format=st.sampled_from(["rgb", "bgr", "gray", "nv12", "i420"]),
    encoding=st.sampled_from(list(ENCODINGS)),
    seed=SEEDS,
)
def test_preprocess_is_its_transcription(
    size: Size, spec: stpl_rt.InputSpec, pixel_format: str, encoding: str, seed: int
) -> None:
    frame = random_frame(size, pixel_format, seed)
    name = "rgb" if pixel_format == "gray" else pixel_format
    found = stpl_rt.preprocess(frame, spec, format=name, encoding=encoding)
    assert found.shape == (3, spec.height, spec.width) and found.dtype == np.float32
    expected = transcribed_preprocess(to_rgb(frame, pixel_format, encoding), spec)
    wrong = np.abs(found - expected) * np.array(spec.std)[:, None, None]
    assert wrong.max() < 2e-3


@given(
    size=SIZES,
    spec=specs(),
    grid=st.one_of(st.none(), SIZES),
    pixel_format=st.sampled_from(["rgb", "bgr", "gray", "nv12", "i420"]),
    encoding=st.sampled_from(list(ENCODINGS)),
    seed=SEEDS,
)
def test_luma_is_its_transcription(
    size: Size, spec: stpl_rt.InputSpec, grid: Size | None, pixel_format: str, encoding: str, seed: int
) -> None:
    frame = random_frame(size, pixel_format, seed)
    name = "rgb" if pixel_format == "gray" else pixel_format
    found = stpl_rt.luma(frame, spec, size=grid, format=name, encoding=encoding)
    grid = grid or (spec.height, spec.width)
    assert found.shape == grid and found.dtype == np.uint8
    if pixel_format in ("nv12", "i420"):
        bright = to_bytes(stretched_luma(planes_of(frame, pixel_format)[0], encoding))
    else:
        bright = to_rgb(frame, pixel_format, encoding) @ np.array([77.0, 150.0, 29.0]) / 256
    expected = transcribed_luma(bright, spec, grid)
    assert np.abs(found - expected).max() < 0.51


# --- reads along flow ---


def read_bilinear(planes: Floats, x: Floats, y: Floats) -> Floats:
    """planes (C, h, w) at pixel positions, border-clamped."""
    height, width = planes.shape[1:]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    x0, y0 = x.astype(int), y.astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    a, b = x - x0, y - y0
    upper = (1 - a) * planes[:, y0, x0] + a * planes[:, y0, x1]
    lower = (1 - a) * planes[:, y1, x0] + a * planes[:, y1, x1]
    return np.asarray((1 - b) * upper + b * lower)


def grid_of(size: Size) -> tuple[Floats, Floats]:
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(float)
    return x, y


def random_flow(size: Size, scale: float, seed: int) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((*size, 2)) * scale).astype(np.float32)


def integer_flow(size: Size, reach: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(-reach, reach + 1, (*size, 2))


def gather(planes: Any, flow: npt.NDArray[np.int64]) -> Any:
    """planes (C, h, w) at whole positions, border-clamped."""
    height, width = planes.shape[1:]
    y, x = np.mgrid[0:height, 0:width]
    return planes[:, np.clip(y + flow[..., 1], 0, height - 1), np.clip(x + flow[..., 0], 0, width - 1)]


def random_logits(classes: int, size: Size, seed: int) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((classes, *size)) * 3).astype(np.float32)


CHANNELS = st.integers(1, 20)
SPEEDS = st.sampled_from([0.0, 0.3, 4.0, 60.0])


@given(size=SIZES, channels=CHANNELS, speed=SPEEDS, seed=SEEDS)
def test_warp_is_its_transcription(size: Size, channels: int, speed: float, seed: int) -> None:
    past, flow = random_logits(channels, size, seed), random_flow(size, speed, seed + 1)
    x, y = grid_of(size)
    expected = read_bilinear(past.astype(float), x + flow[..., 0], y + flow[..., 1])
    np.testing.assert_allclose(stpl_rt.warp(past, flow), expected, atol=5e-4)


@given(size=SIZES, channels=CHANNELS, reach=st.integers(0, 200), seed=SEEDS)
def test_whole_flow_moves_whole_pixels(size: Size, channels: int, reach: int, seed: int) -> None:
    past, flow = random_logits(channels, size, seed), integer_flow(size, reach, seed)
    np.testing.assert_array_equal(stpl_rt.warp(past, flow.astype(np.float32)), gather(past, flow))


@given(size=SIZES, speed=SPEEDS, reach=st.integers(0, 30), seed=SEEDS)
def test_composition_is_its_transcription(size: Size, speed: float, reach: int, seed: int) -> None:
    latest, past = random_flow(size, speed, seed), random_flow(size, 5.0, seed + 1)
    x, y = grid_of(size)
    read = read_bilinear(past.transpose(2, 0, 1).astype(float), x + latest[..., 0], y + latest[..., 1])
    np.testing.assert_allclose(stpl_rt.compose_flow(latest, past), latest + read.transpose(1, 2, 0), atol=1e-3)
    nothing = np.zeros_like(past)
    np.testing.assert_array_equal(stpl_rt.compose_flow(nothing, past), past)
    np.testing.assert_array_equal(stpl_rt.compose_flow(latest, nothing), latest)
    whole = integer_flow(size, reach, seed)
    chained = whole + gather(whole.transpose(2, 0, 1), whole).transpose(1, 2, 0)
    found = stpl_rt.compose_flow(whole.astype(np.float32), whole.astype(np.float32))
    np.testing.assert_array_equal(found, chained)


# --- sample + argmax ---


def upsampled(logits: npt.NDArray[np.float32], size: Size, align_corners: bool) -> Floats:
    def along(n_out: int, n_in: int) -> Floats:
        if align_corners:
            return np.asarray(np.arange(n_out) * ((n_in - 1) / (n_out - 1) if n_out > 1 else 0.0), float)
        return np.asarray((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, float)

    x, y = np.meshgrid(along(size[1], logits.shape[2]), along(size[0], logits.shape[1]))
    return read_bilinear(logits.astype(float), x, y)


def assert_best(labels: Bytes, values: Floats) -> None:
    """Each label's value is the largest, up to rounding."""
    assert labels.shape == values.shape[1:]
    chosen = np.take_along_axis(values, labels[None].astype(int), axis=0)[0]
    assert (values.max(axis=0) - chosen).max() < 2e-3


@given(
    classes=st.one_of(st.integers(1, 24), st.sampled_from([63, 64, 65, 255])),
    logits_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=SIZES,
    align_corners=st.booleans(),
    seed=SEEDS,
)
@example(classes=19, logits_size=(3, 512), size=(9, 4096), align_corners=False, seed=0)
@example(classes=19, logits_size=(270, 2), size=(2160, 5), align_corners=True, seed=0)
def test_zero_flow_is_plain_upsampling(
    classes: int, logits_size: Size, size: Size, align_corners: bool, seed: int
) -> None:
    logits = random_logits(classes, logits_size, seed)
    values = upsampled(logits, size, align_corners)
    plain, sure = stpl_rt.sample_argmax(logits, size, align_corners=align_corners, confidence=True)
    assert_best(plain, values)
    best = 1 / np.exp(values - values.max(axis=0)).sum(axis=0)
    assert np.abs(sure - 255 * best).max() < 0.7
    flow = np.zeros((max(size[0] // 3, 1), max(size[1] // 2, 1), 2), np.float32)
    valid = np.ones(flow.shape[:2], np.float32)
    still, certainty = stpl_rt.sample_argmax(
        logits, size, flow=flow, validity=valid, align_corners=align_corners, confidence=True
    )
    assert_best(still, values)
    assert np.abs(certainty.astype(int) - sure).max() <= 1
    doubted = stpl_rt.sample_argmax(
        logits, size, flow=flow, validity=0 * valid, align_corners=align_corners, confidence=True
    )
    np.testing.assert_array_equal(doubted[0], still)
    assert not doubted[1].any()


@given(classes=CHANNELS, size=SIZES, reach=st.integers(0, 50), align_corners=st.booleans(), seed=SEEDS)
def test_whole_flow_shifts_the_labels(classes: int, size: Size, reach: int, align_corners: bool, seed: int) -> None:
    """On one grid for logits, flow and labels nothing lies between pixels."""
    logits, flow = random_logits(classes, size, seed), integer_flow(size, reach, seed)
    found = stpl_rt.sample_argmax(logits, size, flow=flow.astype(np.float32), align_corners=align_corners)
    np.testing.assert_array_equal(found, gather(logits, flow).argmax(axis=0))


@given(classes=CHANNELS, logits_size=SIZES, size=SIZES, speed=SPEEDS, seed=SEEDS)
def test_classes_are_all_alike(classes: int, logits_size: Size, size: Size, speed: float, seed: int) -> None:
    """Exchanging classes exchanges labels; what is added to all of them changes none."""
    logits = np.round(random_logits(classes, logits_size, seed) * 64)  # whole: sums and differences are exact
    flow = random_flow(size, speed, seed)
    order = np.random.default_rng(seed).permutation(classes)
    labels = stpl_rt.sample_argmax(logits, size, flow=flow)
    exchanged = stpl_rt.sample_argmax(np.ascontiguousarray(logits[order]), size, flow=flow)
    raised = stpl_rt.sample_argmax(logits + 128, size, flow=flow)
    values = stpl_rt.sample_argmax(logits, size, flow=flow, confidence=True)[1]
    clear = values > 140  # more than half: no other class is near
    np.testing.assert_array_equal(order[exchanged][clear], labels[clear])
    np.testing.assert_array_equal(raised[clear], labels[clear])
