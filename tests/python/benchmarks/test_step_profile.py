"""The profile's models, and what it says of a GPU; no step is timed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

import make_tables
import numpy as np
import pytest
import step_profile
import torch

from stpl.data.benchmark_classes import CITYSCAPES
from stpl.errors import UserError
from stpl.models.registry import build_model
from stpl.train.checkpoint import load_checkpoint


def same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_models_are_opened_as_in_the_commands(root, tmp_path):
    trained = step_profile.opened(str(root / "models" / "street-day"), None, None, "48x64")
    assert (trained.input.height, trained.input.width) == (48, 64)
    same(trained.weights, load_checkpoint(root / "models" / "street-day").weights)

    weights = build_model("compact", 19).state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    raw = step_profile.opened(str(tmp_path / "weights.pth"), "compact", "cityscapes-19", "48x64")
    same(raw.weights, weights)
    with pytest.raises(UserError, match="say --arch"):
        step_profile.opened(str(tmp_path / "weights.pth"), None, None, "48x64")


def test_a_network_is_opened_by_its_name():
    found = step_profile.opened("segformer-b0", None, None, "64x128")
    assert (found.arch, found.input.height, found.input.width) == ("segformer-b0", 64, 128)
    assert found.classes == CITYSCAPES["cityscapes"].class_set()
    assert found.build()(torch.zeros(1, 3, 64, 128)).shape[1] == 19
    assert step_profile.opened("segformer-b0", None, None, "64x128").digest == found.digest


def arguments(monkeypatch: pytest.MonkeyPatch, *given: str) -> argparse.Namespace:
    monkeypatch.setattr(sys, "argv", ["step_profile.py", *given])
    return step_profile.arguments()


def test_a_process_of_its_own_gets_the_same_model(monkeypatch):
    args = arguments(monkeypatch, "--model", "w.pth", "--arch", "pidnet-s", "--classes", "cityscapes-19", "--compile")
    again = arguments(monkeypatch, *step_profile._own_options(args))
    assert again == args
    assert arguments(monkeypatch, *step_profile._own_options(arguments(monkeypatch))) == arguments(monkeypatch)


def test_batches_are_made_as_in_a_run(monkeypatch, tmp_path):
    computed, fed = [], []

    def flow_on(device):
        def flow(present, past):
            computed.append(device)
            return np.zeros((*present.shape, 2), np.float32)

        return flow

    monkeypatch.setattr(step_profile, "flow_on", flow_on)
    args = arguments(monkeypatch, "--size", "48x64", "--batch-size", "2", "--workers", "1")
    source = step_profile.opened("compact", None, None, args.size)
    bench = step_profile.Bench("self-training", args, source, step_profile.write_frames(tmp_path, 48, 64, 4), 2)
    monkeypatch.setattr(bench.adaptation, "step", lambda number, parts: fed.append((number, parts)) or dict)
    bench.step()
    bench.step()
    assert computed == ["cpu"] * 4
    assert [number for number, _ in fed] == [0, 1]
    for _, (part,) in fed:
        assert part.present.shape == (2, 3, 48, 64) and part.present.is_contiguous(memory_format=torch.channels_last)


def test_operations_are_counted_forward_and_backward(monkeypatch, tmp_path):
    args = arguments(monkeypatch, "--size", "48x64", "--batch-size", "2")
    source = step_profile.opened("compact", None, None, args.size)
    folder = step_profile.write_frames(tmp_path, 48, 64, 4)
    flops = step_profile.measure_flops(args, source, folder)
    with step_profile.FlopCounterMode(display=False) as counter, torch.no_grad():
        source.build()(torch.zeros(2, 3, 48, 64))
    once = counter.get_total_flops()
    # The teacher's pass and the student's, whose backward pass is about two more.
    assert 3 * once < flops["self-training"] < 4.5 * once
    assert flops["stpl"] > flops["self-training"]


def test_the_share_of_the_gpus_limit():
    assert step_profile.bf16_share(989 * 10**9, 4.0, "NVIDIA H200") == pytest.approx(0.25)
    assert step_profile.bf16_share(312 * 10**9, 2.0, "NVIDIA A100-SXM4-80GB") == pytest.approx(0.5)
    assert step_profile.bf16_share(312 * 10**9, 2.0, "NVIDIA H100 PCIe") is None


@pytest.mark.parametrize(("gpu", "shown"), [("NVIDIA H200", "| 3.96 | 40 % |"), ("another", "| 3.96 |"), (None, "")])
def test_the_table_shows_them_where_they_were_measured(gpu, shown):
    results = json.loads((make_tables.RESULTS / "step_profile.json").read_text())["results"]
    for row in results["methods"].values():
        row["compute_ms"] = 10.0
    plain = make_tables.step_profile(results)
    if gpu is not None:
        step_profile.add_flops(results["methods"], dict.fromkeys(step_profile.METHODS, 3_956 * 10**9), gpu)
    text = make_tables.step_profile(results)
    assert shown in text and (text == plain) == (gpu is None)
    assert ("bf16 limit" in text) == (gpu == "NVIDIA H200")
