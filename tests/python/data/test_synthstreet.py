"""The generator of street video: the same bytes again, geometry that no domain touches, exact flow."""

from __future__ import annotations

import pickle
import time

import numpy as np
import numpy.typing as npt
import pytest

from stpl.data.specs import open_dataset
from stpl.data.synthstreet import CLASSES, DOMAINS, Options, SynthStreet
from stpl.errors import UserError

SMALL = (120, 160)
Floats = npt.NDArray[np.float64]


def street(**changes: object) -> SynthStreet:
    settings: dict[str, object] = {"seed": 5, "sequences": 2, "frames": 20, "size": SMALL}
    return SynthStreet(Options(**{**settings, **changes}))  # type: ignore[arg-type]


def grid_position(flow: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    height, width = flow.shape[:2]
    return np.arange(width) + flow[..., 0].astype(float), np.arange(height)[:, None] + flow[..., 1].astype(float)


def warped(past: npt.NDArray[np.uint8], flow: npt.NDArray[np.float32]) -> Floats:
    """`past` (H, W, 3) read bilinearly at x + flow, the border repeated."""
    height, width = flow.shape[:2]
    x, y = grid_position(flow)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    x0, y0 = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    top = past[y0, x0] * (1 - a) + past[y0, x0 + 1] * a
    bottom = past[y0 + 1, x0] * (1 - a) + past[y0 + 1, x0 + 1] * a
    return np.asarray(top * (1 - b) + bottom * b)


# ---- the data set's contract ----------------------------------------------------------------------------------


def test_frames_and_labels_have_the_size_asked_for() -> None:
    data = street(size=(90, 130))
    assert data.frame(3).shape == (90, 130, 3) and data.frame(3).dtype == np.uint8
    assert data.label(3).shape == (90, 130) and data.label(3).dtype == np.uint8
    assert len(data) == 40 and data.labelled() == list(range(40))


def test_sequences_are_in_one_piece_and_only_their_first_frames_have_no_predecessor() -> None:
    data = street(sequences=3, frames=7, start=4)
    assert data.sequences == ["street_0004", "street_0005", "street_0006"]
    assert [i for i in range(len(data)) if data.previous(i) is None] == [0, 7, 14]
    assert data.frame_id(9).sequence == "street_0005" and data.frame_id(9).index_in_sequence == 2
    assert data.exact_flow(7) is None and data.occlusion(7) is None


@pytest.mark.parametrize("index", [-1, 40])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    data = street()
    for method in (data.frame, data.label, data.exact_flow, data.frame_id):
        with pytest.raises(IndexError, match=r"0 to 39"):
            method(index)


def test_the_classes_are_camvids_eleven_in_their_order() -> None:
    assert CLASSES.names[:5] == ("sky", "building", "pole", "road", "sidewalk")
    assert len(CLASSES) == 11 and CLASSES.colors[CLASSES.names.index("road")] == (128, 64, 128)


# ---- the same again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_bytes_do_not_depend_on_the_order_of_access(domain: str) -> None:
    forward, backward = street(domain=domain, frames=4), street(domain=domain, frames=4)
    first = [forward.frame(i).tobytes() for i in range(8)]
    second = [backward.frame(i).tobytes() for i in reversed(range(8))][::-1]
    assert first == second
    assert len(set(first)) == 8


def test_a_pickled_data_set_makes_the_same_frames() -> None:
    data = street(domain="rain")
    data.frame(0)
    again = pickle.loads(pickle.dumps(data))
    assert again.options == data.options
    assert np.array_equal(again.frame(11), data.frame(11))


def test_start_goes_on_where_other_sequences_ended() -> None:
    whole, rest = street(sequences=3), street(sequences=1, start=2)
    assert np.array_equal(whole.frame(45), rest.frame(5))
    assert np.array_equal(whole.label(45), rest.label(5))


def test_another_seed_is_another_street() -> None:
    assert (street(seed=5).label(5) != street(seed=6).label(5)).mean() > 0.05


# ---- domains ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", [domain for domain in DOMAINS if domain != "day"])
def test_a_domain_changes_pictures_but_neither_labels_nor_flow(domain: str) -> None:
    day, other = street(), street(domain=domain)
    for i in (1, 27):
        assert np.array_equal(day.label(i), other.label(i))
        assert np.array_equal(day.exact_flow(i), other.exact_flow(i))
        assert np.abs(day.frame(i).astype(float) - other.frame(i)).mean() > 10


def test_domains_differ_as_their_names_say() -> None:
    def pictures(domain: str) -> Floats:
        data = street(domain=domain, sequences=6, frames=5)
        return np.stack([data.frame(i) for i in range(2, 30, 5)]).astype(float)

    seen = {domain: pictures(domain) for domain in DOMAINS}
    labels = np.stack([street(sequences=6, frames=5).label(i) for i in range(2, 30, 5)])
    mean = {domain: picture.mean() for domain, picture in seen.items()}
    assert mean["night"] < mean["dusk"] < mean["rain"] < mean["day"]
    assert seen["fog"].std() < 0.6 * seen["day"].std()
    sky, road = labels == 0, labels == 3
    assert seen["dusk"][sky].mean() > 2.0 * seen["dusk"][road].mean()  # the sky stays bright
    assert seen["snow"][road].mean() > 1.1 * seen["day"][road].mean()
    night_grain, day_grain = (np.abs(np.diff(seen[d], axis=2))[:, :20].mean() for d in ("night", "day"))
    assert night_grain > 1.5 * day_grain


def test_all_classes_appear_and_none_swallows_the_street() -> None:
    data = street(sequences=12, frames=3)
    counts = np.bincount(np.concatenate([data.label(i).ravel() for i in range(0, 36, 3)]), minlength=11)
    share = counts / counts.sum()
    assert len(share) == 11 and (share > 0.0005).all(), dict(zip(CLASSES.names, share.round(4), strict=True))
    assert share.max() < 0.55


# ---- motion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_flow_brings_the_frame_before_onto_the_frame(seed: int) -> None:
    data = street(seed=seed, clean=True, size=(240, 320))
    for i in (7, 33):
        flow, hidden = data.exact_flow(i), data.occlusion(i)
        assert flow is not None and hidden is not None and flow.dtype == np.float32
        now, before = data.frame(i), data.frame(i - 1)
        seen = ~hidden
        residual = np.abs(warped(before, flow) - now).mean(axis=2)[seen]
        still = np.abs(before.astype(float) - now).mean(axis=2)[seen]
        assert residual.mean() < 5.0
        assert residual.mean() < 0.5 * still.mean()
        assert np.median(residual) < 2.5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_labels_move_with_the_flow(seed: int) -> None:
    data = street(seed=seed, size=(240, 320))
    for i in (7, 33):
        flow, hidden = data.exact_flow(i), data.occlusion(i)
        assert flow is not None and hidden is not None
        x, y = (np.rint(part).astype(int) for part in grid_position(flow))
        seen = ~hidden
        assert 0.5 < seen.mean() < 1.0
        assert (x[seen] >= 0).all() and (x[seen] < 320).all() and (y[seen] >= 0).all() and (y[seen] < 240).all()
        agreement = (data.label(i - 1)[y[seen], x[seen]] == data.label(i)[seen]).mean()
        assert agreement >= 0.97
        all_x, all_y = np.clip(x, 0, 319), np.clip(y, 0, 239)
        where_hidden = (data.label(i - 1)[all_y, all_x] == data.label(i))[hidden]
        assert where_hidden.mean() < agreement - 0.1  # the mask finds what the flow cannot explain


def test_flow_of_the_sky_is_the_turning_of_the_camera_alone() -> None:
    data = street(size=(240, 320), sequences=1)
    flow, label = data.exact_flow(9), data.label(9)
    assert flow is not None
    road = np.hypot(*flow[label == 3].T)
    sky = flow[label == 0]
    assert np.ptp(sky[:, 0]) < 0.5 and np.ptp(sky[:, 1]) < 0.5
    assert np.median(road) > np.median(np.hypot(*sky.T))


def test_flow_scales_with_the_size() -> None:
    small, large = street(size=(120, 160)).exact_flow(9), street(size=(240, 320)).exact_flow(9)
    assert small is not None and large is not None
    halved = 0.5 * large.reshape(120, 2, 160, 2, 2).mean(axis=(1, 3))
    assert np.median(np.abs(halved - small)) < 0.05


# ---- specs, limits, speed -----------------------------------------------------------------------------------------


def test_a_spec_sets_every_option() -> None:
    spec = "synthstreet:?domain=dusk&seed=3&sequences=2&frames=5&size=60x80&fps=10&start=7&clean=1"
    data = open_dataset(spec, need_labels=True)
    assert isinstance(data, SynthStreet)
    assert data.options == Options("dusk", 3, 2, 5, (60, 80), 10.0, 7, True)
    assert data.fps == 10.0 and data.name == "synthstreet-dusk"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("synthstreet:?domian=dusk", "did you mean 'domain'"),
        ("synthstreet:?domain=dsk", "did you mean 'dusk'"),
        ("synthstreet:?frames=0", "frames from 1"),
        ("synthstreet:?frames=-3", "whole number"),
        ("synthstreet:?size=240", "HEIGHTxWIDTH"),
        ("synthstreet:?size=4x4", "sides from 8"),
        ("synthstreet:?fps=0", "fps from 0.1"),
        ("synthstreet:?fps=nan", "expected a number"),
        ("synthstreet:?clean=yes", "0 or 1"),
    ],
)
def test_wrong_options_are_refused_with_what_was_expected(spec: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        open_dataset(spec)


@pytest.mark.parametrize("size", [(8, 8), (31, 47), (50, 400), (300, 40)])
@pytest.mark.parametrize("domain", ["night", "rain", "snow"])
def test_unusual_sizes_work(size: tuple[int, int], domain: str) -> None:
    data = street(domain=domain, size=size)
    assert data.frame(1).shape == (*size, 3)
    flow = data.exact_flow(1)
    assert flow is not None and flow.shape == (*size, 2) and np.isfinite(flow).all()


def test_a_late_frame_costs_no_more_than_an_early_one() -> None:
    data = street(sequences=1, frames=100_000)
    start = time.perf_counter()
    assert data.frame(99_999).std() > 5
    assert (data.label(99_999) == 3).mean() > 0.05
    assert time.perf_counter() - start < 5


def test_a_frame_with_its_label_takes_few_milliseconds() -> None:
    data = street(size=(240, 320), sequences=1, frames=30)
    for i in range(5):
        data.frame(i)
    times = []
    for i in range(5, 25):
        start = time.process_time()
        data.frame(i)
        data.label(i)
        times.append(time.process_time() - start)
    assert np.median(times) < 0.12  # about 0.02 s on an idle core of 2023
