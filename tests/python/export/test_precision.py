"""Lower precision: what overflows is found and kept, what is lost is measured, and every engine takes the file."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import stpl_rt
from stpl.data.specs import open_dataset
from stpl.export import export_bundle, export_onnx, mixed_precision
from stpl.export.calibration_frames import NetworkInputs, frame_pairs
from stpl.export.half_precision import Feed, float_nodes, overflowing, peaks, rounded, to_half
from stpl.export.half_tensors import with_half_tensors
from stpl.export.int8 import Int8Converter
from stpl.export.lowering import Lowering
from stpl.export.mixed_precision import lower
from stpl.export.network_precision import precision_of
from stpl.export.onnx_session import onnx_runtime, open_session, openvino_runtime
from stpl.export.parity import ParityError
from stpl.export.plan_facts import BuildSettings
from stpl.export.tensorrt import build_plan
from stpl.export.tensorrt_library import TensorRT
from stpl.models.accel import FuseNet, UpdateNet
from stpl.train.accel import AccelNetworks
from stpl.train.checkpoint import Checkpoint, load_checkpoint

from .conftest import NETWORKS, Networks, Plans

ROOT = Path(__file__).resolve().parents[3]
DUSK = "synthstreet:?domain=dusk&seed={}&sequences=2&frames=4&size=240x320"


def feeds_of(model: onnx.ModelProto, count: int = 2) -> list[Feed]:
    rng = np.random.default_rng(1)
    shapes = {v.name: [side.dim_value for side in v.type.tensor_type.shape.dim] for v in model.graph.input}
    return [{n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()} for _ in range(count)]


def run_onnx(model: onnx.ModelProto, feed: Feed) -> np.ndarray:
    return np.asarray(open_session(model).run(None, feed)[0])


ALLOWED = {"fp16": 0.02, "bf16": 0.05, "int8": 0.15}
"""Random weights, whose scores lie close together, on noise: more labels change than in a trained network."""


# bf16 takes fp16's way; half of the networks will do.
COMBINATIONS = [(name, precision) for name in NETWORKS for precision in ("fp16", "int8")]
COMBINATIONS += [(name, "bf16") for name in ("compact", "segformer-b0", "update")]


@pytest.mark.parametrize(("name", "precision"), COMBINATIONS)
def test_every_network_becomes_a_plan_in_every_precision(
    name: str,
    precision: str,
    network: Networks,
    fp32_plan: Plans,
    library: TensorRT,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mixed_precision, "GROUPS", 4)  # SegFormer in int8 needs keeping

    model = network(name)
    feeds = feeds_of(model)
    lowered = lower(model, precision, feeds, max_loss=ALLOWED[precision])
    assert precision_of(lowered.model) == precision
    assert lowered.disagreement <= ALLOWED[precision]
    assert len(lowered.kept) < lowered.layers / 2
    assert lowered.model.graph.input == model.graph.input  # float32, as the manifest says
    assert lowered.model.graph.output == model.graph.output
    expected = run_onnx(model, feeds[0])
    found = openvino_runtime(lowered.model)(feeds[0])
    assert 0 < np.abs(found - expected).mean() < 0.06 * np.ptp(expected)
    assert np.mean(found.argmax(1) != expected.argmax(1)) <= 2 * ALLOWED[precision]
    plan, tensors = build_plan(lowered.model, library, BuildSettings())
    assert {tensor.type for tensor in tensors} == ({"float16"} if precision == "fp16" else {"float32"})
    assert len(plan) < 0.95 * len(fp32_plan(name)) or name == "fuse"  # whose few weights do not count beside the rest


# --- fp16 and bf16 ---


def halved_io(model: onnx.ModelProto) -> tuple[list[int], list[int]]:
    graph = with_half_tensors(model).graph
    return tuple([value.type.tensor_type.elem_type for value in values] for values in (graph.input, graph.output))


@pytest.mark.parametrize("name", ["compact", "pidnet-s", "update"])
def test_fp16_tensors_say_what_float32_ones_do(name: str, network: Networks) -> None:
    lowered = to_half(network(name), "fp16")
    half = with_half_tensors(lowered)
    onnx.checker.check_model(half, full_check=True)
    assert len(half.graph.node) == len(lowered.graph.node) - len(lowered.graph.input) - 1
    (feeds,) = feeds_of(lowered, 1)
    halves = {key: array.astype(np.float16) for key, array in feeds.items()}
    (expected,) = open_session(lowered).run(None, {key: array.astype(np.float32) for key, array in halves.items()})
    (found,) = open_session(half).run(None, halves)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2e-3, atol=2e-3 * np.ptp(expected))


def test_what_is_read_or_made_in_fp32_stays_so() -> None:
    fp16, fp32 = TensorProto.FLOAT16, TensorProto.FLOAT
    model = chain([1.0, 2.0, 3.0])
    assert halved_io(model) == ([fp32], [fp32])
    assert halved_io(to_half(model, "bf16")) == ([fp32], [fp32])
    assert halved_io(to_half(model, "fp16")) == ([fp16], [fp16])
    assert halved_io(to_half(model, "fp16", keep=["conv0"])) == ([fp32], [fp16])
    assert halved_io(to_half(model, "fp16", keep=["relu2"])) == ([fp16], [fp32])


def chain(scales: list[float]) -> onnx.ModelProto:
    """A network of 1x1 convolutions, each multiplying by its scale, with a ReLU after each."""
    nodes, weights, name = [], [], "image"
    for index, scale in enumerate(scales):
        weight = scale * np.eye(3, dtype=np.float32)[:, :, None, None]
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        last = index == len(scales) - 1
        nodes.append(helper.make_node("Conv", [name, f"w{index}"], [f"c{index}"], name=f"conv{index}"))
        nodes.append(helper.make_node("Relu", [f"c{index}"], ["logits" if last else f"r{index}"], name=f"relu{index}"))
        name = f"r{index}"
    sides = [1, 3, 8, 12]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, sides)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_layers_that_overflow_in_fp16_are_found_and_kept(library: TensorRT) -> None:
    model = chain([2.0, 4e4, 3.0, 1e-5, 0.5])
    feeds = feeds_of(model)
    largest = peaks(model, feeds)
    assert largest["c1"] == pytest.approx(max(float(np.abs(feed["image"]).max()) for feed in feeds) * 8e4, rel=1e-5)
    # conv1 and conv2 make what is too large, conv3 takes it; conv0 and what follows conv3 stay in fp16.
    expected = {"conv1", "relu1", "conv2", "relu2", "conv3"}
    reasons = overflowing(model, feeds)
    assert set(reasons) == expected
    assert "makes values up to" in reasons["conv1"] and "takes values up to" in reasons["conv3"]
    lowered = lower(model, "fp16", feeds, max_loss=0.01)
    assert set(lowered.kept) == expected
    assert lowered.disagreement <= 0.01
    found, exact = run_onnx(lowered.model, feeds[0]), run_onnx(model, feeds[0])
    np.testing.assert_allclose(found, exact, rtol=3e-3, atol=1e-3)
    types = {tensor.name: tensor.data_type for tensor in lowered.model.graph.initializer}
    assert [types[f"w{i}"] for i in range(5)] == [TensorProto.FLOAT16, *3 * [TensorProto.FLOAT], TensorProto.FLOAT16]
    build_plan(lowered.model, library, BuildSettings())


def test_what_overflows_is_seen_where_nothing_is_kept() -> None:
    model = chain([2.0, 4e4, 3.0, 1e-5, 0.5])
    feed = feeds_of(model)[0]
    found = open_session(rounded(model, "fp16"), optimised=False).run(None, feed)[0]
    assert not np.isfinite(found).all()
    kept = open_session(rounded(model, "fp16", overflowing(model, [feed])), optimised=False).run(None, feed)[0]
    np.testing.assert_allclose(kept, run_onnx(model, feed), rtol=3e-3, atol=1e-3)
    assert np.isfinite(open_session(rounded(model, "bf16"), optimised=False).run(None, feed)[0]).all()


def test_neighbours_that_are_kept_exchange_fp32() -> None:
    model = to_half(chain([2.0, 4e4, 3.0, 1e-5, 0.5]), "fp16", ["conv1", "relu1", "conv2", "relu2", "conv3"])
    onnx.checker.check_model(model, full_check=True)
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert len(casts) == 4  # of the image, into the kept part, out of it, of the logits
    by_name = {node.name: node for node in model.graph.node}
    assert by_name["relu1"].input[0] == by_name["conv1"].output[0]
    assert by_name["conv2"].input[0] == by_name["relu1"].output[0]


def test_a_weight_that_does_not_fit_is_kept() -> None:
    model = chain([1.0, 1e5, 1.0])
    feed = {"image": np.full((1, 3, 8, 12), 1e-3, np.float32)}
    assert peaks(model, [feed])["c1"] < 200
    assert list(overflowing(model, [feed])) == ["conv1"]


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_rounding_is_that_of_the_type(precision: str, dtype: type) -> None:
    model = chain([1.1])
    feed = feeds_of(model)[0]
    found = open_session(rounded(model, precision), optimised=False).run(None, feed)[0]

    def in_type(values: np.ndarray) -> np.ndarray:
        return values.astype(dtype).astype(np.float32)

    exact = in_type(feed["image"]) * in_type(np.array(1.1, np.float32))
    np.testing.assert_array_equal(found, in_type(np.maximum(exact, 0)))
    assert np.abs(found - run_onnx(model, feed)).max() > 0


def test_layers_are_kept_until_little_is_lost(network: Networks) -> None:
    model = network("compact")
    feeds = feeds_of(model)
    free = lower(model, "bf16", feeds, max_loss=1.0)
    assert free.disagreement == free.plain_disagreement > 0
    strict = lower(model, "bf16", feeds, max_loss=free.disagreement / 2)
    assert strict.plain_disagreement == free.disagreement
    assert strict.disagreement <= free.disagreement / 2
    assert 0 < len(strict.kept) <= strict.layers == len(float_nodes(model))
    assert all("it brings disagreement from" in reason for reason in strict.kept.values())
    exact = lower(model, "bf16", feeds, max_loss=0.0)
    assert exact.disagreement == 0


# --- int8 ---


@pytest.fixture(scope="module")
def street() -> Checkpoint:
    return load_checkpoint(ROOT / "models" / "street-day")


@pytest.fixture(scope="module")
def street_network(street: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The shipped network: its labels mean something."""
    file = tmp_path_factory.mktemp("street") / "segment.onnx"
    export_onnx(street.build(), street.input.height, street.input.width, file)
    return onnx.load(file)


def street_feeds(network: onnx.ModelProto, street: Checkpoint, seed: int) -> list[Feed]:
    data = open_dataset(DUSK.format(seed))
    inputs = NetworkInputs(network, street.input.spec(), frame_pairs(data, range(len(data))), align_corners=False)
    return inputs.of("segment", ["image"])


def test_an_int8_file_says_the_same_in_onnx_runtime_and_openvino(
    street: Checkpoint, street_network: onnx.ModelProto
) -> None:
    lowered = lower(street_network, "int8", street_feeds(street_network, street, 11), max_loss=0.02)
    assert lowered.disagreement <= 0.02
    exact = onnx_runtime(street_network)
    for run in (onnx_runtime(lowered.model), openvino_runtime(lowered.model)):
        wrong = [
            run(feed).argmax(1) != exact(feed).argmax(1)
            for feed in street_feeds(street_network, street, 12)  # frames that it was not calibrated on
        ]
        assert 0.001 < np.mean(wrong) < 0.03


def test_int8_is_symmetric_and_per_channel(network: Networks) -> None:
    model = network("compact")
    quantized = Int8Converter(model, feeds_of(model)).convert()
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    weights = [node for node in quantized.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in values]
    assert len(weights) == len(Int8Converter(model, feeds_of(model)).candidates()) > 20
    for node in weights:
        assert values[node.input[0]].dtype == np.int8
        # Two products with an activation stay below 2^15 also where a CPU adds them in 16 bits.
        assert 60 < np.abs(values[node.input[0]].astype(int)).max() <= 64
        assert values[node.input[1]].shape == (values[node.input[0]].shape[0],)
    pairs = [node for node in quantized.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert all(not values[node.input[2]].any() for node in pairs)
    assert {entry.domain for entry in quantized.opset_import} == {""}
    onnx.checker.check_model(quantized, full_check=True)


def test_layers_kept_out_of_int8_have_their_weights(network: Networks) -> None:
    model = network("compact")
    converter = Int8Converter(model, feeds_of(model))
    first = converter.candidates()[0]
    kept = {node.name: node for node in converter.convert([first]).graph.node}
    original = {node.name: node for node in model.graph.node}
    assert kept[first].input == original[first].input
    assert precision_of(converter.convert(converter.candidates())) == "fp32"


def test_the_calibrator_prints_nothing(network: Networks) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        Int8Converter(network("fuse"), feeds_of(network("fuse"))).convert()
    assert said.getvalue() == ""


# --- bundles ---


@pytest.fixture(scope="module")
def accel(street: Checkpoint) -> AccelNetworks:
    return AccelNetworks(FuseNet(len(street.classes)).eval(), UpdateNet(street.build(), 16).eval())


@pytest.fixture(scope="module")
def exact(street: Checkpoint, accel: AccelNetworks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle in fp32."""
    out, frame = tmp_path_factory.mktemp("street") / "exact", open_dataset(DUSK.format(11)).frame(0)
    return export_bundle(street, out, [frame], accel=accel, schedule="fixed:2").bundle


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_lowered_bundle_runs_and_says_what_was_kept(
    precision: str, street: Checkpoint, accel: AccelNetworks, exact: Path, tmp_path: Path
) -> None:
    data = open_dataset(DUSK.format(11))
    frames = [data.frame(index) for index in range(4)]
    lowering = Lowering(precision, frame_pairs(data, [0, 3, 5, 7]), source="dusk")
    lowered = export_bundle(street, tmp_path / "low", frames, lowering=lowering, accel=accel, schedule="fixed:2")
    said = stpl_rt.Bundle.open(lowered.bundle).provenance["precision"]
    assert (said["calibration_data"], said["calibration_frames"]) == ("dusk", 4)
    for name in ("segment", "fuse", "update"):
        network = said["networks"][name]
        assert network["precision"] == precision
        assert network["disagreement"] == lowered.lowered[name].disagreement <= lowering.allowed
        assert network["kept_in_fp32"] == lowered.lowered[name].kept
    runs = [stpl_rt.Segmenter(bundle, update=True) for bundle in (lowered.bundle, exact)]
    wrong = [np.mean(runs[0].push(frame).labels != runs[1].push(frame).labels) for frame in frames]
    assert 0 < np.mean(wrong) < 2 * lowering.allowed


def test_a_lowered_network_that_is_wrong_elsewhere_is_not_written(street: Checkpoint, tmp_path: Path) -> None:
    data = open_dataset(DUSK.format(11))
    black = np.zeros((240, 320, 3), np.uint8)
    lowering = Lowering("fp16", [(black, None)], max_loss=0.0)  # says nothing of real frames
    with pytest.raises(ParityError, match=r"expected ONNX Runtime to give PyTorch's label on 99\.99 %"):
        export_bundle(street, tmp_path / "b", [data.frame(0)], lowering=lowering)
    assert list(tmp_path.iterdir()) == []
