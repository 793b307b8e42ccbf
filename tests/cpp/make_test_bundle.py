"""Writes the bundles that the C++ tests run: networks whose logits are known in closed form.

Logits are a linear function of the normalised input, so tests can compute each label by hand: class c's logit is
`WEIGHTS[c] . x + BIAS[c]`, averaged over blocks (half-pixel geometry) or taken at every fourth pixel (aligned
corners). tests/cpp/test_bundle.h holds the same numbers.

    python tests/cpp/make_test_bundle.py OUT_FOLDER
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Exact in binary, so that the order of additions does not matter to the reference.
WEIGHTS = np.array([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0], [-0.25, -0.25, -0.25]], np.float32)
BIAS = np.array([0.0, 0.0, 0.0, 0.125], np.float32)
COLORS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [64, 64, 64]]
NAMES = ["red", "green", "blue", "dark"]
MEAN = [112.0, 120.0, 128.0]
STD = [64.0, 64.0, 32.0]


def network(width: int, height: int, block: int, *, align_corners: bool, fragile: bool = False) -> onnx.ModelProto:
    """A 1x1 convolution to four classes, then block averages, or every `block`-th pixel for aligned corners.

    A fragile one divides by the mean distance of the input from zero: a frame of the mean colour gives NaN.
    """
    image = "scaled" if fragile else "image"
    scale = [
        helper.make_node("Abs", ["image"], ["distance"]),
        helper.make_node("ReduceMean", ["distance"], ["mean"], keepdims=1),
        helper.make_node("Div", ["image", "mean"], ["scaled"]),
    ]
    if align_corners:
        out_w, out_h = (width - 1) // block + 1, (height - 1) // block + 1
        reduce = helper.make_node("AveragePool", ["scores"], ["logits"], kernel_shape=[1, 1], strides=[block, block])
    else:
        out_w, out_h = width // block, height // block
        reduce = helper.make_node(
            "AveragePool", ["scores"], ["logits"], kernel_shape=[block, block], strides=[block, block]
        )
    graph = helper.make_graph(
        [*(scale if fragile else []), helper.make_node("Conv", [image, "weight", "bias"], ["scores"]), reduce],
        "segment",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(NAMES), out_h, out_w])],
        [numpy_helper.from_array(WEIGHTS[:, :, None, None], "weight"), numpy_helper.from_array(BIAS, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def slow_network(width: int, height: int, block: int, layers: int = 12, channels: int = 32) -> onnx.ModelProto:
    """The same in front of `layers` wide convolutions: for what is to be interrupted. Its logits mean nothing."""
    plain = network(width, height, block, align_corners=False).graph
    shapes = [(channels, 3), *[(channels, channels)] * layers, (3, channels)]
    random = np.random.default_rng(0)
    nodes, weights, image = [], [], "image"
    for i, (to, of) in enumerate(shapes):
        values = random.normal(0, (9 * of) ** -0.5, (to, of, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"weight{i}"))
        nodes.append(helper.make_node("Conv", [image, f"weight{i}"], [f"wide{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"wide{i}"], [f"bent{i}"]))
        image = f"bent{i}"
    plain.node[0].input[0] = image
    graph = helper.make_graph(
        [*nodes, *plain.node], "segment", list(plain.input), list(plain.output), [*weights, *plain.initializer]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _saved(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def fuse_network(shape: list[int]) -> bytes:
    """A quarter of what was carried, three of the key frame's own."""
    share = numpy_helper.from_array(np.array(0.25, np.float32), "share")
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["past", "logits"], ["change"]),
            helper.make_node("Mul", ["change", "share"], ["step"]),
            helper.make_node("Add", ["logits", "step"], ["fused"]),
        ],
        "fuse",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("logits", "past")],
        [helper.make_tensor_value_info("fused", TensorProto.FLOAT, shape)],
        [share],
    )
    return _saved(graph)


def update_network(width: int, height: int, block: int) -> bytes:
    """The mean of what was carried and of what the segment network says of the image."""
    segment = network(width, height, block, align_corners=False).graph
    shape = [d.dim_value for d in segment.output[0].type.tensor_type.shape.dim]
    graph = helper.make_graph(
        [*segment.node, helper.make_node("Mean", ["logits", "carried"], ["updated"])],
        "update",
        [segment.input[0], helper.make_tensor_value_info("carried", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("updated", TensorProto.FLOAT, shape)],
        list(segment.initializer),
    )
    return _saved(graph)


def add_accel(folder: Path) -> None:
    """Adds the networks of accel mode to a test bundle."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    segment = manifest["networks"]["segment"]
    image, logits = segment["inputs"][0], segment["outputs"][0]
    fuse, update = fuse_network(logits["shape"]), update_network(image["shape"][3], image["shape"][2], 8)
    for name, content, inputs, output in (
        ("fuse", fuse, [logits, {**logits, "name": "past"}], "fused"),
        ("update", update, [image, {**logits, "name": "carried"}], "updated"),
    ):
        (folder / f"{name}.onnx").write_bytes(content)
        manifest["networks"][name] = {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "inputs": inputs,
            "outputs": [{**logits, "name": output}],
        }
    file.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def write_bundle(
    folder: Path,
    width: int,
    height: int,
    block: int,
    *,
    align_corners: bool,
    fragile: bool = False,
    slow: bool = False,
) -> None:
    """Writes network and manifest of one test bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    model = network(width, height, block, align_corners=align_corners, fragile=fragile)
    if slow:
        model = slow_network(width, height, block)
    content = model.SerializeToString()
    (folder / "segment.onnx").write_bytes(content)
    shape = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    manifest = {
        "schema_version": 1,
        "name": folder.name,
        "classes": [{"name": n, "color": c} for n, c in zip(NAMES, COLORS, strict=True)],
        "ignore_id": 255,
        "input": {
            "width": width,
            "height": height,
            "color_order": "rgb",
            "mean": MEAN,
            "std": STD,
            "lut": None,
            "resize": "stretch",
            "filter": "bilinear",
        },
        "logits": {"width": shape[3], "height": shape[2], "align_corners": align_corners},
        "networks": {
            "segment": {
                "file": "segment.onnx",
                "sha256": hashlib.sha256(content).hexdigest(),
                "inputs": [{"name": "image", "shape": [1, 3, height, width], "type": "float32"}],
                "outputs": [{"name": "logits", "shape": shape, "type": "float32"}],
            }
        },
        "default_schedule": "fixed:3",
        "provenance": {"made_by": "make_test_bundle.py"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def write_external(folder: Path) -> None:
    """Writes a network whose weights lie in a second file, which the runtime must refuse."""
    folder.mkdir(parents=True, exist_ok=True)
    model = network(96, 64, 4, align_corners=False)
    (folder / "weights.bin").unlink(missing_ok=True)  # the ONNX library would append to it
    onnx.save(model, folder / "segment.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)


def main() -> None:
    """Writes all test bundles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    write_bundle(out / "half_pixel", 96, 64, 4, align_corners=False)
    write_bundle(out / "corners", 97, 65, 4, align_corners=True)
    write_bundle(out / "coarse", 320, 192, 8, align_corners=False)
    write_bundle(out / "fragile", 96, 64, 4, align_corners=False, fragile=True)
    write_bundle(out / "slow", 320, 192, 8, align_corners=False, slow=True)
    write_bundle(out / "accel", 320, 192, 8, align_corners=False)
    add_accel(out / "accel")
    write_external(out / "external")


if __name__ == "__main__":
    main()
