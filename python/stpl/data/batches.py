"""Prepared frames, labels and flow as tensors, through the runtime's own preprocessing and flow."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import stpl_rt
from stpl.data.dataset import Flow, VideoDataset
from stpl.data.flow import ComputeFlow, compute_flow
from stpl.metrics import resize_flow

T = TypeVar("T")


@dataclass(frozen=True)
class PairBatch:
    """Frames t and t-1 of N places in the video.

    Attributes:
        present: ``(N, 3, H, W)`` float32, normalised frames t.
        past: ``(N, 3, H, W)`` their predecessors.
        flow: ``(N, 2, H, W)`` flow of t into t-1 (dx, dy) in pixels of the network's input.
    """

    present: Tensor
    past: Tensor
    flow: Tensor

    def to(self, device: torch.device, *, channels_last: bool = True) -> PairBatch:
        """The same on another device; does not wait for copies from pinned memory."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        # Copied as it lies, then laid out on the device: both at once the host would have to do.
        present, past = (
            images.to(device, non_blocking=True).contiguous(memory_format=layout)
            for images in (self.present, self.past)
        )
        return PairBatch(present, past, self.flow.to(device, non_blocking=True))

    def pinned(self) -> PairBatch:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return PairBatch(self.present.pin_memory(), self.past.pin_memory(), self.flow.pin_memory())


class PreparedVideo:
    """A data set seen through one :class:`stpl_rt.InputSpec`, with a bounded cache in memory; for several threads.

    Args:
        dataset: where frames come from.
        spec: the network's input.
        cache_megabytes: prepared frames and flow are kept up to this size, the oldest use dropped first.
        flow: of luma t into luma t-1, where the data set has none stored: a :class:`stpl.data.flow_cache.FlowCache`,
            say.
        flow_by_chance: the same between frames that chance brings together, where ``flow`` keeps what it finds: they
            seldom meet again. ``flow`` itself where None.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        spec: stpl_rt.InputSpec,
        cache_megabytes: int = 3000,
        flow: ComputeFlow = compute_flow,
        flow_by_chance: ComputeFlow | None = None,
    ) -> None:
        self.dataset = dataset
        self.spec = spec
        self.pairs = [i for i in range(len(dataset)) if dataset.previous(i) is not None]
        self._flow = flow
        self._flow_by_chance = flow if flow_by_chance is None else flow_by_chance
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._cache_bytes = 0
        self._cache_limit = cache_megabytes * 2**20

    @property
    def room(self) -> int:
        """Frames that fit into the cache, each with its image, luma and flow."""
        pixels = self.spec.height * self.spec.width
        image, luma, flow = 3 * 4, 1, 2 * 4
        return self._cache_limit // (pixels * (image + luma + flow))

    def image(self, index: int) -> Tensor:
        """``(3, H, W)`` float32, normalised."""
        return self._cached("image", index, lambda: self._read(index, "image"))

    def luma(self, index: int) -> Tensor:
        """``(H, W)`` uint8 luma of the uncalibrated frame on the network's grid: what flow is computed on."""
        return self._cached("luma", index, lambda: self._read(index, "luma"))

    def label(self, index: int) -> Tensor:
        """``(H, W)`` uint8 training ids on the network's input grid, nearest neighbour; 255 is ignored.

        Raises:
            ValueError: the frame has no label.
        """
        return self._cached("label", index, lambda: self._read_label(index))

    def flow(self, index: int) -> Tensor:
        """``(2, H, W)`` float32 flow of a frame into its predecessor."""
        return self._cached("flow", index, lambda: self._compute_flow(index))

    def pair_batch(self, indices: Sequence[int], past: Sequence[int] | None = None) -> PairBatch:
        """Frames, predecessors and flow of the given frames (of :attr:`pairs`).

        Args:
            past: frames to take for the predecessors; the flow is then computed from each frame into the one given,
                however little they have in common.
        """
        if past is not None:
            flow = [self._flow_between(index, other) for index, other in zip(indices, past, strict=True)]
            return self._batch(indices, past, flow)
        previous = [self.dataset.previous(index) for index in indices]
        if None in previous:
            raise ValueError("expected frames with a predecessor; found the first frame of a sequence")
        return self._batch(
            indices, [index for index in previous if index is not None], [self.flow(index) for index in indices]
        )

    def _batch(self, present: Sequence[int], past: Sequence[int], flow: list[Tensor]) -> PairBatch:
        return PairBatch(
            present=torch.stack([self.image(index) for index in present]),
            past=torch.stack([self.image(index) for index in past]),
            flow=torch.stack(flow),
        )

    def _flow_between(self, index: int, other: int) -> Tensor:
        if other == self.dataset.previous(index):
            return self.flow(index)
        # Not kept, neither in memory nor on disk: chance seldom brings the same two frames together again.
        return _channels_first(self._flow_by_chance(self.luma(index).numpy(), self.luma(other).numpy()))

    def labelled_batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images ``(N, 3, H, W)`` float32 and labels ``(N, H, W)`` int64."""
        images = torch.stack([self.image(index) for index in indices])
        return images, torch.stack([self.label(index) for index in indices]).long()

    def _read(self, index: int, wanted: str) -> Tensor:
        # Decoding costs more than preparing: a frame once decoded gives both of its forms.
        frame = self.dataset.frame(index)
        image = torch.from_numpy(stpl_rt.preprocess(frame, self.spec, threads=1))
        luma = torch.from_numpy(stpl_rt.luma(frame, self.spec))
        other = ("luma", luma) if wanted == "image" else ("image", image)
        self._store((other[0], index), other[1])
        return image if wanted == "image" else luma

    def _read_label(self, index: int) -> Tensor:
        label = self.dataset.label(index)
        if label is None:
            raise ValueError(f"frame {index} of {self.dataset.name}: expected a label; found none")
        whole = torch.from_numpy(np.ascontiguousarray(label))[None, None]
        size = (self.spec.height, self.spec.width)
        return F.interpolate(whole, size=size, mode="nearest-exact")[0, 0] if whole.shape[-2:] != size else whole[0, 0]

    def _compute_flow(self, index: int) -> Tensor:
        past = self.dataset.previous(index)
        if past is None:
            raise ValueError(f"frame {index} of {self.dataset.name}: expected a predecessor; it opens its sequence")
        stored = self.dataset.stored_flow(index)
        if stored is not None:
            flow = resize_flow(stored, self.spec.height, self.spec.width)
        else:
            flow = self._flow(self.luma(index).numpy(), self.luma(past).numpy())
        return _channels_first(flow)

    def _cached(self, kind: str, index: int, make: Callable[[], Tensor]) -> Tensor:
        key = (kind, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        value = make()  # two threads may both make it: dearer than waiting, but rare
        self._store(key, value)
        return value

    def _store(self, key: tuple[str, int], value: Tensor) -> None:
        with self._lock:
            if key in self._cache:
                return
            self._cache[key] = value
            self._cache_bytes += value.nbytes
            while self._cache_bytes > self._cache_limit and len(self._cache) > 1:
                self._cache_bytes -= self._cache.popitem(last=False)[1].nbytes


def _channels_first(flow: Flow) -> Tensor:
    return torch.from_numpy(flow).permute(2, 0, 1).contiguous()


def prefetched(
    make: Callable[[int], T], steps: range, workers: int = 1, device: torch.device | None = None
) -> Iterator[tuple[int, T]]:
    """``(step, make(step))`` for every step in order, the next ones being made in threads while the caller works.

    Args:
        make: decodes, prepares, computes flow; called from ``workers`` threads at once.
        workers: threads; at most ``workers + 1`` results are waiting or being made, which bounds the memory.
        device: what the results are for. The threads are set to it, where it is a GPU.
    """
    executor = ThreadPoolExecutor(workers, "prefetch", initializer=_choose, initargs=(device,))
    pending: deque[tuple[int, Future[T]]] = deque()
    ahead = iter(steps)
    try:
        for step in islice(ahead, workers + 1):
            pending.append((step, executor.submit(make, step)))
        while pending:
            step, ready = pending.popleft()
            result = ready.result()
            for following in islice(ahead, 1):
                pending.append((following, executor.submit(make, following)))
            yield step, result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _choose(device: torch.device | None) -> None:
    """Sets this thread to the GPU, if it is one: a new thread is set to the first, and would pin memory and leave a
    context there, whichever GPU trains."""
    if device is not None and device.type == "cuda":
        torch.cuda.set_device(device)
