"""TensorRT plans, really built, on the CPU: every kind of network, what is kept of them, what is refused."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import stpl_rt
from stpl.errors import UserError
from stpl.export import export_bundle, tensorrt
from stpl.export.dynamic_batch import with_dynamic_batch
from stpl.export.embedding import embed_plans
from stpl.export.lowering import Lowering
from stpl.export.onnx_session import open_session
from stpl.export.plan_facts import BuildSettings, fault_of, read_facts, sidecar_of
from stpl.export.tensorrt import build_plan, build_plans, default_folder, target_of
from stpl.export.tensorrt_library import PlanError, TensorRT, load_tensorrt
from stpl.models.accel import FuseNet, UpdateNet
from stpl.train.accel import AccelNetworks
from stpl.train.checkpoint import Checkpoint, InputConfig

from .conftest import CLASSES, NETWORKS, Networks, trained_a_little


def make_checkpoint() -> Checkpoint:
    model = trained_a_little("compact", 48, 64)
    return Checkpoint("compact", CLASSES, InputConfig(height=48, width=64), {}, {}).with_weights(model)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """segment, fuse and update of a compact network."""
    checkpoint = make_checkpoint()
    torch.manual_seed(1)
    accel = AccelNetworks(FuseNet(3).eval(), UpdateNet(checkpoint.build(), 16).eval())
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    return export_bundle(checkpoint, tmp_path_factory.mktemp("plans") / "b", [frame], accel=accel).bundle


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "own.bundle"))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_becomes_a_plan(name: str, network: Networks, library: TensorRT) -> None:
    model = network(name)
    assert not {node.op_type for node in model.graph.node} & {"GridSample"}
    plan, tensors = build_plan(model, library, BuildSettings())
    assert len(plan) > 10_000
    inputs = [value.name for value in model.graph.input]
    assert [tensor.name for tensor in tensors if tensor.mode == "input"] == inputs
    assert [tensor.name for tensor in tensors if tensor.mode == "output"] == [model.graph.output[0].name]
    for tensor, value in zip(tensors, (*model.graph.input, *model.graph.output), strict=True):
        assert tensor.shape == tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        assert tensor.type == "float32"


def test_the_same_network_gives_the_same_bytes(network: Networks, library: TensorRT) -> None:
    first, second = (build_plan(network("compact"), library, BuildSettings())[0] for _ in range(2))
    assert first == second
    assert first != build_plan(network("compact"), library, BuildSettings(compute_capabilities=("8.9",)))[0]


def test_a_network_with_grid_sample_is_refused(library: TensorRT) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    grid = helper.make_tensor_value_info("grid", TensorProto.FLOAT, [1, 8, 8, 2])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, 8, 8])
    node = helper.make_node("GridSample", ["image", "grid"], ["logits"], name="warp")
    model = helper.make_model(
        helper.make_graph([node], "g", [image, grid], [out]), opset_imports=[helper.make_opsetid("", 18)]
    )
    with pytest.raises(PlanError, match=r"without GridSample.*found 'warp'"):
        build_plan(model, library, BuildSettings())


def test_what_tensorrt_says_of_a_bad_network_is_passed_on(network: Networks, library: TensorRT) -> None:
    model = onnx.ModelProto.FromString(network("fuse").SerializeToString())
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(PlanError, match="NoSuchOperator"):
        build_plan(model, library, BuildSettings())


# --- the cache ---


def test_plans_of_a_bundle_are_built_once(bundle: Path, library: TensorRT, tmp_path: Path) -> None:
    first = build_plans(bundle, library, cache=tmp_path)
    assert [(plan.network, plan.built, plan.reason) for plan in first] == [
        ("segment", True, None),
        ("fuse", True, None),
        ("update", True, None),
    ]
    for plan in first:
        assert plan.file.parent == tmp_path / "sm80-up" / f"tensorrt_rtx-{library.version}"
        facts = read_facts(plan.file)
        assert facts.identity == plan.identity
        assert facts.identity.network_sha256 == getattr(stpl_rt.Bundle.open(bundle), plan.network).sha256
        assert fault_of(plan.file, plan.identity) is None
    assert len(list(first[0].file.parent.iterdir())) == 6  # nothing unfinished beside them
    assert not any(plan.built for plan in build_plans(bundle, library, cache=tmp_path))
    assert all(plan.built for plan in build_plans(bundle, library, cache=tmp_path, rebuild=True))
    other = build_plans(bundle, library, BuildSettings(optimization_level=1), cache=tmp_path)
    assert all(plan.built for plan in other)  # beside the first ones, not over them
    assert not any(plan.built for plan in build_plans(bundle, library, cache=tmp_path))


def test_a_plan_that_takes_float32_for_nothing_is_built_again(library: TensorRT, tmp_path: Path) -> None:
    """As those that the runtime builds, which leaves a network's ends as the file has them."""
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    lowering = Lowering("fp16", [(frame, None)], max_loss=1.0)
    half = export_bundle(make_checkpoint(), tmp_path / "half", [frame], lowering=lowering).bundle
    (plan,) = build_plans(half, library, cache=tmp_path / "cache")
    assert {tensor.type for tensor in read_facts(plan.file).tensors} == {"float16"}
    (again,) = build_plans(half, library, cache=tmp_path / "cache")
    assert not again.built
    sidecar_of(plan.file).write_text(sidecar_of(plan.file).read_text().replace("float16", "float32"))
    (again,) = build_plans(half, library, cache=tmp_path / "cache")
    assert again.built and again.reason == "expected image, logits in fp16, found float32"


def change_sidecar(plan: Path, **identity: object) -> None:
    document = json.loads(sidecar_of(plan).read_text())
    document["identity"].update(identity)
    sidecar_of(plan).write_text(json.dumps(document))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (
        lambda plan: plan.write_bytes(plan.read_bytes()[:-100]),
        r"expected \d+ bytes, found \d+: the file is cut",
    ),
    "damaged": (lambda plan: plan.write_bytes(b"x" + plan.read_bytes()[1:]), "expected SHA-256 .* damaged"),
    "without a sidecar": (lambda plan: sidecar_of(plan).unlink(), "expected what it is in .*json; found none"),
    "with half a sidecar": (lambda plan: sidecar_of(plan).write_text('{"format"'), "expected JSON"),
    "of another format": (lambda plan: sidecar_of(plan).write_text('{"format": "x"}'), "expected format stpl-plan-1"),
    "with a field too many": (
        lambda plan: sidecar_of(plan).write_text(sidecar_of(plan).read_text().replace("{", '{"more": 1, ', 1)),
        "more: Extra inputs",
    ),
    "of another version": (lambda plan: change_sidecar(plan, library_version="1.0"), "library_version: .*found 1.0"),
    "of the other flavour": (lambda plan: change_sidecar(plan, library="tensorrt"), "library: .*found tensorrt$"),
    "for another GPU": (lambda plan: change_sidecar(plan, target="orin-sm87"), "target: .*found orin-sm87"),
    "of another network": (lambda plan: change_sidecar(plan, network_sha256="0" * 64), "network_sha256: .*found 000"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stale_or_foreign_plan_is_built_again(
    fault: str, bundle: Path, library: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = next(plan for plan in build_plans(bundle, library, cache=tmp_path) if plan.network == "fuse")
    whole = plan.file.read_bytes()
    damage, message = FAULTS[fault]
    damage(plan.file)
    assert fault_of(plan.file, plan.identity) is not None
    again = next(plan for plan in build_plans(bundle, library, cache=tmp_path) if plan.network == "fuse")
    assert again.built
    assert again.reason is not None
    assert re.search(message, again.reason), again.reason
    assert plan.file.read_bytes() == whole
    assert fault_of(plan.file, plan.identity) is None


def test_a_build_that_fails_leaves_nothing(
    bundle: Path, library: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        build_plans(bundle, library, cache=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_cache_lies_where_the_user_has_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "stpl" / "plans"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "stpl" / "plans"


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (BuildSettings(dla_core=0), "DLA: .*tensorrt_rtx.* has none here"),
        (BuildSettings(compute_capabilities=("9.0",)), "expected some of 7.5, 8.0, .*found '9.0'"),
        (BuildSettings(compute_capabilities=("89",)), "found '89'"),
        (BuildSettings(batches=(4, 2, 8)), "found 4,2,8"),
        (BuildSettings(tactic_sources=("CUBLAS",)), "expected some of .*JIT_CONVOLUTIONS.*found 'CUBLAS'"),
    ],
)
def test_settings_that_this_tensorrt_lacks_are_refused(
    settings: BuildSettings, message: str, bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        build_plans(bundle, library, settings, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_settings_reach_the_builder(network: Networks, library: TensorRT) -> None:
    settings = BuildSettings(
        workspace_mib=64, optimization_level=1, max_tactics=3, tactic_sources=("JIT_CONVOLUTIONS",), tf32=True
    )
    trt = library.module
    builder = trt.Builder(trt.Logger())
    config = tensorrt._configure(library, builder, builder.create_network(0), settings)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
    assert (config.builder_optimization_level, config.max_num_tactics) == (1, 3)
    assert config.get_tactic_sources() == 1 << int(trt.TacticSource.JIT_CONVOLUTIONS)
    assert config.get_flag(trt.BuilderFlag.TF32)
    plain = tensorrt._configure(library, builder, builder.create_network(0), BuildSettings())
    assert not plain.get_flag(trt.BuilderFlag.TF32)
    plan, _ = build_plan(network("fuse"), library, settings)
    assert plan


def test_progress_is_told_and_ctrl_c_ends_a_build(network: Networks, library: TensorRT) -> None:
    class Recorder:
        def __init__(self, interrupt: bool) -> None:
            self.interrupt, self.open, self.seen, self.steps = interrupt, [], set[str](), 0

        def start(self, phase: str, parent: str | None, steps: int) -> None:
            self.seen.add(phase)

        def step(self, phase: str, step: int) -> None:
            self.steps += 1
            if self.interrupt:
                raise KeyboardInterrupt

        def finish(self, phase: str) -> None:
            pass

    recorder = Recorder(interrupt=False)
    build_plan(network("fuse"), library, BuildSettings(), progress=recorder)
    assert recorder.steps > 10
    assert "Building engine" in recorder.seen
    impatient = Recorder(interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        build_plan(network("fuse"), library, BuildSettings(), progress=impatient)
    assert impatient.steps < recorder.steps


# --- batches ---


@pytest.mark.parametrize("name", ["segformer-b0", "pidnet-s", "update"])
def test_a_network_takes_several_frames_at_once(name: str, network: Networks, library: TensorRT) -> None:
    fixed = network(name)
    dynamic = with_dynamic_batch(fixed)
    rng = np.random.default_rng(2)
    shapes = {v.name: [side.dim_value for side in v.type.tensor_type.shape.dim] for v in fixed.graph.input}
    three = {key: rng.standard_normal((3, *shape[1:])).astype(np.float32) for key, shape in shapes.items()}
    together = open_session(dynamic).run(None, three)[0]
    for index in range(3):
        alone = open_session(fixed).run(None, {key: value[index : index + 1] for key, value in three.items()})[0]
        np.testing.assert_allclose(together[index : index + 1], alone, atol=2e-4)
    plan, tensors = build_plan(fixed, library, BuildSettings(batches=(1, 4, 8)))
    assert len(plan) > 10_000
    assert all(tensor.shape[0] == -1 for tensor in tensors)
    assert [tensor.shape[1:] for tensor in tensors[:-1]] == [tuple(shape[1:]) for shape in shapes.values()]


def test_a_network_that_mixes_its_frames_takes_no_batch(library: TensorRT) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, 8, 8])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], name="mean", keepdims=1),  # of all frames together
        helper.make_node("Sub", ["image", "mean"], ["logits"], name="sub"),
    ]
    graph = helper.make_graph(nodes, "g", [image], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(UserError, match="mixes the frames of a batch"):
        build_plan(model, library, BuildSettings(batches=(1, 2, 4)))


# --- the library ---


def test_a_missing_tensorrt_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UserError, match=r"found none: pip install 'stpl\[tensorrt\]'"):
        load_tensorrt()
    with pytest.raises(UserError, match="did you mean 'tensorrt_rtx'"):
        load_tensorrt("tensorrt-rtx")


def test_a_tensorrt_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(UserError, match=r"found tensorrt, which cannot be loaded \(libnvinfer.so.10: cannot open"):
        load_tensorrt("tensorrt")
    assert load_tensorrt().flavour == "tensorrt_rtx"  # the one that can be


def test_the_sdk_builds_for_the_gpu_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = TensorRT("tensorrt", "10.3", SimpleNamespace())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="builds for the GPU at hand; found none"):
        target_of(sdk, BuildSettings())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 7))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Orin (nvgpu)")
    assert target_of(sdk, BuildSettings()) == "orin-nvgpu-sm87"


# --- inside a bundle ---


def test_plans_inside_a_bundle(own_bundle: Path, library: TensorRT, tmp_path: Path) -> None:
    for settings in (BuildSettings(), BuildSettings(compute_capabilities=("8.9",))):
        plans = build_plans(own_bundle, library, settings, cache=tmp_path / "cache")
        embed_plans(own_bundle, plans)
        embed_plans(own_bundle, plans)  # again: replaced, not doubled
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    for name in ("segment", "fuse", "update"):
        entries = manifest["networks"][name]["plans"]
        assert len(entries) == 2
        for entry in entries:
            facts = read_facts(own_bundle / entry["file"])
            assert facts.plan_sha256 == entry["sha256"]
            assert facts.identity.network_sha256 == manifest["networks"][name]["sha256"]
            assert fault_of(own_bundle / entry["file"]) is None
