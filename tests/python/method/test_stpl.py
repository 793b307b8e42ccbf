"""The contrast as a whole: what it compares, where its gradients stop, what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from stpl.data.classes import IGNORE_ID
from stpl.data.randomness import sample_generator
from stpl.method.contrast import contrast_loss
from stpl.method.objectives.self_training import SelfTraining
from stpl.method.objectives.stpl import ContrastConfig, ContrastKind, Stpl
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller
from stpl.method.sampling import sample_pixels
from stpl.method.views import Views
from stpl.models.warp import gather_pixels

KINDS: tuple[ContrastKind, ...] = get_args(ContrastKind)


class SmallNet(nn.Module):
    """Features at half the resolution, three classes; counts the batches it has encoded."""

    num_classes = 3
    feature_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, self.feature_channels, 3, stride=2, padding=1)
        self.decoder = nn.Conv2d(self.feature_channels, self.num_classes, 1)
        self.encoded = 0

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.encoded += 1
        return self.encoder(images).relu()

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.decoder(features)


def networks() -> tuple[SmallNet, SmallNet]:
    torch.manual_seed(3)
    return SmallNet(), SmallNet().requires_grad_(False)


def some_views(*, gradients: bool = False) -> Views:
    generator = torch.Generator().manual_seed(4)
    images = [torch.randn(2, 3, 16, 24, generator=generator).requires_grad_(gradients) for _ in range(4)]
    flow = torch.randn(2, 2, 16, 24, generator=generator)
    return Views(*images, flow, tuple(sample_generator(0, 0, n) for n in range(2)))


def objective(kind: ContrastKind, **settings) -> Stpl:
    torch.manual_seed(5)
    labeller = PseudoLabeller(PseudoLabelConfig(threshold=0.0), SmallNet.num_classes)
    config = ContrastConfig(anchors=20, keys=30, projection_dim=4, **settings)
    return Stpl(kind, config, SelfTraining(labeller), SmallNet.feature_channels)


def contrast_of(kind: ContrastKind, views: Views, **settings) -> float:
    return float(objective(kind, **settings)(views, *networks())["loss_contrast"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clean_branch", ["student", "teacher"])
def test_every_kind_trains_student_head_and_fusion_and_never_the_teacher(kind, clean_branch):
    student, teacher = networks()
    stpl = objective(kind, clean_branch=clean_branch, weight=1.0)
    losses = stpl(some_views(), student, teacher)
    (losses["loss"] - losses["loss_self_training"]).backward()
    for parameter in (*student.parameters(), *stpl.parameters()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize(
    ("clean_branch", "past_gradient", "reached"),
    [
        ("teacher", False, {"present_augmented"}),
        ("teacher", True, {"present_augmented", "past_augmented"}),
        ("student", False, {"present", "present_augmented"}),
        ("student", True, {"present", "past", "present_augmented", "past_augmented"}),
    ],
)
def test_gradients_stop_where_the_documentation_says(clean_branch, past_gradient, reached):
    views = some_views(gradients=True)
    student, teacher = networks()
    stpl = objective("stpl", clean_branch=clean_branch, past_gradient=past_gradient)
    stpl(views, student, teacher)["loss"].backward()
    images = ("present", "past", "present_augmented", "past_augmented")
    assert {name for name in images if (g := getattr(views, name).grad) is not None and g.abs().sum() > 0} == reached


CHANGED = {
    "duplicate": {"present"},
    "spatial": {"present", "present_augmented"},
    "temporal": {"present", "past"},
    "spatial+temporal": {"present", "past", "present_augmented"},
    "stpl": {"present", "past", "present_augmented", "past_augmented", "flow"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_looks_at_its_own_frames_and_no_others(kind):
    before = contrast_of(kind, some_views())
    assert contrast_of(kind, some_views()) == before
    names = ("present", "past", "present_augmented", "past_augmented", "flow")
    torch.manual_seed(6)
    changed = {
        name
        for name in names
        if contrast_of(kind, replace(v := some_views(), **{name: getattr(v, name) + torch.randn_like(v.flow[:, :1])}))
        != before
    }
    assert changed == CHANGED[kind]


def test_zero_flow_is_flow_of_zeros():
    views = some_views()
    still = replace(some_views(), flow=torch.zeros_like(views.flow))
    assert contrast_of("stpl", views, flow="zero") == contrast_of("stpl", still) != contrast_of("stpl", views)


def test_duplicate_holds_a_frame_against_itself():
    stpl = objective("duplicate", clean_branch="student")
    student, teacher = networks()
    loss = stpl(some_views(), student, teacher)["loss_contrast"]
    views = some_views()
    features, labels = student.features(views.present), teacher.logits(teacher.features(views.present)).argmax(dim=1)
    q = sample_pixels(labels, 20, views.uniform(8, 12))
    k = sample_pixels(labels, 30, views.uniform(8, 12))
    total, count = contrast_loss(
        stpl.projection(gather_pixels(features, q.at)),
        q.labels,
        stpl.projection(gather_pixels(features, k.at)),
        k.labels,
        0.1,
        "infonce",
    )
    torch.testing.assert_close(loss, (total / count).detach())


@pytest.mark.parametrize("kind", ["temporal", "spatial+temporal"])
def test_no_frame_is_encoded_twice_by_the_teacher(kind):
    student, teacher = networks()
    objective(kind, clean_branch="teacher")(some_views(), student, teacher)
    assert teacher.encoded == 2 and student.encoded == 2  # t and t-1; the augmented t and the anchors


@pytest.mark.parametrize("kind", KINDS)
def test_without_sure_labels_there_is_nothing_to_learn_and_no_harm(kind):
    student, teacher = networks()
    stpl = objective(kind)
    stpl.self_training.labeller.thresholds.fill_(2.0)
    stpl.self_training.labeller.config = PseudoLabelConfig(threshold=1.0, share=1e-9, momentum=0.999)
    losses = stpl(some_views(), student, teacher)
    assert float(losses["loss_contrast"]) == 0.0
    losses["loss"].backward()
    assert all(p.grad is None or not p.grad.abs().sum() for p in student.parameters())


def moved(views: Views, device: str) -> Views:
    images = (views.present, views.past, views.present_augmented, views.past_augmented, views.flow)
    return Views(*(tensor.to(device) for tensor in images), views.generators)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_gpu_gives_the_losses_of_the_cpu(kind):
    student, teacher = (network.cuda() for network in networks())
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # f32 on both
        loss = objective(kind).cuda()(moved(some_views(), "cuda"), student, teacher)["loss_contrast"]
    assert float(loss) == pytest.approx(contrast_of(kind, some_views()), rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("fusion", ["1x1", "attention"])
def test_nothing_waits_for_the_gpu(fusion):
    stpl = objective("stpl", fusion=fusion).cuda()
    views = moved(some_views(), "cuda")
    labels = torch.randint(0, 3, (2, 16, 24), device="cuda")
    maps = [torch.randn(2, 8, 8, 12, device="cuda", requires_grad=True) for _ in range(4)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        stpl._fused(views, labels, (maps[0], maps[1]), (maps[2], maps[3])).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


class BytesWritten(TorchDispatchMode):
    """Adds up what operators return while it is on: never less than the peak of what they keep."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.total += tensor.numel() * tensor.element_size()
        return result


def cost(budget: int, side: int, fusion: str) -> tuple[int, int]:
    """Floating-point operations of the products and bytes written, forward and backward, for two images."""
    torch.manual_seed(0)
    stpl = Stpl("stpl", ContrastConfig(anchors=budget, keys=64, fusion=fusion), None, 8)  # type: ignore[arg-type]
    labels = torch.randint(0, 5, (2, side, side))
    labels[torch.rand(labels.shape) < 0.3] = IGNORE_ID
    maps = [torch.randn(2, 8, side, side).to(memory_format=torch.channels_last) for _ in range(4)]
    maps[3].requires_grad_()
    views = Views(*[torch.zeros(2, 3, 1, 1)] * 4, torch.zeros(2, 2, side, side))
    with FlopCounterMode(display=False) as flops, BytesWritten() as written:
        stpl._fused(views, labels, (maps[0], maps[1]), (maps[2], maps[3])).backward()
    return flops.get_total_flops(), written.total


@pytest.mark.parametrize("fusion", ["1x1", "attention"])
def test_cost_is_linear_in_the_anchors_and_follows_the_resolution_only_by_gathering(fusion):
    flops, written = cost(64, 24, fusion)
    twice_flops, twice_written = cost(128, 24, fusion)
    assert flops < twice_flops <= 2 * flops and written < twice_written <= 2 * written
    far_flops, far_written = cost(64, 48, fusion)
    assert far_flops == flops
    # Flow, the labels' sort and the gradient's map grow with the picture, and by the same whatever the anchors.
    assert cost(128, 48, fusion)[1] - twice_written == pytest.approx(far_written - written, rel=0.01)
