"""Evaluation of checkpoints and bundles against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import stpl_rt
from stpl.data.classes import ClassSet
from stpl.data.dataset import FrameId, Image, LabelMap, VideoDataset
from stpl.errors import UserError
from stpl.evaluate import Predictor, evaluate_bundle, evaluate_checkpoint, labelled_frames
from stpl.metrics import ConfusionMatrix
from stpl.models import build_model
from stpl.train.checkpoint import Checkpoint, InputConfig

FOUR = ClassSet(("red", "green", "blue", "dark"), ((255, 0, 0), (0, 255, 0), (0, 0, 255), (64, 64, 64)))


class Clips(VideoDataset):
    """Two sequences of five and three frames of drifting colours; labels where asked for."""

    name = "clips"

    def __init__(self, labels: list[int], classes: ClassSet = FOUR) -> None:
        self.sequences = ["a", "b"]
        self.classes = classes
        self._labels = labels
        rng = np.random.default_rng(2)
        self._world = np.kron(rng.integers(0, 256, (8, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)

    def __len__(self) -> int:
        return 5 + 3

    def frame_id(self, index: int) -> FrameId:
        sequence, number = (0, index) if index < 5 else (1, index - 5)
        return FrameId(self.sequences[sequence], f"{number:06d}", number)

    def frame(self, index: int) -> Image:
        return np.ascontiguousarray(self._world[:, 4 * index : 4 * index + 96])

    def label(self, index: int) -> LabelMap | None:
        if index not in self._labels:
            return None
        brightest = self.frame(index).argmax(axis=2).astype(np.uint8)
        return np.where(self.frame(index).max(axis=2) < 90, np.uint8(3), brightest)

    def labelled(self) -> list[int]:
        return self._labels


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = build_model("compact", 4)
    return Checkpoint("compact", FOUR, InputConfig(height=32, width=48), {}).with_weights(model)


def test_a_checkpoint_counts_what_its_predictions_say(checkpoint: Checkpoint) -> None:
    data = Clips([0, 3, 6])
    expected = ConfusionMatrix(4)
    predict = Predictor(checkpoint)
    for index in (0, 3, 6):
        expected.update(predict(data.frame(index)), data.label(index))
    evaluation = evaluate_checkpoint(checkpoint, data)
    np.testing.assert_array_equal(evaluation.confusion.counts, expected.counts)
    assert evaluation.miou == expected.miou
    assert evaluation.labelled_frames == 3
    assert evaluation.temporal_consistency is None
    few = evaluate_checkpoint(checkpoint, data, [3])
    assert few.confusion.counts.sum() == expected.counts.sum() // 3


def test_predictions_are_those_of_torch_interpolate(checkpoint: Checkpoint) -> None:
    frame = Clips([0]).frame(0)
    with torch.no_grad():
        prepared = torch.from_numpy(stpl_rt.preprocess(frame, checkpoint.input.spec()))[None]
        logits = checkpoint.build()(prepared)
        whole = torch.nn.functional.interpolate(logits, frame.shape[:2], mode="bilinear", align_corners=False)
    assert (Predictor(checkpoint)(frame) == whole[0].argmax(0).numpy()).mean() > 0.999


def test_temporal_consistency_needs_no_labels_of_the_frames_before(checkpoint: Checkpoint) -> None:
    evaluation = evaluate_checkpoint(checkpoint, Clips([3]), temporal=True)
    assert evaluation.labelled_frames == 1
    assert evaluation.temporal_consistency is not None
    assert 0 <= evaluation.temporal_consistency <= 1
    first = evaluate_checkpoint(checkpoint, Clips([0, 5]), temporal=True)  # both open their sequences
    assert first.temporal_consistency is None


def test_a_bundle_is_played_from_the_start_of_each_sequence(test_bundle: Path) -> None:
    data = Clips([4, 5, 7])
    evaluation = evaluate_bundle(test_bundle, data, schedule="fixed:3")
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:3")
    by_age: dict[int, ConfusionMatrix] = {}
    for index in range(8):
        if index == 5:
            segmenter.reset()
        result = segmenter.push(data.frame(index))
        if index in (4, 5, 7):
            by_age.setdefault(result.age, ConfusionMatrix(4)).update(result.labels, data.label(index))
    assert evaluation.by_age.keys() == by_age.keys() == {0, 1, 2}
    for age, matrix in by_age.items():
        np.testing.assert_array_equal(evaluation.by_age[age].counts, matrix.counts)
    assert evaluation.key_timing is not None
    assert evaluation.propagated_timing is not None
    assert (evaluation.key_timing.frames, evaluation.propagated_timing.frames) == (3, 5)
    assert evaluation.frames_per_second is not None


def test_frames_after_the_last_label_are_not_played(test_bundle: Path) -> None:
    evaluation = evaluate_bundle(test_bundle, Clips([1]), schedule="every")
    assert evaluation.key_timing is not None
    assert evaluation.key_timing.frames == 2
    assert evaluation.propagated_timing is None


def test_everything_measured_goes_into_json(test_bundle: Path) -> None:
    record = evaluate_bundle(test_bundle, Clips([0, 1, 2, 3, 4]), schedule="fixed:5").to_dict()
    assert list(record["miou_by_age"]) == ["0", "1", "2", "3", "4"]
    assert record["miou_age_worst"] == min(record["miou_by_age"].values())
    assert record["propagated_ms"]["frames"] == 4
    assert set(record["iou"]) == set(FOUR.names)
    assert record["video_consistency"]["8"]["score"] is None


def test_labels_of_other_classes_are_refused(checkpoint: Checkpoint) -> None:
    other = ClassSet(("red", "green", "blue", "light"), FOUR.colors)
    with pytest.raises(UserError, match=r"expected the model's classes .*dark.*found .*light"):
        evaluate_checkpoint(checkpoint, Clips([0], other))


def test_video_without_labels_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(UserError, match="expected labelled frames"):
        evaluate_checkpoint(checkpoint, Clips([]))
    with pytest.raises(ValueError, match="frame 2 without a label"):
        labelled_frames(Clips([0, 1]), FOUR, [1, 2])


def test_letterboxed_checkpoints_are_evaluated_as_bundles() -> None:
    model = build_model("compact", 4)
    letterboxed = Checkpoint("compact", FOUR, InputConfig(resize="letterbox"), {}).with_weights(model)
    with pytest.raises(UserError, match="export it"):
        Predictor(letterboxed)


class Long(Clips):
    """Forty frames in one sequence."""

    def __len__(self) -> int:
        return 40

    def frame_id(self, index: int) -> FrameId:
        return FrameId("a", f"{index:06d}", index)

    def frame(self, index: int) -> Image:
        return super().frame(0)


@pytest.mark.parametrize("kind", ["checkpoint", "bundle"])
def test_video_consistency_needs_consecutive_labels(kind: str, checkpoint: Checkpoint, test_bundle: Path) -> None:
    def consistency(labels: list[int]) -> float | None:
        if kind == "checkpoint":
            evaluation = evaluate_checkpoint(checkpoint, Long(labels), temporal=True)
        else:
            evaluation = evaluate_bundle(test_bundle, Long(labels, bundle_classes(test_bundle)))
        return evaluation.video_consistency["8"]["common_score"]

    assert consistency(list(range(0, 40, 4))) is None  # ten labels, no two of them in a row
    assert consistency(list(range(9))) == 1.0  # the picture stands still


def bundle_classes(bundle: Path) -> ClassSet:
    infos = stpl_rt.Bundle.open(bundle).classes
    return ClassSet(tuple(i.name for i in infos), tuple((i.color[0], i.color[1], i.color[2]) for i in infos))
