"""Optical flow between prepared frames, by the runtime's own search: on the CPU, or on the GPU that trains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import stpl_rt
from stpl.data.dataset import Flow

logger = logging.getLogger(__name__)

Luma = NDArray[np.uint8]
ComputeFlow = Callable[[Luma, Luma], Flow]
"""Flow (H, W, 2) float32 of luma t (H, W) uint8 into luma t-1; called from several threads."""


class _FlowPerThread:
    """The search has buffers of its own in every thread, so that none waits for another."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._local = threading.local()

    def __call__(self, present: Luma, past: Luma) -> Flow:
        flow = getattr(self._local, "flow", None)
        if flow is None:
            flow = self._local.flow = stpl_rt.DisFlow(threads=1, device=self._device)
        return flow(present, past)


compute_flow: ComputeFlow = _FlowPerThread("cpu")
"""The runtime's flow on the CPU."""


def flow_on(device: str) -> ComputeFlow:
    """The runtime's flow where the training is, so that decoding has the CPU to itself.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``. An ``stpl_rt`` that was built without kernels for GPUs computes on the
            CPU, which is logged.
    """
    if device == "cpu":
        return compute_flow
    try:
        stpl_rt.DisFlow(threads=1, device=device)
    except stpl_rt.Error as error:
        if error.code != "unsupported":
            raise
        logger.info("optical flow is computed on the CPU: %s", error)
        return compute_flow
    return _FlowPerThread(device)
