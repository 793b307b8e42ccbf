"""Raw weight files: what is read, what is unwrapped, and that nothing in them is ever run."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stpl.errors import UserError
from stpl.models.pth import read_state_dict, with_batch_counters, without_wrappers

WEIGHTS = {"conv.weight": torch.arange(12.0).view(3, 4), "norm.num_batches_tracked": torch.tensor(7)}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_state_dict_is_read_as_it_was_saved(zipped: bool, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    torch.save(collections.OrderedDict(WEIGHTS), file, _use_new_zipfile_serialization=zipped)
    assert_same(read_state_dict(file), WEIGHTS)


def test_strings_of_python_2_are_read_as_names(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save(WEIGHTS, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for text in (*WEIGHTS, "storage", "cpu"):
        new = b"X" + len(text).to_bytes(4, "little") + text.encode()  # BINUNICODE
        old = b"U" + len(text).to_bytes(1, "little") + text.encode()  # SHORT_BINSTRING
        assert new in content
        content = content.replace(new, old)
    file.write_bytes(content)
    assert_same(read_state_dict(file), WEIGHTS)


def test_a_module_s_own_state_dict_is_read_without_its_gradients(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    torch.save(dict(layer.named_parameters()), tmp_path / "a.pth")  # parameters, not tensors
    read = read_state_dict(tmp_path / "a.pth")
    assert_same(read, layer.state_dict())
    assert not any(tensor.requires_grad for tensor in read.values())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_training_checkpoints_are_unwrapped(key: str, tmp_path: Path) -> None:
    content = {"epoch": 12, "optimizer": {"state": {}, "lr": 0.1}, key: WEIGHTS, "best_mIoU": 0.5}
    torch.save(content, tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"), WEIGHTS)


def test_containers_within_containers_are_unwrapped(tmp_path: Path) -> None:
    torch.save({"model": {"state_dict": WEIGHTS, "arch": "x"}}, tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"), WEIGHTS)


def test_a_container_within_itself_is_refused(tmp_path: Path) -> None:
    content: dict[str, Any] = {"epoch": 1}
    content["model"] = content
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match="expected a state dict"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.module."])
def test_wrappers_prefixes_are_taken_off(prefix: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in WEIGHTS.items()}}, tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"), WEIGHTS)


def test_a_submodule_called_module_keeps_its_name() -> None:
    weights = {"module.weight": torch.zeros(1), "head.weight": torch.zeros(1)}
    assert list(without_wrappers(weights)) == list(weights)
    assert without_wrappers({}) == {}


class RunsWhenUnpickled:
    """A pickle that makes a folder: what any downloaded file could do, and worse."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_file_is_named_and_never_run(zipped: bool, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    content = {"state_dict": WEIGHTS, "extra": RunsWhenUnpickled(trap)}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"found the Python object '(posix|nt)\.mkdir'.*torch\.save\(model\.state_dict"):
        read_state_dict(tmp_path / "a.pth")
    assert not trap.exists()
    # The trap works: whoever unpickles the same file falls into it.
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert trap.is_dir()


def test_a_bare_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    (tmp_path / "a.pth").write_bytes(pickle.dumps(RunsWhenUnpickled(trap)))
    with pytest.raises(UserError, match=r"a\.pth: expected a PyTorch weight file"):
        read_state_dict(tmp_path / "a.pth")
    assert not trap.exists()


def test_the_environment_cannot_switch_the_safe_reader_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    trap = tmp_path / "executed"
    torch.save({"state_dict": WEIGHTS, "extra": RunsWhenUnpickled(trap)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="mkdir"):
        read_state_dict(tmp_path / "a.pth")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"args": argparse.Namespace(lr=1), "model": WEIGHTS}, "argparse.Namespace"),
        ({"model": WEIGHTS, "miou": np.float64(0.5)}, r"numpy\S*.multiarray.scalar"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
    ids=["namespace", "numpy scalar", "module"],
)
def test_harmless_objects_are_refused_by_name(content: Any, named: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"found the Python object '{named}'.*save the weights alone"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.zeros(1)], "found a list"),
        (torch.zeros(2, 3), r"found one tensor of shape \(2, 3\)"),
        ({}, "found an empty one"),
        ({"epoch": 3, "weights": WEIGHTS}, r"found a int under 'epoch' \(its names: 'epoch', 'weights'\)"),
        ({"state_dict": {"a": torch.zeros(1), "b": 3}}, r"a\.pth\['state_dict'\]: .*found a int under 'b'"),
        ({1: torch.zeros(1)}, "found a Tensor under 1"),
        ({"a": torch.eye(3).to_sparse()}, "expected dense tensors; found 'a'"),
    ],
)
def test_what_is_no_state_dict_is_described(content: Any, found: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=found):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0, 1, 10, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(kept: float, zipped: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"conv.weight": torch.randn(64, 64)}, file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(UserError, match=r"a\.pth: expected a PyTorch weight file; it is truncated or of another kind"):
        read_state_dict(file)


@pytest.mark.parametrize(
    "content", [b"not a pickle at all", b"\x89PNG\r\n\x1a\n" + bytes(64), b"PK\x03\x04" + bytes(90)]
)
def test_files_of_another_kind_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pth: expected a PyTorch weight file; it is truncated or of another kind"):
        read_state_dict(tmp_path / "a.pth")


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    # What tells such an archive from weights is a record of its own; a real one would need the deprecated compiler.
    writer = torch._C.PyTorchFileWriter(str(tmp_path / "a.pth"))
    for name in ("data.pkl", "constants.pkl"):
        writer.write_record(name, b"\x80\x02.", 3)
    writer.write_end_of_file()
    with pytest.raises(UserError, match="found a TorchScript program"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["missing.pth", "."])
def test_a_file_that_is_not_there_is_said_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none"):
        read_state_dict(tmp_path / name)


def test_messages_are_one_line(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace()}, tmp_path / "a.pth")
    with pytest.raises(UserError) as refusal:
        read_state_dict(tmp_path / "a.pth")
    assert "\n" not in str(refusal.value)


def test_counters_that_old_files_lack_are_added() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    new = network.state_dict()
    old = {name: tensor for name, tensor in new.items() if not name.endswith("num_batches_tracked")}
    assert set(with_batch_counters(old, new)) == set(new)
    # A layer that is not there at all stays missing, to be complained about.
    assert "1.num_batches_tracked" not in with_batch_counters({"0.weight": new["0.weight"]}, new)
    assert with_batch_counters({**new, "1.num_batches_tracked": torch.tensor(5)}, new)["1.num_batches_tracked"] == 5
