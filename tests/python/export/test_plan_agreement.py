"""The cache of plans is one: what the exporter writes, the runtime in C++ finds, and the other way round."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from stpl.errors import UserError
from stpl.export import tensorrt_library
from stpl.export.network_precision import precision_of
from stpl.export.plan_facts import BuildSettings, PlanIdentity, fault_of, read_facts, sidecar_of
from stpl.export.tensorrt import Plan, build_plans, default_folder, target_of
from stpl.export.tensorrt_library import TensorRT, library_version, load_tensorrt

BUILD = Path(__file__).resolve().parents[3] / "build" / "cmake" / "tests" / "cpp"
NETWORKS = ("segment", "fuse", "update")
L4, A10, T4, H200 = ("NVIDIA L4", "89"), ("NVIDIA A10", "86"), ("Tesla T4", "75"), ("NVIDIA H200", "90")
NONE = 3


class Tool:
    """tests/cpp/engine/plan_tool.cpp."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([self._program, *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode in (0, NONE), done.stderr
        return done

    def find(
        self,
        folder: Path,
        bundle: Path,
        network: str,
        library: TensorRT,
        device: tuple[str, str],
        precision: str = "fp32",
    ) -> Path | str:
        """The plan's file, or why there is none."""
        done = self.run("find", folder, bundle, network, library.flavour, library.version, *device, precision)
        return done.stdout.strip() if done.returncode else Path(done.stdout.strip())


@pytest.fixture(scope="module")
def tool() -> Tool:
    program = BUILD / "stpl_rt_plan_tool"
    if not program.is_file():
        pytest.skip("stpl_rt_plan_tool is not built here: make test builds it")
    return Tool(program)


@pytest.fixture(scope="module")
def bundle() -> Path:
    """segment, fuse and update of a few layers each."""
    folder = BUILD / "bundles" / "accel"
    if not folder.is_dir():
        pytest.skip("the test bundles are not built here: make test builds them")
    return folder


@pytest.fixture
def plans(bundle: Path, library: TensorRT, tmp_path: Path) -> dict[str, Plan]:
    return {plan.network: plan for plan in build_plans(bundle, library, cache=tmp_path)}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_runtime_finds_what_the_exporter_has_built(
    network: str, plans: dict[str, Plan], tool: Tool, bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    assert plans[network].built
    for device in (L4, A10, H200):
        assert tool.find(tmp_path, bundle, network, library, device) == plans[network].file
    refused = tool.find(tmp_path, bundle, network, library, T4)
    assert isinstance(refused, str) and "target: expected sm80-up, found sm80-up" in refused
    assert tool.find(tmp_path / "elsewhere", bundle, network, library, L4) == ""


def test_the_exporter_finds_what_the_runtime_has_built(
    plans: dict[str, Plan], tool: Tool, bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    cache = tmp_path / "of the runtime"
    for network, plan in plans.items():
        words = (cache, bundle, network, library.flavour, library.version, *L4, "fp32")
        written = Path(tool.run("write", plan.file, *words).stdout.strip())
        # The same names, and the same facts.
        assert written.relative_to(cache) == plan.file.relative_to(tmp_path)
        assert read_facts(written) == read_facts(plan.file)
        assert fault_of(written, plan.identity) is None
    found = build_plans(bundle, library, cache=cache)
    assert [(plan.network, plan.built) for plan in found] == [(network, False) for network in NETWORKS]


def test_both_sides_keep_plans_from_others(
    plans: dict[str, Plan], tool: Tool, bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    plan = plans["fuse"]
    umask = os.umask(0)
    try:
        again = next(p for p in build_plans(bundle, library, cache=tmp_path / "open") if p.network == "fuse")
    finally:
        os.umask(umask)
    for file in (again.file, sidecar_of(again.file)):
        assert file.stat().st_mode & 0o777 == 0o600
    assert tool.find(tmp_path / "open", bundle, "fuse", library, L4) == again.file
    plan.file.chmod(0o606)
    refused = tool.find(tmp_path, bundle, "fuse", library, L4)
    mine = fault_of(plan.file, plan.identity)
    assert isinstance(refused, str) and mine is not None
    assert "nobody else may write" in refused and "nobody else may write" in mine
    plan.file.unlink()
    plan.file.symlink_to(again.file)
    assert "regular file" in str(tool.find(tmp_path, bundle, "fuse", library, L4))
    assert "regular file" in str(fault_of(plan.file, plan.identity))


def test_plans_of_other_settings(tool: Tool, bundle: Path, library: TensorRT, tmp_path: Path) -> None:
    def built(folder: str, settings: BuildSettings) -> Path:
        found = build_plans(bundle, library, settings, cache=tmp_path / folder)
        return next(plan.file for plan in found if plan.network == "update")

    def find(folder: str, device: tuple[str, str]) -> Path | str:
        return tool.find(tmp_path / folder, bundle, "update", library, device)

    named = built("named", BuildSettings(compute_capabilities=("7.5", "8.6")))
    assert find("named", T4) == find("named", A10) == named
    refused = find("named", L4)
    assert isinstance(refused, str) and "target: expected sm80-up, found sm75-sm86" in refused
    several = built("batches", BuildSettings(batches=(1, 2, 4)))
    assert find("batches", L4) == several
    built("pairs", BuildSettings(batches=(2, 2, 4)))
    refused = find("pairs", L4)
    assert isinstance(refused, str) and "batches: expected" in refused and "[2,2,4]" in refused
    # Among several, the one that the runtime would have built.
    own = built("batches", BuildSettings())
    built("batches", BuildSettings(tf32=True))
    assert find("batches", L4) == own


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda plan: plan.write_bytes(plan.read_bytes()[:-9]), r"expected \d+ bytes, found \d+.*cut off"),
    "damaged": (lambda plan: plan.write_bytes(plan.read_bytes()[:-1] + b"?"), "SHA-256 .*damaged"),
    "without a sidecar": (lambda plan: sidecar_of(plan).unlink(), r"\.plan\.json.*found none"),
    "with half a sidecar": (lambda plan: sidecar_of(plan).write_text('{"format"'), "JSON"),
    "of another version": (lambda plan: change(plan, library_version="1.0.0.1"), "library_version: .*found 1.0.0.1"),
    "of the other flavour": (lambda plan: change(plan, library="tensorrt"), "library: .*found tensorrt"),
    "for another GPU": (lambda plan: change(plan, target="orin-sm87"), "target: .*found orin-sm87"),
    "of another network": (lambda plan: change(plan, network_sha256="0" * 64), "network_sha256: .*found 0000"),
    "of another precision": (lambda plan: change(plan, precision="int8"), "precision: .*found int8"),
}


def change(plan: Path, **identity: object) -> None:
    document = json.loads(sidecar_of(plan).read_text())
    document["identity"].update(identity)
    sidecar_of(plan).write_text(json.dumps(document))


@pytest.mark.parametrize("fault", FAULTS)
def test_both_refuse_a_plan_for_the_same_reason(
    fault: str, plans: dict[str, Plan], tool: Tool, bundle: Path, library: TensorRT, tmp_path: Path
) -> None:
    damage, message = FAULTS[fault]
    plan = plans["fuse"]
    damage(plan.file)
    theirs, ours = tool.find(tmp_path, bundle, "fuse", library, L4), fault_of(plan.file, plan.identity)
    assert isinstance(theirs, str) and re.search(message, theirs), theirs
    assert ours is not None and re.search(message, ours), ours


# --- names ---


def test_both_name_the_folder_alike(tool: Tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for cache in (str(tmp_path), "relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        assert tool.run("folder").stdout.strip() == str(default_folder())
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert tool.run("folder").stdout.strip() == str(default_folder()) == str(tmp_path / "home/.cache/stpl/plans")


@pytest.mark.parametrize(
    "name", ["Orin (nvgpu)", "NVIDIA Thor", "NVIDIA GeForce RTX 4090", "Tesla T4", " A--B ", "Ampère"]
)
def test_both_name_a_gpu_alike(name: str, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 7))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    for flavour in tensorrt_library.FLAVOURS:
        ours = target_of(TensorRT(flavour, "10.3.0.30", None), BuildSettings())
        assert tool.run("target", flavour, name, "87").stdout.strip() == ours


def typed(types: list[int], operator: str = "Cast") -> onnx.ModelProto:
    """A chain of casts, or of quantisations."""
    nodes = [
        helper.make_node("Cast", [f"x{i}"], [f"x{i + 1}"], to=kind)
        if operator == "Cast"
        else helper.make_node(operator, [f"x{i}", "scale"], [f"x{i + 1}"])
        for i, kind in enumerate(types)
    ]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0])
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1]) for i in (0, len(types))]
    return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [scale]))


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (typed([TensorProto.FLOAT]), "fp32"),
        (typed([TensorProto.FLOAT16, TensorProto.FLOAT]), "fp16"),
        (typed([TensorProto.BFLOAT16, TensorProto.FLOAT]), "bf16"),
        (typed([TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT]), "bf16"),
        (typed([TensorProto.INT8], "QuantizeLinear"), "int8"),
    ],
)
def test_both_read_a_networks_precision_alike(
    model: onnx.ModelProto, precision: str, tool: Tool, tmp_path: Path
) -> None:
    onnx.save(model, tmp_path / "network.onnx")
    assert precision_of(model) == precision
    assert tool.run("precision", tmp_path / "network.onnx").stdout.strip() == precision


# --- the library's version ---


def test_the_version_is_the_librarys_own_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    library = load_tensorrt("tensorrt_rtx")
    # The SDK's module gives three numbers of four.
    monkeypatch.setattr(library.module, "__version__", "1.7.1")
    assert load_tensorrt("tensorrt_rtx").version == library.version
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", library.version)
    assert library_version("tensorrt") is None  # not loaded
    monkeypatch.setattr(tensorrt_library, "library_version", lambda _: None)
    assert load_tensorrt("tensorrt_rtx").version == "1.7.1"
    with pytest.raises(UserError):
        load_tensorrt("tensorrt_rt")


def test_the_version_is_part_of_a_plans_place(plans: dict[str, Plan], library: TensorRT, tmp_path: Path) -> None:
    identity: PlanIdentity = plans["segment"].identity
    assert plans["segment"].file.parent == tmp_path / "sm80-up" / f"tensorrt_rtx-{library.version}"
    assert identity.library_version == library.version
