"""What the networks of a bundle see of a video: inputs to calibrate their precision on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import stpl_rt
from stpl.data.dataset import Image, VideoDataset
from stpl.export.half_precision import Feed
from stpl.export.onnx_session import open_session

Tensor4 = NDArray[np.float32]
"""(1, C, h, w)"""

FramePair = tuple[Image, Image | None]
"""A frame and the one before it, uint8 (H, W, 3) RGB each; None for the first of a sequence."""


def frame_pairs(dataset: VideoDataset, indices: Sequence[int]) -> list[FramePair]:
    """The frames of these indices, with their predecessors."""
    pairs: list[FramePair] = []
    for index in indices:
        past = dataset.previous(index)
        pairs.append((dataset.frame(index), None if past is None else dataset.frame(past)))
    return pairs


class NetworkInputs:
    """Prepares frames, and carries logits from frame to frame, as the runtime does.

    Args:
        segment: the fp32 segmentation network.
        spec: how frames are prepared.
        pairs: at least one.
    """

    def __init__(
        self,
        segment: onnx.ModelProto | Path,
        spec: stpl_rt.InputSpec,
        pairs: Sequence[FramePair],
        *,
        align_corners: bool,
    ) -> None:
        self._session = open_session(segment)
        self._spec = spec
        self._pairs = pairs
        self._align_corners = align_corners

    def of(self, network: str, names: Sequence[str]) -> list[Feed]:
        """Inputs of "segment" (images), "fuse" (logits and carried ones) or "update" (images and carried logits).

        Args:
            names: of the network's inputs, in their order.
        """
        makers = {
            "segment": (self._image,),
            "fuse": (self._logits, self._carried),
            "update": (self._image, self._carried),
        }
        return [{name: make(pair) for name, make in zip(names, makers[network], strict=True)} for pair in self._pairs]

    def _image(self, pair: FramePair) -> Tensor4:
        return self._prepared(pair[0])

    def _logits(self, pair: FramePair) -> Tensor4:
        return self._run(pair[0])

    def _carried(self, pair: FramePair) -> Tensor4:
        """The past frame's logits along the flow; a first frame's own, as where nothing moves."""
        frame, past = pair
        if past is None:
            return self._run(frame)
        flow = stpl_rt.dis_flow(stpl_rt.luma(frame, self._spec), stpl_rt.luma(past, self._spec))
        size = (self._spec.height, self._spec.width)
        return stpl_rt.carry_logits(self._run(past)[0], flow, size, align_corners=self._align_corners)[None]

    def _prepared(self, frame: Image) -> Tensor4:
        return np.ascontiguousarray(stpl_rt.preprocess(frame, self._spec)[None])

    def _run(self, frame: Image) -> Tensor4:
        name = self._session.get_inputs()[0].name
        logits: Tensor4 = self._session.run(None, {name: self._prepared(frame)})[0]
        return logits
