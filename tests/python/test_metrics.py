"""Each measure against a slow definition of it, and on cases whose value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stpl.metrics import ConfusionMatrix, TemporalConsistency, VideoConsistency, resize_flow, warp_labels


def random_ids(seed: int, shape=(12, 16), classes=4, ignored=0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, classes, shape).astype(np.uint8)
    ids[rng.random(shape) < ignored] = 255
    return ids


def filled(prediction, label, classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    matrix.update(np.asarray(prediction), np.asarray(label))
    return matrix


@given(seed=st.integers(0, 10_000), classes=st.integers(1, 6), ignored=st.sampled_from([0.0, 0.3, 1.0]))
def test_iou_and_accuracy_are_what_counting_sets_of_pixels_gives(seed, classes, ignored):
    label = random_ids(seed, classes=classes, ignored=ignored)
    prediction = random_ids(seed + 1, classes=classes)
    matrix = filled(prediction, label, classes)
    counted = label != 255
    for c in range(classes):
        both = ((label == c) & (prediction == c) & counted).sum()
        either = (((label == c) | (prediction == c)) & counted).sum()
        if either:
            assert matrix.iou()[c] == pytest.approx(both / either)
        else:
            assert math.isnan(matrix.iou()[c])
    right = (label == prediction)[counted]
    assert matrix.pixel_accuracy == (pytest.approx(right.mean()) if right.size else None)


def test_miou_is_over_the_classes_in_the_labels():
    label = np.array([[0, 0, 0, 0], [1, 1, 1, 1]])
    prediction = np.array([[0, 0, 0, 2], [1, 1, 1, 1]])  # 2 is nowhere in the labels, 3 nowhere at all
    matrix = filled(prediction, label, 4)
    np.testing.assert_allclose(matrix.iou(), [0.75, 1.0, 0.0, np.nan])
    assert matrix.present().tolist() == [True, True, False, False]
    assert matrix.miou == pytest.approx((0.75 + 1.0) / 2)


def test_a_present_class_that_is_never_predicted_counts_as_zero():
    assert filled([[0, 0]], [[0, 1]], 2).miou == pytest.approx(0.25)


def test_nothing_measured_is_none_and_not_zero():
    for matrix in (ConfusionMatrix(3), filled([[0, 1]], [[255, 255]], 3)):
        assert matrix.miou is None
        assert matrix.pixel_accuracy is None
        assert matrix.to_dict(["a", "b", "c"])["iou"] == {"a": None, "b": None, "c": None}


def test_merged_matrices_equal_one_over_all_frames():
    whole, parts = ConfusionMatrix(4), [ConfusionMatrix(4), ConfusionMatrix(4)]
    for seed in range(6):
        for matrix in (whole, parts[seed % 2]):
            matrix.update(random_ids(seed), random_ids(seed + 50, ignored=0.1))
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[0].counts, whole.counts)
    with pytest.raises(ValueError, match="4 classes, found one of 3"):
        whole.merge(ConfusionMatrix(3))


def test_to_dict_names_the_classes():
    result = filled([[0, 0, 1, 1]], [[0, 0, 0, 255]], 2).to_dict(["road", "car"])
    assert result == {
        "miou": pytest.approx(2 / 3),
        "pixel_accuracy": pytest.approx(2 / 3),
        "iou": {"road": pytest.approx(2 / 3), "car": 0.0},
        "pixels": 3,
    }
    with pytest.raises(ValueError, match="expected 2 class names, found 1"):
        ConfusionMatrix(2).to_dict(["road"])


def test_all_255_classes_fit():
    ids = np.arange(255, dtype=np.uint8).reshape(5, 51)
    assert filled(ids, ids, 255).miou == 1.0
    with pytest.raises(ValueError, match="1 to 255 classes, found 256"):
        ConfusionMatrix(256)


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([[0, 4]], [[0, 0]], "predictions 0 to 3, found 4"),
        ([[0, 255]], [[0, 0]], "predictions 0 to 3, found 255"),
        ([[0, 9]], [[0, 255]], "predictions 0 to 3, found 9"),  # a fault, even where it would not count
        ([[0, 0]], [[7, 4]], "labels 0 to 3 and 255, found 4, 7"),
        ([[0, -1]], [[0, 0]], "prediction ids 0 to 255, found -1 to 0"),
        ([[0, 300]], [[0, 0]], "prediction ids 0 to 255, found 0 to 300"),
        ([[0.0, 1.0]], [[0, 0]], "integer type, found float64"),
        ([[0, 0, 0]], [[0, 0]], r"label's shape \(1, 2\), found \(1, 3\)"),
    ],
)
def test_what_cannot_be_right_is_refused_and_not_counted(prediction, label, message):
    matrix = ConfusionMatrix(4)
    with pytest.raises(ValueError, match=message):
        matrix.update(np.array(prediction), np.array(label))
    assert matrix.counts.sum() == 0


# Warping


def constant_flow(height: int, width: int, dx: float, dy: float) -> np.ndarray:
    return np.broadcast_to(np.array([dx, dy], np.float32), (height, width, 2)).copy()


def test_warp_reads_the_past_where_the_flow_points():
    past = random_ids(3)
    warped = warp_labels(past, constant_flow(12, 16, 3, -2))
    np.testing.assert_array_equal(warped[2:, :13], past[:10, 3:])
    assert (warped[:2] == 255).all()
    assert (warped[:, 13:] == 255).all()


@given(seed=st.integers(0, 10_000))
def test_warp_is_nearest_neighbour_for_any_flow(seed):
    rng = np.random.default_rng(seed)
    past, flow = random_ids(seed), rng.normal(0, 6, (12, 16, 2)).astype(np.float32)
    warped = warp_labels(past, flow)
    for y, x in rng.integers(0, (12, 16), (30, 2)):
        column, row = round(float(x + flow[y, x, 0])), round(float(y + flow[y, x, 1]))
        inside = 0 <= column < 16 and 0 <= row < 12
        assert warped[y, x] == (past[row, column] if inside else 255)


def test_flow_that_is_not_finite_points_nowhere():
    flow = constant_flow(12, 16, 0, 0)
    flow[4, 5], flow[6, 7] = np.nan, np.inf
    expected = random_ids(1)
    warped = warp_labels(expected, flow)
    expected[4, 5] = expected[6, 7] = 255
    np.testing.assert_array_equal(warped, expected)


def test_warp_refuses_flow_of_another_size():
    with pytest.raises(ValueError, match=r"shape \(12, 16, 2\), found \(6, 8, 2\)"):
        warp_labels(random_ids(0), np.zeros((6, 8, 2), np.float32))


def test_resized_flow_equals_torch_interpolate_with_scaled_vectors():
    torch = pytest.importorskip("torch")
    flow = np.random.default_rng(0).normal(0, 3, (9, 14, 2)).astype(np.float32)
    for height, width in [(36, 28), (5, 40), (9, 14), (4, 7)]:
        planes = torch.from_numpy(flow).permute(2, 0, 1)[None]
        expected = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", align_corners=False)[0]
        expected = expected.permute(1, 2, 0).numpy() * [width / 14, height / 9]
        np.testing.assert_allclose(resize_flow(flow, height, width), expected, atol=1e-4)


# Temporal consistency


def test_a_picture_that_moves_with_its_flow_is_perfectly_consistent():
    past = random_ids(5, (20, 30))
    measure = TemporalConsistency(4)
    measure.update(np.roll(past, 4, axis=1), past, constant_flow(20, 30, -4, 0))  # came from 4 pixels to the left
    assert measure.score == 1.0
    still = TemporalConsistency(4)
    still.update(np.roll(past, 4, axis=1), past, constant_flow(20, 30, 0, 0))
    assert still.score is not None
    assert still.score < 0.3


def test_flicker_lowers_consistency_by_the_pixels_that_flicker():
    past = np.repeat(np.array([[0, 1]], np.uint8), [10, 10], axis=1).repeat(10, axis=0)
    now = past.copy()
    now[:, 9] = 2  # a class that flashes up counts with its IoU of 0
    measure = TemporalConsistency(3)
    measure.update(now, past, constant_flow(10, 20, 0, 0))
    assert measure.score == pytest.approx((0.9 + 1.0 + 0.0) / 3)


def test_only_valid_pixels_count():
    past, now = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    now[:, 4:] = 1
    valid = np.zeros((4, 4), np.float32)  # on the flow's grid
    valid[:, :2] = 0.8
    valid[:, 2:] = 0.4
    flow = np.zeros((4, 4, 2), np.float32)
    for mask in (valid, valid >= 0.5):
        measure = TemporalConsistency(2)
        measure.update(now, past, flow, mask)
        assert measure.score == 1.0
    measure = TemporalConsistency(2)
    measure.update(now, past, flow, np.zeros((4, 4), bool))
    assert measure.score is None
    with pytest.raises(ValueError, match=r"flow's size \(4, 4\), found \(8, 8\)"):
        measure.update(now, past, flow, np.ones((8, 8), bool))


def test_flow_of_another_size_is_scaled_to_the_labels():
    past = random_ids(5, (20, 32))
    measure = TemporalConsistency(4)
    measure.update(np.roll(past, (2, 8), axis=(0, 1)), past, constant_flow(10, 8, -2, -1))
    assert measure.score == 1.0


# Video consistency


def defined_consistency(predictions, labels, window: int) -> tuple[float | None, float | None]:
    """The formula, clip by clip. `labels` may hold None; all one sequence."""
    both = []
    for start in range(len(labels) - window + 1):
        clip, said = labels[start : start + window], predictions[start : start + window]
        if any(label is None for label in clip):
            continue
        steady = (clip[0] != 255) & np.all([label == clip[0] for label in clip], axis=0)
        if not steady.any():
            continue
        right = np.all([p == label for p, label in zip(said, clip, strict=True)], axis=0)
        same = np.all([p == said[0] for p in said], axis=0)
        both.append(((steady & right).sum() / steady.sum(), (steady & same).sum() / steady.sum()))
    return tuple(np.mean(both, axis=0)) if both else (None, None)


def changing(rng, first: np.ndarray, count: int, share: float, values) -> list[np.ndarray]:
    frames = [first]
    for _ in range(count - 1):
        now = frames[-1].copy()
        change = rng.random(now.shape) < share
        now[change] = rng.choice(values, int(change.sum()))
        frames.append(now)
    return frames


@given(seed=st.integers(0, 10_000), gap=st.sampled_from([None, 0, 4, 9, 13]))
def test_video_consistency_is_what_its_formula_gives(seed, gap):
    rng = np.random.default_rng(seed)
    first = random_ids(seed, (6, 7), 3)
    labels: list = changing(rng, first, 14, 0.05, [0, 1, 2, 255])
    predictions = changing(rng, first % 3, 14, 0.05, [0, 1, 2])
    if gap is not None:
        labels[gap] = None
    measure = VideoConsistency((3, 8))
    for prediction, label in zip(predictions, labels, strict=True):
        measure.update(prediction, label)
    for window in (3, 8):
        score, common = defined_consistency(predictions, labels, window)
        assert measure.score(window) == (None if score is None else pytest.approx(score))
        assert measure.common_score(window) == (None if common is None else pytest.approx(common))


def test_a_constant_wrong_output_is_perfect_only_in_the_common_version():
    measure = VideoConsistency((8,))
    for _ in range(8):
        measure.update(np.full((4, 4), 2), np.zeros((4, 4), np.uint8))
    assert measure.to_dict() == {"8": {"score": 0.0, "common_score": 1.0}}


def test_without_enough_consecutive_labels_there_is_no_value():
    measure = VideoConsistency((8, 16))
    ids = random_ids(0)
    for frame in range(20):
        measure.update(ids, ids, new_sequence=frame % 10 == 0)
    assert measure.score(8) == 1.0
    assert measure.score(16) is None
    assert measure.common_score(16) is None
    sparse = VideoConsistency((8,))
    for frame in range(100):
        sparse.update(ids, ids if frame % 2 == 0 else None)
    assert sparse.to_dict() == {"8": {"score": None, "common_score": None}}


def test_a_new_sequence_starts_anew_even_if_it_looks_the_same():
    ids, other = random_ids(0), random_ids(1)
    measure = VideoConsistency((3,))
    for frame in range(4):
        measure.update(other, ids, new_sequence=frame == 2)
    assert measure.score(3) is None


def test_video_consistency_refuses_what_it_cannot_measure():
    measure = VideoConsistency((8,))
    with pytest.raises(ValueError, match=r"one of the windows \[8\], found 9"):
        measure.score(9)
    with pytest.raises(ValueError, match="label's shape"):
        measure.update(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))
    for windows in [(), (1,)]:
        with pytest.raises(ValueError, match="2 frames or more"):
            VideoConsistency(windows)
