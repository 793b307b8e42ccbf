"""What the runtime would carry to a frame, made of the network's logits and the video's flow by its own kernels."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.dataset import Flow, LabelMap
from stpl.data.flow import Luma
from stpl.models.protocol import aligns_corners
from stpl.train.checkpoint import Checkpoint


def stream_flow(current: Luma, past: Luma) -> Flow:
    """Flow of luma t into luma t-1 as the runtime's streams compute it (cpp/segmenter/stream.h)."""
    return stpl_rt.DisFlow(finest_scale=1, threads=1)(current, past)


@dataclass(frozen=True)
class Clip:
    """Frame ``index``, the key frame ``age`` frames before it, and the flow between (h, w, 2)."""

    index: int
    key: int
    flow: Flow


class Teacher:
    """The adapted network: what it says of frames, and what the runtime carries of it. For several threads.

    On a GPU it computes on a stream of its own: whoever asks it waits for its answer, and not for the steps that
    another thread has handed to the GPU before.
    """

    MEMORY = 1500 * 2**20

    def __init__(self, checkpoint: Checkpoint, video: PreparedVideo, device: torch.device) -> None:
        self.network = checkpoint.build().to(device)
        self.video = video
        self.device = device
        self._size = (checkpoint.input.height, checkpoint.input.width)
        self._aligned = aligns_corners(self.network)
        self._kept: dict[int, Tensor] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            self._stream.wait_stream(torch.cuda.current_stream(device))  # which brings the weights

    @torch.no_grad()
    def logits(self, index: int) -> Tensor:
        """``(C, h, w)`` float32 on the CPU."""
        with self._lock:
            if index in self._kept:
                return self._kept[index]
        with self._aside():
            logits: Tensor = self.network(self.video.image(index)[None].to(self.device))[0].float().cpu()
        with self._lock:  # two threads may both have asked: dearer than waiting, but rare
            if index not in self._kept and self._bytes + logits.nbytes <= self.MEMORY:
                self._kept[index] = logits
                self._bytes += logits.nbytes
        return logits

    def _aside(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def carried(self, clip: Clip) -> Tensor:
        """The key frame's logits as the runtime carries them to the clip's frame."""
        carried = stpl_rt.carry_logits(
            self.logits(clip.key).numpy(), clip.flow, self._size, align_corners=self._aligned, threads=1
        )
        return torch.from_numpy(carried)

    @torch.no_grad()
    def in_views(self, index: int) -> Tensor:
        """``(C, h, w)`` probabilities, the mean over the frame, its mirror image and two other sizes."""
        with self._aside():
            image = self.video.image(index)[None].to(self.device)
            logits = self.network(image)
            size = logits.shape[-2:]
            views = [logits, self.network(image.flip(-1)).flip(-1)]
            for scale in (0.75, 1.25):
                scaled = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
                views.append(F.interpolate(self.network(scaled), size=size, mode="bilinear", align_corners=False))
            mean: Tensor = torch.stack([view.softmax(dim=1) for view in views]).mean(dim=0)[0].cpu()
        return mean

    def labels(self, logits: Tensor) -> LabelMap:
        """What the runtime would show of them, ``(H, W)`` uint8."""
        return stpl_rt.sample_argmax(logits.numpy(), self._size, align_corners=self._aligned, threads=1)


class Clips:
    """Places of a video with a past of up to ``longest`` frames, the end of it held out."""

    def __init__(self, video: PreparedVideo, longest: int, held_out: float) -> None:
        self._video = video
        reach = [index for index in range(len(video.dataset)) if self._reaches_back(index, longest)]
        held = max(1, round(held_out * len(reach)))
        # Between the two lie as many frames as a clip has, so that they share none.
        self.training, self.held_out = reach[: max(0, len(reach) - held - longest)], reach[len(reach) - held :]

    def make(self, index: int, age: int) -> Clip:
        """The clip that ends with frame ``index``, 1 to ``longest`` frames after its key frame."""
        way = [index]  # back to the key frame
        for _ in range(age):
            before = self._video.dataset.previous(way[-1])
            if before is None:
                raise ValueError(f"expected {age} frames before frame {index}; found {len(way) - 1}")
            way.append(before)
        flow = self._one(way[age - 1])
        for frame in reversed(way[: age - 1]):
            flow = stpl_rt.compose_flow(self._one(frame), flow, threads=1)
        return Clip(index, way[age], flow)

    def _one(self, index: int) -> Flow:
        return np.ascontiguousarray(self._video.flow(index).permute(1, 2, 0).numpy())

    def _reaches_back(self, index: int, frames: int) -> bool:
        place: int | None = index
        for _ in range(frames):
            place = None if place is None else self._video.dataset.previous(place)
        return place is not None
