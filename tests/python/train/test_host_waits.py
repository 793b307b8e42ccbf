"""A step hands a GPU its work and waits for nothing: every method, every kind of label and fusion, several networks.

Without a GPU a device that is not there stands for it (:mod:`host_waits`); with one PyTorch itself says what waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from host_waits import DEVICE, HostWaitsError, distant_device
from torch import Tensor

from stpl.config import load_config
from stpl.data.batches import PairBatch, PreparedVideo
from stpl.data.classes import ClassSet
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.models.accel import FuseNet
from stpl.models.registry import build_model
from stpl.train.accel import _step
from stpl.train.adapt import adapt
from stpl.train.ahead import Fetched
from stpl.train.checkpoint import Checkpoint, InputConfig, Merge
from stpl.train.config import METHODS, UNTRAINED, AdaptConfig
from stpl.train.pair_source import PairSourceConfig, _PairTraining
from stpl.train.processes import Processes
from stpl.train.source import SourceConfig, _Supervised
from stpl.train.training import Adaptation

TRAINED = [method for method in METHODS if method not in UNTRAINED]
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=1&frames=4&size=64x64"
# Whatever may be drawn is drawn.
DRAWN = [f"augmentation.{what}_probability=1" for what in ("jitter", "grayscale", "blur", "noise")]
# Random weights make some networks sure of nothing.
SURE = "pseudo_labels.threshold=0.05"
CASES = {
    **{method: (method, "compact") for method in TRAINED},
    "flow-consistent": ("stpl", "compact", "pseudo_labels.flow_consistent=true"),
    "cross-frame": ("self-training", "compact", "pseudo_labels.cross_frame=true"),
    "student's clean branch": ("stpl", "compact", "contrast.clean_branch=student", "contrast.past_gradient=true"),
    "attention": ("stpl", "compact", "contrast.fusion=attention"),
    "1x1": ("stpl", "compact", "contrast.fusion=1x1"),
    "shot's labels": ("shot", "compact", "shot.pseudo_label_weight=0.3"),
    "hcl's thresholds": ("hcl", "compact", "hcl.selection=class-balanced", "hcl.positives=pixel"),
    "in parts": ("stpl", "compact", "accumulate=2"),
    "channels first": ("stpl", "compact", "channels_last=false"),
    "segformer": ("stpl", "segformer-b0", SURE),
    "pidnet": ("stpl", "pidnet-s"),
    "accel_deeplabv2": ("stpl", "accel_deeplabv2", SURE),
    "classes in another order": ("stpl", "compact, reversed"),
    "merged classes": ("stpl", "compact, merged"),
}
ON_A_GPU = {
    **CASES,
    **{name: ("stpl", "compact", f"precision={name}") for name in ("f32", "bf16", "fp16")},
    "bf16, shot's labels": ("shot", "compact", "shot.pseudo_label_weight=0.3", "precision=bf16"),
    "large": ("stpl", "segformer-b0, 512x1024", SURE),
    "compiled": ("stpl", "compact", "compile=true"),
    "segformer, compiled": ("stpl", "segformer-b0", SURE, "compile=true"),
}
"""Beside these what only a GPU has, or what would take a CPU too long."""


@pytest.fixture(scope="module")
def dusk() -> InMemory:
    return InMemory(open_dataset(DUSK))


def source(dusk: InMemory, network: str) -> Checkpoint:
    """Random weights of an architecture; after it how its classes are made into others, or the size of its input."""
    assert dusk.classes is not None
    arch, _, special = network.partition(", ")
    height, width = (int(side) for side in special.split("x")) if "x" in special else (64, 64)
    torch.manual_seed(0)
    plain = Checkpoint(arch, dusk.classes, InputConfig(height=height, width=width), {})
    plain = plain.with_weights(build_model(arch, len(dusk.classes)))
    own = range(len(dusk.classes))
    if special == "reversed":
        return made_of(plain, [(i,) for i in reversed(own)])
    return made_of(plain, [tuple(own[:2]), *((i,) for i in own[2:])]) if special == "merged" else plain


def made_of(checkpoint: Checkpoint, groups: Sequence[tuple[int, ...]]) -> Checkpoint:
    """The checkpoint with a class for each group of its own."""
    classes = checkpoint.classes
    kept = ClassSet(*(tuple(values[group[0]] for group in groups) for values in (classes.names, classes.colors)))
    weights = {f"network.{name}": weight for name, weight in checkpoint.weights.items()}
    return replace(checkpoint, classes=kept, merge=Merge(classes.names, tuple(groups)), weights=weights)


def settings(method: str, *more: str) -> AdaptConfig:
    given = [f"method={method}", "batch_size=2", "warm_up=0", "pseudo_labels.threshold=0.2", "hcl.history=1", *DRAWN]
    return load_config(AdaptConfig, None, [*given, "contrast.anchors=32", "contrast.keys=32", "hcl.pixels=32", *more])


def parts_of(config: AdaptConfig, video: PreparedVideo) -> list[PairBatch]:
    return [video.pair_batch(places) for places in ([[1], [2]] if config.accumulate == 2 else [[1, 2]])]


def steps(config: AdaptConfig, checkpoint: Checkpoint, device: torch.device) -> Adaptation:
    torch.manual_seed(4)
    return Adaptation(config, checkpoint, Processes(device))


@pytest.mark.parametrize("case", CASES)
def test_nothing_waits_within_a_step(case: str, dusk: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    method, arch, *more = CASES[case]
    config, checkpoint = settings(method, *more), source(dusk, arch)
    parts = parts_of(config, PreparedVideo(dusk, checkpoint.input.spec()))
    here = steps(config, checkpoint, torch.device("cpu"))
    expected = [here.step(step, parts)() for step in range(2)]
    with distant_device(monkeypatch) as watched:
        there = steps(config, checkpoint, DEVICE)
        losses = []
        for step in range(2):
            pinned = [part.pinned() for part in parts]
            with watched():
                asked = there.step(step, pinned)
            losses.append(asked())
    # It computed, and the same.
    assert losses == [pytest.approx(step, rel=1e-4, abs=1e-5) for step in expected]


def grey_of_an_older_kornia(image: Tensor, rgb_weights: Tensor | None = None) -> Tensor:
    """As kornia's before 0.9: weights that are not given are brought from the host."""
    if rgb_weights is None:
        rgb_weights = torch.tensor([0.299, 0.587, 0.114], device=image.device, dtype=image.dtype)
    red, green, blue = image.unbind(dim=-3)
    return (rgb_weights[0] * red + rgb_weights[1] * green + rgb_weights[2] * blue).unsqueeze(-3)


def test_nothing_waits_in_the_augmentation_with_an_older_kornia(
    dusk: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kornia.enhance import adjust

    from stpl.method import augment

    for module in (augment, adjust):
        monkeypatch.setattr(module, "rgb_to_grayscale", grey_of_an_older_kornia)
    test_nothing_waits_within_a_step("self-training", dusk, monkeypatch)


@pytest.mark.parametrize("training", ["single frames", "pairs"])
def test_nothing_waits_within_a_step_of_a_source_model(
    training: str, dusk: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dusk.classes is not None
    checkpoint = source(dusk, "compact" if training == "single frames" else "accel_deeplabv2")
    video = PreparedVideo(dusk, checkpoint.input.spec())
    labels = torch.stack([video.label(index) for index in (1, 2)]).long()

    def trainer(device: torch.device) -> Callable[[int], Callable[[], dict[str, float]]]:
        model = checkpoint.build().to(device)
        if training == "pairs":
            of_pairs = _PairTraining(PairSourceConfig(), model)
            return lambda step: of_pairs.step(step, video.pair_batch([1, 2]), labels)
        config = SourceConfig(crop=(48, 48), jitter=0.4, steps=4)
        of_frames = _Supervised(config, model, torch.optim.AdamW(model.parameters()))
        return lambda step: of_frames.step(step, torch.stack([video.image(1), video.image(2)]), labels.float())

    here = trainer(torch.device("cpu"))
    expected = [here(step)() for step in range(2)]
    with distant_device(monkeypatch) as watched:
        there, losses = trainer(DEVICE), []
        for step in range(2):
            with watched():
                asked = there(step)
            losses.append(asked())
    assert losses == [pytest.approx(step, rel=1e-4, abs=1e-5) for step in expected]


def test_nothing_waits_within_a_step_of_accel_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = torch.Generator().manual_seed(0)
    present, past = (torch.randn(2, 5, 8, 8, generator=chance) for _ in range(2))
    batch = ((present, past), torch.rand(2, 5, 8, 8, generator=chance).softmax(dim=1))

    def trainer(device: torch.device) -> Callable[[], Fetched]:
        torch.manual_seed(0)
        network = FuseNet(5).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
        return lambda: _step(network, batch, device, optimiser)

    here = trainer(torch.device("cpu"))
    expected = [here().values() for _ in range(2)]
    with distant_device(monkeypatch) as watched:
        there, losses = trainer(DEVICE), []
        for _ in range(2):
            with watched():
                asked = there()
            losses.append(asked.values())
    assert losses == [pytest.approx(loss, rel=1e-4) for loss in expected]


@pytest.mark.parametrize(
    ("what", "waiting"),
    [
        ("item", lambda t: t.sum().item()),
        ("bool", lambda t: bool(t.sum() > 0)),
        ("float", lambda t: float(t[0])),
        ("tolist", lambda t: t.tolist()),
        ("nonzero", lambda t: t.nonzero()),
        ("where", lambda t: torch.where(t > 0)),
        ("mask", lambda t: t[t > 0]),
        ("mask assigned", lambda t: t.clone().__setitem__(t > 0, t[:3])),
        ("masked_select", lambda t: t.masked_select(t > 0)),
        ("unique", lambda t: t.unique()),
        ("bincount", lambda t: t.long().bincount()),
        ("equal", lambda t: torch.equal(t, t)),
        ("repeat_interleave", lambda t: t.repeat_interleave(t.long())),
        ("cpu", lambda t: t.cpu()),
        ("numbers to the device", lambda t: t + torch.tensor([1.0, 2.0, 3.0, 4.0], device=t.device)),
        ("a tensor to the device", lambda t: t + torch.ones(4).to(t.device)),
        ("not pinned", lambda t: t + torch.ones(4).to(t.device, non_blocking=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_waits_is_found(what: str, waiting, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    with distant_device(monkeypatch) as watched:
        there = torch.tensor([0.0, 1.0, 2.0, 3.0]).to(DEVICE)
        with watched(), pytest.raises(HostWaitsError, match="at "):
            waiting(there)


def test_what_does_not_wait_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with distant_device(monkeypatch) as watched:
        there = torch.tensor([0.0, 1.0, 2.0, 3.0]).to(DEVICE)
        with watched():
            kept = torch.where(there > 1, there, 0.0)[there.long()] + torch.arange(4, device=DEVICE)
            kept[2:] = kept[:2] + torch.ones(2).pin_memory().to(DEVICE, non_blocking=True)
            assert torch.rand(1).item() < 1  # the host's own numbers
        assert isinstance(kept, Tensor) and kept.device == DEVICE
        assert kept.tolist() == [0.0, 1.0, 1.0, 2.0]


def test_the_line_that_waits_is_named(dusk: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = source(dusk, "compact")
    config = settings("stpl")
    parts = parts_of(config, PreparedVideo(dusk, checkpoint.input.spec()))
    with distant_device(monkeypatch) as watched:
        there = steps(config, checkpoint, DEVICE)
        with watched(), pytest.raises(HostWaitsError, match=r"a copy between host and device.*data/batches\.py:\d+"):
            there.step(0, parts)  # not pinned


@pytest.mark.gpu
@pytest.mark.parametrize("case", ON_A_GPU)
def test_nothing_waits_within_a_step_on_a_gpu(case: str, dusk: InMemory) -> None:
    method, arch, *more = ON_A_GPU[case]
    config, checkpoint = settings(method, *more), source(dusk, arch)
    parts = [part.pinned() for part in parts_of(config, PreparedVideo(dusk, checkpoint.input.spec()))]
    adapting = steps(config, checkpoint, torch.device("cuda", 0))
    for step in range(2):  # the libraries' first calls set themselves up, and networks are compiled
        adapting.step(step, parts)()
    torch.cuda.set_sync_debug_mode("error")
    try:
        asked = adapting.step(2, parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value == value for value in asked().values())


def trained(config: AdaptConfig, checkpoint: Checkpoint, dusk: InMemory, out: Path) -> tuple[Tensor, list[float]]:
    """What a run learns, as one vector, and every loss that it logs."""
    weights = adapt(config, checkpoint, dusk, out).weights
    events = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    return vector(weights), [step[name] for step in steps for name in sorted(step) if name.startswith("loss")]


def vector(weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([weights[name].flatten().double() for name in sorted(weights) if "running" not in name])


@pytest.mark.gpu
def test_a_run_on_a_gpu_learns_as_on_the_cpu(dusk: InMemory, tmp_path: Path) -> None:
    checkpoint = source(dusk, "compact")
    more = ("steps=6", "precision=f32", "guard.mode=off", "calibration.enabled=false", "batch_norm.enabled=false")
    # The student itself comes out, and no noise, which each device draws for itself.
    more = (*more, "ema_decay=0", "augmentation.noise_probability=0")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # f32 on both
        on_cpu, on_gpu = (
            trained(settings("stpl", *more, f"device={device}"), checkpoint, dusk, tmp_path / device)
            for device in ("cpu", "cuda")
        )
    assert len(on_cpu[1]) == 6 * 3
    # Rounding alone gives 1e-3 of what was learnt and 1e-4 of the losses, until a pixel gets another label.
    assert on_gpu[1] == pytest.approx(on_cpu[1], rel=0.05)
    moved = (on_cpu[0] - vector(checkpoint.weights)).norm()
    assert moved > 0 and (on_gpu[0] - on_cpu[0]).norm() < 0.1 * moved
