"""Bundles that lie, and what stpl_rt says of each: a program of its own, so that its memory can be bounded.

    python tests/bindings/lying_bundles.py BUNDLE SCRATCH > answers.json

BUNDLE is the test bundle "half_pixel": input 96 x 64, four classes, logits 24 x 16.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import stpl_rt

Manifest = dict[str, Any]
ROOM = 1 << 30  # bytes of address space beyond what a sound bundle takes
HUGE = 100_000


def manifest_of(bundle: Path) -> Manifest:
    manifest: Manifest = json.loads((bundle / "manifest.json").read_text())
    return manifest


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def edited(edit: Callable[[Manifest], object]) -> Callable[[Path], None]:
    def lie(bundle: Path) -> None:
        manifest = manifest_of(bundle)
        edit(manifest)
        write_manifest(bundle, manifest)

    return lie


def raw_manifest(make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def lie(bundle: Path) -> None:
        file = bundle / "manifest.json"
        file.write_bytes(make(file.read_bytes()))

    return lie


def network_bytes(make: Callable[[], bytes]) -> Callable[[Path], None]:
    """Another file, for whose hash the manifest vouches."""

    def lie(bundle: Path) -> None:
        content = make()
        (bundle / "segment.onnx").write_bytes(content)
        manifest = manifest_of(bundle)
        manifest["networks"]["segment"]["sha256"] = hashlib.sha256(content).hexdigest()
        write_manifest(bundle, manifest)

    return lie


# --- manifests ---


def resize(manifest: Manifest, height: int, width: int) -> None:
    manifest["input"].update(width=width, height=height)
    manifest["networks"]["segment"]["inputs"][0]["shape"] = [1, 3, height, width]


def resize_logits(manifest: Manifest, height: int, width: int) -> None:
    manifest["logits"].update(width=width, height=height)
    manifest["networks"]["segment"]["outputs"][0]["shape"] = [1, len(manifest["classes"]), height, width]


def recount(manifest: Manifest, count: int) -> None:
    manifest["classes"] = [{"name": f"class {i}", "color": [0, 0, 0]} for i in range(count)]
    manifest["networks"]["segment"]["outputs"][0]["shape"][1] = count
    manifest["ignore_id"] = 255


def swap_lut(manifest: Manifest, table: object) -> None:
    manifest["input"]["lut"] = [list(range(256)), list(range(256)), table]


def name_file(name: str) -> Callable[[Path], None]:
    return edited(lambda m: m["networks"]["segment"].update(file=name))


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def lie(bundle: Path) -> None:
        (bundle / name).unlink()
        make(bundle / name)

    return lie


def append(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"x")


def grow(file: Path) -> None:
    with file.open("ab") as stream:
        stream.truncate(100 << 30)  # a hole: takes no room on the disk


# --- networks ---


def model(nodes: list[onnx.NodeProto], constants: dict[str, Any], **changes: Any) -> bytes:
    """A network with the manifest's input and output, unless changed, whatever lies in between."""
    inputs = [
        helper.make_tensor_value_info("image", changes.get("input_type", TensorProto.FLOAT), changes.get("input_shape"))
        if "input_shape" in changes
        else helper.make_tensor_value_info("image", changes.get("input_type", TensorProto.FLOAT), [1, 3, 64, 96])
    ]
    names = changes.get("outputs", ["logits"])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, changes.get("output_shape")) for n in names]
    tensors = [v if isinstance(v, TensorProto) else numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "segment", inputs, outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = made.SerializeToString()
    return content


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def with_giant(*nodes: onnx.NodeProto, **constants: Any) -> Callable[[], bytes]:
    """A network whose nodes make "giant", of which the mean is added to honest logits."""

    def make() -> bytes:
        weight = np.zeros((4, 3, 1, 1), np.float32)
        rest = [
            helper.make_node("ReduceMean", ["giant"], ["mean"], keepdims=0),
            helper.make_node("Conv", ["image", "weight"], ["scores"]),
            helper.make_node("AveragePool", ["scores"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
            helper.make_node("Add", ["pooled", "mean"], ["logits"]),
        ]
        return model([*nodes, *rest], {"weight": weight, **constants})

    return make


def giant_initializer() -> bytes:
    """A weight of 100 GB by its dimensions, and of no byte."""
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4, 3, HUGE, HUGE])
    return model([helper.make_node("Conv", ["image", "weight"], ["logits"])], {"weight": tensor})


def short_initializer() -> bytes:
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4, 3, 1, 1], raw_data=b"\0" * 8)
    return model([helper.make_node("Conv", ["image", "weight"], ["logits"])], {"weight": tensor})


def external_in_a_branch() -> bytes:
    """Weights in another file, of a tensor in an If's branch."""
    tensor = TensorProto(name="value", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    out = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Constant", [], ["chosen"], value=tensor)], "branch", [], [out])
    choose = helper.make_node("If", ["yes"], ["giant"], then_branch=branch, else_branch=branch)
    return with_giant(choose, yes=np.array(True))()


def external_behind_a_group() -> bytes:
    """Weights in another file, behind a group: protocol buffers skip one that they do not know and read on."""
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4, 3, 1, 1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="manifest.json")
    content = model([helper.make_node("Conv", ["image", "weight"], ["logits"])], {"weight": tensor})
    return b"\xa3\x06\xa4\x06" + content


def giant_in_a_loop() -> bytes:
    """A loop whose body makes a giant out of nothing and gives back one number."""
    body = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["size"], ["inner"]),
            helper.make_node("ReduceMean", ["inner"], ["sum"], keepdims=0),
            helper.make_node("Identity", ["go"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(ints(HUGE, HUGE, 4), "size")],
    )
    loop = helper.make_node("Loop", ["turns", "yes"], ["giant"], body=body)
    return with_giant(loop, turns=np.array(3, np.int64), yes=np.array(True))()


def honest(**changes: Any) -> bytes:
    output = changes.get("outputs", ["logits"])[0]
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["scores"]),
        helper.make_node("AveragePool", ["scores"], [output], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    nodes += [helper.make_node("Identity", [output], [n]) for n in changes.get("outputs", [output])[1:]]
    weight = changes.pop("weight", np.ones((changes.pop("classes", 4), 3, 1, 1), np.float32))
    return model(nodes, {"weight": weight}, **changes)


def node(kind: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, ["giant"], **attributes)


BAD = "invalid_bundle"
LIES: dict[str, tuple[Callable[[Path], None], str]] = {
    # sizes
    "input of 16384 x 16384": (edited(lambda m: resize(m, 16384, 16384)), BAD),
    "input of a 100 GB tensor": (edited(lambda m: resize(m, 91287, 91287)), BAD),
    "input whose area overflows": (edited(lambda m: resize(m, 1 << 31, 1 << 31)), BAD),
    "input of a negative size": (edited(lambda m: resize(m, -64, -96)), BAD),
    "logits of 4 GiB": (edited(lambda m: resize_logits(m, 16384, 16384)), BAD),
    "logits of 100 GB": (edited(lambda m: resize_logits(m, 79057, 79057)), BAD),
    "logits of another size": (edited(lambda m: resize_logits(m, 32, 48)), BAD),
    "shape of five": (edited(lambda m: m["networks"]["segment"]["inputs"][0]["shape"].append(1)), BAD),
    # classes
    "no class": (edited(lambda m: recount(m, 0)), BAD),
    "256 classes": (edited(lambda m: recount(m, 256)), BAD),
    "255 classes of a network of four": (edited(lambda m: recount(m, 255)), BAD),
    "a class twice": (edited(lambda m: m["classes"].__setitem__(3, m["classes"][0])), BAD),
    "three classes of a network of four": (edited(lambda m: recount(m, 3)), BAD),
    # colours
    "mean of NaN": (raw_manifest(lambda b: b.replace(b"112.0", b"NaN")), BAD),
    "mean of infinity": (raw_manifest(lambda b: b.replace(b"112.0", b"1e999")), BAD),
    "std of nothing": (edited(lambda m: m["input"].update(std=[0.0, 1.0, 1.0])), BAD),
    "table of 257": (edited(lambda m: swap_lut(m, [*range(256), 0])), BAD),
    "table of fractions": (edited(lambda m: swap_lut(m, [0.5] * 256)), BAD),
    "table of a million": (edited(lambda m: swap_lut(m, [0] * 1_000_000)), BAD),
    "table of text": (edited(lambda m: swap_lut(m, "0" * 256)), BAD),
    # schedules
    "schedule without end": (edited(lambda m: m.update(default_schedule="fixed:99999999999")), BAD),
    "schedule of NaN": (edited(lambda m: m.update(default_schedule="adaptive:nan")), BAD),
    "schedule of a number": (edited(lambda m: m.update(default_schedule=7)), BAD),
    # JSON
    "a million brackets": (raw_manifest(lambda b: b'{"provenance":' + b"[" * 1_000_000), BAD),
    "nested objects": (raw_manifest(lambda b: b'{"a":' * 500_000), BAD),
    "a key twice, deep inside": (raw_manifest(lambda b: b.replace(b'"std":', b'"mean": [], "std":')), BAD),
    "a key twice, spelt otherwise": (
        raw_manifest(lambda b: b.replace(b'"name":', b'"n\\u0061me": "x", "name":', 1)),
        BAD,
    ),
    "bytes that are not UTF-8": (raw_manifest(lambda b: b.replace(b"half_pixel", b"half\xff\xfepixel")), BAD),
    "an overlong form": (raw_manifest(lambda b: b.replace(b"half_pixel", b"half\xc0\xafpixel")), BAD),
    "half a surrogate": (raw_manifest(lambda b: b.replace(b"half_pixel", b"half\\ud800pixel")), BAD),
    "text that never ends": (raw_manifest(lambda b: b'{"name":"' + b"a" * 4_000_000), BAD),
    "a megabyte of zero bytes": (raw_manifest(lambda b: b"\0" * 1_000_000), BAD),
    "a manifest of 100 GB": (lambda bundle: grow(bundle / "manifest.json"), BAD),
    # paths
    "manifest is a pipe": (replaced("manifest.json", os.mkfifo), BAD),
    "manifest is a folder": (replaced("manifest.json", os.mkdir), BAD),
    "manifest is a link to zeros": (replaced("manifest.json", lambda f: f.symlink_to("/dev/zero")), BAD),
    "manifest is a link to itself": (replaced("manifest.json", lambda f: f.symlink_to(f.name)), BAD),
    "network above": (name_file("../half_pixel/segment.onnx"), BAD),
    "network anywhere": (name_file("/etc/passwd"), BAD),
    "network by many dots": (name_file("a/../../../../etc/passwd"), BAD),
    "network with a zero byte": (name_file("segment.onnx\0.txt"), BAD),
    "network of a name without end": (name_file("a" * 100_000), BAD),
    "network is a pipe": (replaced("segment.onnx", os.mkfifo), BAD),
    "network is a folder": (replaced("segment.onnx", os.mkdir), BAD),
    "network is a link to zeros": (replaced("segment.onnx", lambda f: f.symlink_to("/dev/zero")), BAD),
    "network is a link outside": (replaced("segment.onnx", lambda f: f.symlink_to("/etc/passwd")), BAD),
    "network is a link to itself": (replaced("segment.onnx", lambda f: f.symlink_to(f.name)), BAD),
    # content
    "network of 100 GB": (lambda bundle: grow(bundle / "segment.onnx"), BAD),
    "network with a byte more": (lambda bundle: append(bundle / "segment.onnx"), BAD),
    "network of nothing": (network_bytes(lambda: b""), "engine"),
    "network of noise": (network_bytes(lambda: np.random.default_rng(0).bytes(10_000)), BAD),
    "network cut short": (network_bytes(lambda: honest()[:-40]), BAD),
    "float16 input": (network_bytes(lambda: honest(input_type=TensorProto.FLOAT16)), "engine"),
    "two outputs": (network_bytes(lambda: honest(outputs=["logits", "second"])), BAD),
    "output of another name": (network_bytes(lambda: honest(outputs=["scores_of\x1b[2J"])), BAD),
    "input of another shape": (network_bytes(lambda: honest(input_shape=[1, 3, 32, 32])), BAD),
    "five classes": (network_bytes(lambda: honest(classes=5)), BAD),
    "input of any rank": (network_bytes(lambda: honest(input_shape=None)), "engine"),
    "external weights in a branch": (network_bytes(external_in_a_branch), BAD),
    "external weights behind a group": (network_bytes(external_behind_a_group), BAD),
    "weight of 100 GB without a byte": (network_bytes(giant_initializer), "engine"),
    "weight with too few bytes": (network_bytes(short_initializer), "engine"),
    "weights of NaN": (network_bytes(lambda: honest(weight=np.full((4, 3, 1, 1), np.nan, np.float32))), "engine"),
    "a giant of zeros": (network_bytes(with_giant(node("ConstantOfShape", ["s"]), s=ints(HUGE, HUGE, 4))), BAD),
    "a giant expanded": (
        network_bytes(with_giant(node("Expand", ["one", "s"]), one=np.ones(1, np.float32), s=ints(HUGE, HUGE, 4))),
        BAD,
    ),
    "a giant tiled": (network_bytes(with_giant(node("Tile", ["image", "s"]), s=ints(1000, 1000, 2, 2))), BAD),
    "a giant border": (
        network_bytes(with_giant(node("Pad", ["image", "s"]), s=ints(0, 0, HUGE, HUGE, 0, 0, 0, 0))),
        BAD,
    ),
    "a giant resized": (
        network_bytes(with_giant(node("Resize", ["image", "", "s"]), s=np.array([1, 1, 999, 999], np.float32))),
        BAD,
    ),
    "a giant in a loop": (network_bytes(giant_in_a_loop), BAD),
}


def ask(bundle: Path) -> dict[str, object]:
    """What becomes of it: the error's code and message, or what else happened."""
    try:
        segmenter = stpl_rt.Segmenter(bundle, threads=1)
        segmenter(np.full((64, 96, 3), 77, np.uint8))
    except stpl_rt.Error as error:
        return {"code": error.code, "message": str(error)}
    except BaseException as error:
        return {"code": type(error).__name__, "message": str(error)}
    return {"code": "accepted", "message": ""}


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    bundle, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    answers = {"a sound bundle": ask(bundle)}
    bound_memory()
    for name, (lie, _) in LIES.items():
        copy = Path(shutil.copytree(bundle, scratch / "bundle"))
        lie(copy)
        before = peak()
        answers[name] = ask(copy)
        answers[name]["grown"] = peak() - before
        shutil.rmtree(copy)
    print(json.dumps(answers))  # noqa: T201


if __name__ == "__main__":
    main()
