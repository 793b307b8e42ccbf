"""PIDNet-S: the names of the published weights, and the published program's numbers."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch
from torch import Tensor

from stpl.models.pidnet import PIDNet, published_names

# Names and shapes in the authors' state dict without its auxiliary heads, one "name shape" a line, sorted.
NAMES_SHA256 = "bff2026366bfe8c21c12c1d184804eaf6a11584a8d132601f64b7480b5295b1a"

# What the authors' program gives for the weights and the image of `wave`, in double precision, at some places.
REFERENCE = {
    (0, 0, 0): 0.026863,
    (3, 4, 7): 0.843361,
    (9, 2, 15): 1.300622,
    (18, 7, 3): 1.396788,
    (11, 5, 11): 1.09655,
}


def wave(shape: torch.Size | tuple[int, ...], phase: float) -> Tensor:
    """A tensor that can be made again anywhere: a sine along its elements."""
    return torch.sin(0.37 * torch.arange(math.prod(shape), dtype=torch.float64) + phase).reshape(shape)


def reproducible_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Values of a useful size for every tensor, by its place among the sorted names."""
    filled = {}
    for phase, name in enumerate(sorted(state)):
        tensor = state[name]
        values = wave(tensor.shape, phase)
        if tensor.ndim == 4:
            values = values * (2.0 / tensor[0].numel() ** 0.5)
        elif name.endswith("running_var"):
            values = 1.0 + 0.5 * values
        elif name.endswith("weight"):
            values = 1.0 + 0.25 * values
        elif tensor.is_floating_point():
            values = 0.1 * values
        filled[name] = torch.zeros_like(tensor) if not tensor.is_floating_point() else values.to(tensor.dtype)
    return filled


@pytest.fixture(scope="module")
def model() -> PIDNet:
    return PIDNet(19).eval()


def test_names_and_shapes_are_those_of_the_published_weights(model: PIDNet) -> None:
    lines = "".join(f"{name} {tuple(tensor.shape)}\n" for name, tensor in sorted(model.state_dict().items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == NAMES_SHA256
    assert sum(p.numel() for p in model.parameters()) == 7_625_715


def test_logits_are_those_of_the_published_program() -> None:
    model = PIDNet(19).double().eval()
    model.load_state_dict(reproducible_weights(model.state_dict()))
    with torch.no_grad():
        logits = model(wave((1, 3, 64, 128), 0.5))[0]
    assert logits.shape == (19, 8, 16)
    for place, expected in REFERENCE.items():
        assert float(logits[place]) == pytest.approx(expected, abs=2e-6)


def test_a_published_file_loads_and_its_auxiliary_heads_are_left_out(model: PIDNet) -> None:
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    weights |= {"model.seghead_p.conv1.weight": torch.zeros(1), "model.seghead_d.bn1.weight": torch.zeros(1)}
    weights |= {"loss.criterion.weight": torch.zeros(19)}
    assert list(published_names(weights)) == list(model.state_dict())


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_any_size_gives_logits_at_an_eighth(model: PIDNet, size: tuple[int, int]) -> None:
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, *size))
    assert logits.shape[-2:] == (-(-size[0] // 8), -(-size[1] // 8))
