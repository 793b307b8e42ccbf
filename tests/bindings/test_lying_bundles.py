"""Bundles that lie are refused with a code, within bounded time and memory: lying_bundles.py holds the lies."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stpl_rt

PROGRAM = Path(__file__).with_name("lying_bundles.py")
# What parsing a manifest of 4 MiB may take; the least of the sizes lied about is 4 GiB.
ALLOWED = 128 << 20


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lying_bundles", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LIES = _load().LIES


@pytest.fixture(scope="module")
def answers(test_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a process of bounded memory says of each."""
    command = [sys.executable, str(PROGRAM), str(test_bundle), str(tmp_path_factory.mktemp("lies"))]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_the_truth_is_accepted(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["a sound bundle"]["code"] == "accepted"


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_before_anything_is_allocated_for_it(name: str, answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[name]
    assert answer["code"] == LIES[name][1], answer["message"]
    assert answer["grown"] < ALLOWED
    message = answer["message"]
    assert 20 < len(message) < 3000
    assert message.isprintable(), "what a bundle says must not steer a terminal"


@pytest.mark.parametrize("place", ["the folder", "above it", "nowhere"])
def test_names_that_are_not_utf8_are_no_obstacle(place: str, test_bundle: Path, tmp_path: Path) -> None:
    """Neither to run such a bundle, nor to be told what is wrong with it."""
    odd = tmp_path / os.fsdecode(b"stra\xdfe")
    if place == "nowhere":
        with pytest.raises(stpl_rt.Error, match=r"stra\\xdfe") as caught:
            stpl_rt.Bundle.open(odd)
        assert caught.value.code == "io"
        return
    bundle = odd if place == "the folder" else odd / "bundle"
    bundle.mkdir(parents=True)
    with pytest.raises(stpl_rt.Error, match=r"stra\\xdfe.*manifest\.json.*found none") as caught:
        stpl_rt.Bundle.open(bundle)
    assert caught.value.code == "invalid_bundle"
    for file in test_bundle.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    assert stpl_rt.Segmenter(bundle, threads=1).bundle.directory.samefile(bundle)


def test_a_bundle_that_is_written_anew_must_be_opened_anew(test_bundle: Path, tmp_path: Path) -> None:
    for file in test_bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    bundle = stpl_rt.Bundle.open(tmp_path)
    with (tmp_path / "segment.onnx").open("ab") as stream:
        stream.write(b"\x00")
    with pytest.raises(stpl_rt.Error, match=r"segment\.onnx: content: expected SHA-256") as caught:
        stpl_rt.Segmenter(bundle)
    assert caught.value.code == "invalid_bundle"
