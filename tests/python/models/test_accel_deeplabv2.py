"""ACCEL_DeepLabv2 against a plain transcription of the benchmarks' protocol, by the released names of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stpl.errors import UserError
from stpl.export import export_onnx
from stpl.models import SegmentationModel
from stpl.models.accel_deeplabv2 import RESNET_101, AccelDeepLabV2, flow_at_logits, load_imagenet
from stpl.models.pth import read_state_dict

TINY = (1, 2, 2, 1)


# The transcription: functions over a state dict; nothing of the package's models takes part in it.


def batch_norm(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    shape = (1, -1, 1, 1)
    normal = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return normal * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def residual_stage(
    state: Mapping[str, Tensor], name: str, x: Tensor, blocks: int, stride: int, dilation: int
) -> Tensor:
    for index in range(blocks):
        block = f"{name}.{index}"
        step = stride if index == 0 else 1
        y = F.conv2d(x, state[f"{block}.conv1.weight"], stride=step)
        y = batch_norm(state, f"{block}.bn1", y).clamp(min=0)
        y = F.conv2d(y, state[f"{block}.conv2.weight"], padding=dilation, dilation=dilation)
        y = batch_norm(state, f"{block}.bn2", y).clamp(min=0)
        y = batch_norm(state, f"{block}.bn3", F.conv2d(y, state[f"{block}.conv3.weight"]))
        if index == 0:
            x = F.conv2d(x, state[f"{block}.downsample.0.weight"], stride=step)
            x = batch_norm(state, f"{block}.downsample.1", x)
        x = (x + y).clamp(min=0)
    return x


def pyramid(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    convolutions = [
        F.conv2d(
            x,
            state[f"{name}.conv2d_list.{index}.weight"],
            state[f"{name}.conv2d_list.{index}.bias"],
            padding=dilation,
            dilation=dilation,
        )
        for index, dilation in enumerate((6, 12, 18, 24))
    ]
    return torch.stack(convolutions).sum(dim=0)


def one_frame(state: Mapping[str, Tensor], images: Tensor, layers: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Main and auxiliary scores."""
    x = F.conv2d(images, state["conv1.weight"], stride=2, padding=3)
    x = batch_norm(state, "bn1", x).clamp(min=0)
    x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1, ceil_mode=True)
    x = residual_stage(state, "layer1", x, layers[0], stride=1, dilation=1)
    x = residual_stage(state, "layer2", x, layers[1], stride=2, dilation=1)
    x = residual_stage(state, "layer3", x, layers[2], stride=1, dilation=2)
    aux = pyramid(state, "layer5", x)
    x = residual_stage(state, "layer4", x, layers[3], stride=1, dilation=4)
    return pyramid(state, "layer6", x), aux


def resample(past: Tensor, flow: Tensor) -> Tensor:
    """past(x + dx, y + dy) from its four neighbours, each brought inside the picture by itself."""
    count, channels, height, width = past.shape
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = xs + flow[:, 0], ys + flow[:, 1]
    left, top = x.floor(), y.floor()
    result = torch.zeros_like(past)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
        column = (left + dx).long().clamp(0, width - 1)
        row = (top + dy).long().clamp(0, height - 1)
        index = (row * width + column).view(count, 1, -1).expand(-1, channels, -1)
        result += weight[:, None] * past.flatten(2).gather(2, index).view_as(past)
    return result


def fused(state: Mapping[str, Tensor], present: Tensor, past: Tensor, flow: Tensor) -> Tensor:
    size = present.shape[-2:]
    at_logits = F.interpolate(flow, size=size, mode="bilinear", align_corners=True) * (size[0] / flow.shape[-2])
    return F.conv2d(torch.cat((present, resample(past, at_logits)), dim=1), state["sf_layer.weight"])


# Random weights under which activations and scores stay near one, so that 1e-4 means something.


def random_state(model: AccelDeepLabV2, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = value
        elif value.ndim == 4:
            state[name] = noise * value[0].numel() ** -0.5
        elif name.endswith("running_var"):
            state[name] = 0.5 + noise.abs()
        elif name.endswith("bn3.weight"):
            state[name] = 0.2 * noise
        elif name.endswith("weight"):
            state[name] = 1 + 0.2 * noise
        else:
            state[name] = 0.1 * noise
    return state


def make_model(seed: int, num_classes: int = 5, layers: tuple[int, int, int, int] = TINY) -> AccelDeepLabV2:
    width = 64 if layers == RESNET_101 else 4
    model = AccelDeepLabV2(num_classes, layers, width).eval()
    model.load_state_dict(random_state(model, seed))
    return model


def assert_equal_to_the_transcription(model: AccelDeepLabV2, layers: tuple[int, ...], size: tuple[int, int]) -> None:
    state = model.state_dict()
    present, past = torch.randn(2, 1, 3, *size, generator=torch.Generator().manual_seed(7))
    flow = 20 * torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        pair = model.fused_logits(present, past, flow)
        present_main, present_aux = one_frame(state, present, layers)
        past_main, past_aux = one_frame(state, past, layers)
        assert 0.1 < present_main.std() < 50
        expected = {
            "main": fused(state, present_main, past_main, flow),
            "aux": fused(state, present_aux, past_aux, flow),
            "present_main": present_main,
            "present_aux": present_aux,
            "past_main": past_main,
            "past_aux": past_aux,
        }
        for name, scores in expected.items():
            torch.testing.assert_close(
                getattr(pair, name), scores, atol=1e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
            )
        torch.testing.assert_close(model(present), present_main, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(64, 128), (65, 97), (90, 50)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_small_network_equals_the_transcription(seed: int, size: tuple[int, int]) -> None:
    assert_equal_to_the_transcription(make_model(seed), TINY, size)


@pytest.mark.slow
def test_the_whole_network_equals_the_transcription() -> None:
    assert_equal_to_the_transcription(make_model(3, 15, RESNET_101), RESNET_101, (65, 129))


# Flow on a grid of the input's size, of half of it, of other ratios of sides, and smaller than the logits.
@pytest.mark.parametrize("grid", [(512, 1024), (576, 1024), (341, 683), (100, 400), (40, 30), (65, 129)])
def test_fusion_equals_the_transcription_for_flow_of_any_grid(grid: tuple[int, int]) -> None:
    model = make_model(2, num_classes=4)
    generator = torch.Generator().manual_seed(grid[0])
    present, past = torch.randn(2, 2, 4, 65, 129, generator=generator)
    coarse = 0.2 * grid[1] * torch.randn(2, 2, 5, 7, generator=generator)  # many vectors point out of the picture
    flow = F.interpolate(coarse, size=grid, mode="bilinear", align_corners=True)
    with torch.no_grad():
        ours = model.fuse(present, past, flow)
        torch.testing.assert_close(ours, fused(model.state_dict(), present, past, flow), atol=1e-4, rtol=0)
        assert (ours - model.fuse(present, past, torch.zeros_like(flow))).abs().max() > 0.1


def test_both_components_of_flow_scale_with_the_height() -> None:
    at_logits = flow_at_logits(torch.ones(1, 2, 100, 400), 65, 129)
    torch.testing.assert_close(at_logits, torch.full((1, 2, 65, 129), 0.65))


def test_the_benchmarks_input_gives_65x129_logits() -> None:
    with torch.device("meta"):
        model = AccelDeepLabV2(15)
        features = model.features(torch.empty(1, 3, 512, 1024))
        assert features.shape == (1, 2048, 65, 129)
        assert model.logits(features).shape == (1, 15, 65, 129)
    assert isinstance(model, SegmentationModel)
    assert model.align_corners
    assert model.feature_channels == 2048


def released_names() -> set[str]:
    """The names in the released weights, spelt out from the protocol."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "sf_layer.weight", *(f"bn1.{part}" for part in norm)}
    for stage, blocks in enumerate((3, 4, 23, 3), start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            for index in (1, 2, 3):
                names |= {f"{at}.conv{index}.weight", *(f"{at}.bn{index}.{part}" for part in norm)}
        names |= {f"layer{stage}.0.downsample.0.weight", *(f"layer{stage}.0.downsample.1.{part}" for part in norm)}
    for head in ("layer5", "layer6"):
        names |= {f"{head}.conv2d_list.{index}.{part}" for index in range(4) for part in ("weight", "bias")}
    return names


def test_the_state_dict_has_the_released_names_and_shapes() -> None:
    with torch.device("meta"):
        state = AccelDeepLabV2(12).state_dict()
    assert set(state) == released_names()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.conv1.weight"] == (128, 256, 1, 1)
    assert shapes["layer4.0.downsample.0.weight"] == (2048, 1024, 1, 1)
    assert shapes["layer5.conv2d_list.0.weight"] == (12, 1024, 3, 3)
    assert shapes["layer6.conv2d_list.3.weight"] == (12, 2048, 3, 3)
    assert shapes["sf_layer.weight"] == (12, 24, 1, 1)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_weights_load_by_their_names(prefix: str, tmp_path: Path) -> None:
    state = make_model(4).state_dict()
    torch.save({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "model_40000.pth")
    model = AccelDeepLabV2(5, TINY, 4)
    model.load_state_dict(read_state_dict(tmp_path / "model_40000.pth"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_at_first_the_past_has_no_say() -> None:
    torch.manual_seed(0)
    model = AccelDeepLabV2(5, TINY, 4).eval()
    weight = model.sf_layer.weight[:, :, 0, 0]
    assert torch.equal(weight, torch.cat((torch.eye(5), torch.zeros(5, 5)), dim=1))
    with torch.no_grad():
        pair = model.fused_logits(*torch.randn(2, 1, 3, 33, 65), 9 * torch.randn(1, 2, 33, 65))
    torch.testing.assert_close(pair.main, pair.present_main, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(pair.aux, pair.present_aux, atol=1e-6, rtol=1e-5)


def test_gradients_flow_through_the_present_frame_alone() -> None:
    model = AccelDeepLabV2(5, TINY, 4)
    present, past = (torch.randn(1, 3, 33, 65, requires_grad=True) for _ in range(2))
    pair = model.fused_logits(present, past, torch.zeros(1, 2, 33, 65))
    (pair.main.sum() + pair.aux.sum()).backward()
    assert present.grad is not None and present.grad.abs().max() > 0
    assert past.grad is None
    assert model.sf_layer.weight.grad is not None


def test_batch_norm_keeps_its_affine_part_but_not_its_statistics() -> None:
    model = AccelDeepLabV2(5, TINY, 4).train()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    norms = {name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert frozen == {f"{name}.{part}" for name in norms for part in ("weight", "bias")}
    model.fused_logits(*torch.randn(2, 1, 3, 33, 65), torch.zeros(1, 2, 33, 65))
    assert model.bn1.num_batches_tracked == 2  # each frame in a batch of its own
    assert model.bn1.running_mean is not None and model.bn1.running_mean.abs().max() > 0
    thawed = AccelDeepLabV2(5, TINY, 4, freeze_batch_norm=False)
    assert all(parameter.requires_grad for parameter in thawed.parameters())


def imagenet_file(
    leading: str, change: Callable[[dict[str, Tensor]], object] = lambda state: None
) -> dict[str, Tensor]:
    """What the ImageNet file holds: the backbone and another task's ``layer5``, under one more component."""
    state = {
        name: tensor
        for name, tensor in random_state(AccelDeepLabV2(5, TINY, 4), 6).items()
        if not name.startswith(("layer5", "layer6", "sf_layer")) and not name.endswith("num_batches_tracked")
    }
    state["layer5.conv2d_list.0.weight"] = torch.ones(21, 128, 3, 3)
    change(state)
    return {f"{leading}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize("leading", ["Scale.", "module.", ""])
def test_imagenet_weights_fill_the_backbone_and_nothing_else(leading: str, tmp_path: Path) -> None:
    weights = imagenet_file(leading)
    torch.save(weights, tmp_path / "DeepLab_resnet_pretrained_imagenet.pth")
    model = AccelDeepLabV2(5, TINY, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_imagenet(model, read_state_dict(tmp_path / "DeepLab_resnet_pretrained_imagenet.pth"))
    for name, tensor in model.state_dict().items():
        kept = name.startswith(("layer5", "layer6", "sf_layer")) or name.endswith("num_batches_tracked")
        assert torch.equal(tensor, before[name] if kept else weights[leading + name]), name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("layer3.1.conv2.weight"), "layer3.1.conv2.weight"),
        (lambda state: state.update({"fc.weight": torch.zeros(1)}), "fc.weight"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 7, 7)}), "conv1.weight"),
    ],
)
def test_weights_of_another_network_are_refused(change: Callable[[dict[str, Tensor]], object], named: str) -> None:
    with pytest.raises(UserError, match=f"'{named}'"):
        load_imagenet(AccelDeepLabV2(5, TINY, 4), imagenet_file("Scale.", change))


def test_one_frames_scores_are_exported_without_grid_sample(tmp_path: Path) -> None:
    exported = export_onnx(make_model(5), 64, 128, tmp_path / "segment.onnx")
    assert exported.logits_shape == (1, 5, 9, 17)
    operators = {node.op_type for node in onnx.load(exported.file).graph.node}
    assert "Conv" in operators
    assert "GridSample" not in operators


def test_onnx_runtime_agrees_with_the_network(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make_model(5)
    exported = export_onnx(model, 64, 128, tmp_path / "segment.onnx")
    images = torch.randn(1, 3, 64, 128)
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), model(images), atol=1e-3, rtol=1e-3)
