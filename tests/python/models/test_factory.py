"""The user's own networks: found by name, looked at when they are built, with errors that say what is missing."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stpl.errors import UserError
from stpl.models import SegmentationModel, build_model

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = 4
        self.encoder = nn.Conv2d(3, 4, 3, 2, 1)
        self.decoder = nn.Conv2d(4, num_classes, 1)

    def features(self, images):
        return self.encoder(images)

    def logits(self, features):
        return self.decoder(features)

def build(num_classes):
    return Net(num_classes)
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of a fresh name to the current folder, with one text replaced; gives its factory's address."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    count = 0

    def module(old: str = "", new: str = "") -> str:
        nonlocal count
        count += 1
        assert old in NETWORK
        name = f"own_network_{tmp_path.name.replace('-', '_')}_{count}"
        (tmp_path / f"{name}.py").write_text(NETWORK.replace(old, new) if old else NETWORK)
        return f"{name}:build"

    yield module  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if name.startswith("own_network_"):
            del sys.modules[name]


def test_two_methods_are_enough(write: Write) -> None:
    model = build_model(write(), 5, size=(16, 24)).eval()
    assert isinstance(model, SegmentationModel)
    images = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model.logits(model.features(images)))
        twin = copy.deepcopy(model)
        torch.nn.init.zeros_(twin.decoder.weight)
        assert not torch.equal(twin(images), model(images))  # a copy calls its own parts
    assert str(Path.cwd()) not in sys.path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def features", "def encode", r"Net has no method features\(\)"),
        ("self.feature_channels = 4", "pass", "Net.feature_channels, a positive number; found none"),
        ("self.feature_channels = 4", "self.feature_channels = 4.0", "found 4.0"),
        ("return Net(num_classes)", "return Net(num_classes + 1)", "network of 5 classes; its num_classes is 6"),
        ("return Net(num_classes)", "return {}", "found a dict"),
        (
            "self.feature_channels = 4",
            "self.feature_channels = 8",
            r"features\(images\) for one image of 16x24: expected floating-point numbers of shape \(1, 8, h, w\); "
            r"found \(1, 4, 8, 12\)",
        ),
        (
            "nn.Conv2d(4, num_classes, 1)",
            "nn.Conv2d(4, 7, 1)",
            r"logits\(features\): expected .* \(1, 5, h, w\); found \(1, 7",
        ),
        ("return self.decoder(features)", "return (self.decoder(features),)", "found a tuple"),
        ("return self.decoder(features)", "return self.decoder(features).argmax(1)", "of int64"),
        (
            "def logits",
            "def forward(self, images):\n        return 2 * self.logits(self.features(images))\n\n    def logits",
            r"expected forward\(images\) to equal logits\(features\(images\)\); they differ",
        ),
    ],
)
def test_what_is_wrong_with_a_network_is_said(write: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_model(write(old, new), 5, size=(16, 24))


def test_addresses_that_lead_nowhere(write: Write) -> None:
    address = write()
    for wrong, message in [
        (address.replace("build", "make"), "expected a function 'make'"),
        ("no_such_module:build", "no module 'no_such_module'"),
        ("own model:build", "expected package.module:factory"),
        ("os.path:", "expected package.module:factory"),
    ]:
        with pytest.raises(UserError, match=message):
            build_model(wrong, 5)


def test_faults_inside_the_users_code_come_through(write: Write) -> None:
    with pytest.raises(ModuleNotFoundError, match="absent_library"):
        build_model(write("import torch\n", "import absent_library\n"), 5)
    with pytest.raises(ZeroDivisionError):
        build_model(write("return Net(num_classes)", "return 1 / 0"), 5)
