"""Where the flow for training is computed; on a GPU, which tests/bindings/on_device.py has emulated."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import stpl_rt
from stpl.data.flow import compute_flow, flow_on


class FlowOfGpu:
    """As stpl_rt.DisFlow of a build that has kernels for GPUs: only where it was asked to compute is of interest."""

    made: list[str]

    def __init__(self, threads: int, device: str) -> None:
        type(self).made.append(device)
        self._flow = stpl_rt.dis_flow

    def __call__(self, present: np.ndarray, past: np.ndarray) -> np.ndarray:
        return self._flow(present, past, threads=1)


def lumas() -> tuple[np.ndarray, np.ndarray]:
    past = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    return np.roll(past, 2, axis=1), past


def test_on_the_cpu() -> None:
    assert flow_on("cpu") is compute_flow
    np.testing.assert_array_equal(compute_flow(*lumas()), stpl_rt.dis_flow(*lumas(), threads=1))


@pytest.mark.skipif("tensorrt" in stpl_rt.engines(), reason="this build has kernels for GPUs")
def test_without_kernels_for_gpus_the_cpu_computes_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="stpl"):
        assert flow_on("cuda:1") is compute_flow
    assert "on the CPU" in caplog.text and "STPL_RT_CUDA" in caplog.text


def test_every_thread_searches_on_the_gpu_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    FlowOfGpu.made = []
    monkeypatch.setattr(stpl_rt, "DisFlow", FlowOfGpu)
    flow = flow_on("cuda:1")
    tried = len(FlowOfGpu.made)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for pool in (first, second, first, second):
            found = pool.submit(flow, *lumas()).result()
            np.testing.assert_array_equal(found, stpl_rt.dis_flow(*lumas(), threads=1))
    assert FlowOfGpu.made[tried:] == ["cuda:1"] * 2
