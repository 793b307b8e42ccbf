"""Every kind of network that the project exports, small, with random weights; exported once a session."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
import torch

from stpl.data.classes import ClassSet
from stpl.export import export_onnx
from stpl.export.onnx import export_network
from stpl.export.plan_facts import BuildSettings
from stpl.export.tensorrt import build_plan
from stpl.export.tensorrt_library import TensorRT, load_tensorrt
from stpl.models import build_model
from stpl.models.accel import FuseNet, UpdateNet

CLASSES = ClassSet(("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180)))


@pytest.fixture(scope="session")
def library() -> TensorRT:
    return load_tensorrt("tensorrt_rtx")


def trained_a_little(name: str, height: int, width: int) -> torch.nn.Module:
    """Random weights; batch-norm statistics that are not the trivial ones."""
    torch.manual_seed(3)
    model = build_model(name, len(CLASSES)).train()
    with torch.no_grad():
        model(torch.randn(2, 3, height, width))
    return model.eval()


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """The networks of accel mode begin as the identity, of which nothing can be lost."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any() or parameter.shape[:2] == (3, 6):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


NETWORKS = {
    "compact": lambda file: export_onnx(trained_a_little("compact", 48, 64), 48, 64, file),
    "segformer-b0": lambda file: export_onnx(trained_a_little("segformer-b0", 64, 96), 64, 96, file),
    "pidnet-s": lambda file: export_onnx(trained_a_little("pidnet-s", 64, 96), 64, 96, file),
    "accel_deeplabv2": lambda file: export_onnx(trained_a_little("accel_deeplabv2", 33, 65), 33, 65, file),
    "fuse": lambda file: export_network(
        stirred(FuseNet(3)), {"logits": (1, 3, 12, 16), "past": (1, 3, 12, 16)}, "fused", file
    ),
    "update": lambda file: export_network(
        stirred(UpdateNet(trained_a_little("compact", 48, 64), 16)),
        {"image": (1, 3, 48, 64), "carried": (1, 3, 12, 16)},
        "updated",
        file,
    ),
}

Networks = Callable[[str], onnx.ModelProto]
Plans = Callable[[str], bytes]


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """Every kind of network that the project exports, by name; each is exported once."""
    folder, made = tmp_path_factory.mktemp("networks"), dict[str, onnx.ModelProto]()

    def get(name: str) -> onnx.ModelProto:
        if name not in made:
            NETWORKS[name](folder / f"{name}.onnx")
            made[name] = onnx.load(folder / f"{name}.onnx")
        return made[name]

    return get


@pytest.fixture(scope="session")
def fp32_plan(network: Networks, library: TensorRT) -> Plans:
    """The plan of a network as it is exported, by name; each is built once."""
    built: dict[str, bytes] = {}

    def get(name: str) -> bytes:
        if name not in built:
            built[name] = build_plan(network(name), library, BuildSettings())[0]
        return built[name]

    return get
