"""The published evaluation: its mean by hand, its resizing and upsampling, and the network of two frames."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from stpl.benchmark.evaluation import EvaluationConfig, PublishedPredictor, PublishedScore, evaluate_published
from stpl.benchmark.protocol import BENCHMARKS
from stpl.data.benchmark_classes import CITYSCAPES
from stpl.data.classes import ClassSet
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.metrics import ConfusionMatrix
from stpl.models import build_model
from stpl.train.checkpoint import Checkpoint, InputConfig

from .conftest import Trees, write_flow

SMALL = EvaluationConfig(height=32, width=64)
ABCD = ClassSet(("a", "b", "c", "d"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))


def hand_made() -> ConfusionMatrix:
    """Six labels of a, of which four are found and two taken for b; two of d, one found and one taken for a."""
    matrix = ConfusionMatrix(4)
    label = np.array([[0, 0, 0, 0, 0, 0, 3, 3, 255]], np.uint8)
    matrix.update(np.array([[0, 0, 0, 0, 1, 1, 3, 0, 2]], np.uint8), label)
    return matrix


def test_the_published_mean_counts_classes_that_are_only_predicted() -> None:
    score = PublishedScore(ABCD, hand_made(), frames=1)
    # a: 4 of 6 labelled + 5 predicted - 4. b: none right, two predicted. c: in neither. d: 1 of 2 + 1 - 1.
    assert score.iou["a"] == pytest.approx(4 / 7)
    assert score.iou["b"] == 0
    assert math.isnan(score.iou["c"])
    assert score.iou["d"] == pytest.approx(1 / 2)
    assert score.miou == pytest.approx((4 / 7 + 0 + 1 / 2) / 3)
    assert score.confusion.miou == pytest.approx((4 / 7 + 1 / 2) / 2)  # this package's own rule: classes with labels
    assert score.to_dict()["iou"]["c"] is None


def test_an_unscored_class_is_removed_after_the_argmax() -> None:
    score = PublishedScore(ABCD, hand_made(), ("d",), frames=1)
    assert list(score.iou) == ["a", "b", "c"]
    # Its pixels still count as wrong for the others: the one of d that was taken for a is in a's union.
    assert score.miou == pytest.approx((4 / 7 + 0) / 2)
    with pytest.raises(ValueError, match="found none in 0 frames"):
        _ = PublishedScore(ABCD, ConfusionMatrix(4)).miou


def test_the_benchmarks_score_15_and_11_classes() -> None:
    viper, synthia = BENCHMARKS["viper-to-cityscapes"], BENCHMARKS["synthia-to-cityscapes"]
    assert (len(viper.classes), viper.unscored) == (15, ())
    assert (len(synthia.classes), synthia.unscored) == (12, ("fence",))
    assert {r.method: r.miou for r in viper.published}["STPL"] == 52.5
    assert {r.method: r.miou for r in synthia.published}["TPS"] == 53.8


def checkpoint_of(arch: str, classes: ClassSet, **input_: object) -> Checkpoint:
    torch.manual_seed(3)
    model = build_model(arch, len(classes))
    return Checkpoint(arch, classes, InputConfig(height=16, width=16, **input_), {}).with_weights(model)  # type: ignore[arg-type]


def test_a_network_of_one_frame_against_plain_pytorch(trees: Trees) -> None:
    root = trees.cityscapes("val", {"lindau_000003": [19], "munster_000001": [19]}, before=0, after=0)
    data = open_dataset(f"cityscapes-seq:{root}?classes=viper")
    checkpoint = checkpoint_of("compact", data.classes)
    expected = ConfusionMatrix(15)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (checkpoint.input.mean, checkpoint.input.std))
    for index, name in enumerate(("lindau/lindau_000003", "munster/munster_000001")):
        picture = PIL.Image.open(root / f"leftImg8bit_sequence/val/{name}_000019_leftImg8bit.png")
        small = np.array(picture.resize((64, 32), PIL.Image.Resampling.BICUBIC), np.float32)
        with torch.no_grad():
            logits = checkpoint.build()((torch.from_numpy(small).permute(2, 0, 1)[None] - mean) / std)
        whole = F.interpolate(logits, (64, 128), mode="bilinear", align_corners=False)
        expected.update(whole[0].argmax(0).numpy(), data.label(index))
    score = evaluate_published(checkpoint, data, SMALL)
    np.testing.assert_array_equal(score.confusion.counts, expected.counts)
    assert score.frames == 2
    assert score.confusion.counts.sum() > 1000


def test_the_benchmarks_own_network_sees_the_past_along_the_stored_flow(trees: Trees) -> None:
    root = trees.cityscapes("val", {"lindau_000003": [19]}, after=0)
    folder = trees.root / "flow"
    write_flow(folder / "lindau_000003_000019_000018_int16_x10.npy", 9.0, 3.0, (16, 32))
    data = open_dataset(f"cityscapes-seq:{root}?classes=synthia&context=1&flow={folder}")
    checkpoint = checkpoint_of("accel_deeplabv2", data.classes)
    # Without biases, whatever the frames say decides.
    weights = {
        n: torch.zeros_like(t) if ".conv2d_list." in n and t.ndim == 1 else t for n, t in checkpoint.weights.items()
    }
    weights["sf_layer.weight"] = torch.randn(12, 24, 1, 1)  # so that the past has a say
    checkpoint = Checkpoint(checkpoint.arch, checkpoint.classes, checkpoint.input, weights)
    predictor = PublishedPredictor(checkpoint, SMALL)
    present, past, flow = predictor.inputs(data, 1)
    assert flow.shape == (1, 2, 16, 32)  # on its own grid, as the network wants it
    assert (flow[0, 0] == 9).all() and (flow[0, 1] == 3).all()
    assert not torch.equal(present, past)
    with torch.no_grad():
        logits = checkpoint.build().fused_logits(present, past, flow).main
    whole = F.interpolate(logits, (64, 128), mode="bilinear", align_corners=True)
    expected = whole[0].argmax(0).numpy()
    np.testing.assert_array_equal(predictor.predict((present, past, flow), (64, 128)), expected)
    other = predictor.predict((present, past, torch.zeros_like(flow)), (64, 128))
    assert (other != expected).any()


def test_flow_is_computed_where_none_is_stored(trees: Trees) -> None:
    root = trees.cityscapes("val", {"lindau_000003": [19]}, after=0)
    data = open_dataset(f"cityscapes-seq:{root}?classes=viper&context=1")
    predictor = PublishedPredictor(
        checkpoint_of("accel_deeplabv2", data.classes), EvaluationConfig(height=64, width=128)
    )
    flow = predictor.inputs(data, 1)[2]
    assert flow.shape == (1, 2, 64, 128)
    assert 0.8 < float(flow[0, 0].median()) < 1.2  # the street moves a pixel a frame


def test_a_missing_past_frame_is_an_error(trees: Trees) -> None:
    root = trees.cityscapes("val", {"lindau_000003": [19]}, before=0)
    data = open_dataset(f"cityscapes-seq:{root}?classes=viper")
    with pytest.raises(UserError, match=r"expected the frame before 'lindau_000003_000019_leftImg8bit'.*doctor"):
        evaluate_published(checkpoint_of("accel_deeplabv2", data.classes), data, SMALL)


def test_other_classes_are_refused(trees: Trees) -> None:
    root = trees.cityscapes("val", {"lindau_000003": [19]}, before=0)
    checkpoint = checkpoint_of("compact", CITYSCAPES["viper"].class_set())
    with pytest.raises(UserError, match="expected the model's classes"):
        evaluate_published(checkpoint, open_dataset(f"cityscapes-seq:{root}?classes=synthia"), SMALL)


def test_evaluating_leaves_the_random_numbers_of_a_run_alone(trees: Trees, tmp_path: Path) -> None:
    root = trees.cityscapes("val", {"lindau_000003": [19]}, before=0, after=0)
    data = open_dataset(f"cityscapes-seq:{root}?classes=viper")
    checkpoint = checkpoint_of("compact", data.classes)
    before = torch.get_rng_state()
    evaluate_published(checkpoint, data, SMALL)
    assert torch.equal(torch.get_rng_state(), before)
