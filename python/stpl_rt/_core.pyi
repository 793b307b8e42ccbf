"""The C++ side of stpl_rt; import stpl_rt instead."""

from collections.abc import Sequence
import os
import pathlib
from typing import Annotated, Any, Literal, overload

import numpy
import numpy.typing
from numpy.typing import NDArray


class Error(RuntimeError):
    """An error of the runtime; `code` names its kind: "invalid_bundle"."""

    code: str

def engines() -> list[str]:
    """
    Names of the inference engines in this build: 'openvino' for the device 'cpu', 'tensorrt' for 'cuda:N'.
    """

class InputSpec:
    """
    What a network's input is: planes of (resize(lut[pixel]) - mean) / std in 0..255 units.

    width, height: pixels. mean, std: three floats in color_order, std > 0. lut: uint8 (3, 256),
    one table for each of R, G, B, or None. color_order: 'rgb' | 'bgr'. resize: 'stretch' |
    'letterbox'. filter: 'bilinear' | 'area'.
    """

    def __init__(self, width: int, height: int, *, mean: Sequence[float], std: Sequence[float], lut: Annotated[NDArray, dict(writable=False)] | None = None, color_order: str = 'rgb', resize: str = 'stretch', filter: str = 'bilinear') -> None: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def mean(self) -> list[float]: ...

    @property
    def std(self) -> list[float]: ...

    @property
    def lut(self) -> numpy.typing.NDArray[numpy.uint8] | None: ...

    @property
    def color_order(self) -> str: ...

    @property
    def resize(self) -> str: ...

    @property
    def filter(self) -> str: ...

    def __repr__(self) -> str: ...

class ClassInfo:
    """A class: its name and its RGB colour."""

    @property
    def name(self) -> str: ...

    @property
    def color(self) -> tuple[int, int, int]: ...

    def __repr__(self) -> str: ...

class LogitsSpec:
    """The size of the logits and how they lie on the network's input."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def align_corners(self) -> bool: ...

class TensorSpec:
    """Name, shape and element type of a network's tensor."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> list[int]: ...

    @property
    def type(self) -> str: ...

class NetworkSpec:
    """A network of a bundle; its file's hash has been checked."""

    @property
    def name(self) -> str: ...

    @property
    def file(self) -> pathlib.Path: ...

    @property
    def sha256(self) -> str: ...

    @property
    def inputs(self) -> list[TensorSpec]: ...

    @property
    def outputs(self) -> list[TensorSpec]: ...

class Bundle:
    """
    A validated bundle: an exported network and everything needed to run it.
    """

    @staticmethod
    def open(directory: str | os.PathLike) -> Bundle:
        """
        Reads and checks a bundle: every field, path and hash. Raises stpl_rt.Error with code
        'invalid_bundle' (or 'io') naming the field, what was expected and what was found.
        """

    @property
    def schema_version(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> list[ClassInfo]: ...

    @property
    def ignore_id(self) -> int: ...

    @property
    def input(self) -> InputSpec: ...

    @property
    def logits(self) -> LogitsSpec: ...

    @property
    def segment(self) -> NetworkSpec: ...

    @property
    def fuse(self) -> NetworkSpec | None:
        """Of accel mode; None where the bundle has none."""

    @property
    def update(self) -> NetworkSpec | None:
        """Of accel mode; None where the bundle has none."""

    @property
    def directory(self) -> pathlib.Path: ...

    @property
    def default_schedule(self) -> str: ...

    @property
    def provenance(self) -> dict[str, Any]: ...

def preprocess(frame: Annotated[NDArray, dict(writable=False)], spec: InputSpec, *, format: str = 'rgb', encoding: str = 'bt601', threads: int = 0) -> NDArray[numpy.float32]:
    """
    A frame, uint8 (H, W, 3) in `format` ('rgb' | 'bgr'), (H, W) grey or (H + H / 2, W) in 'nv12' | 'i420' with
    its `encoding`, as the network's input, float32 (3, spec.height, spec.width): look-up table, resize,
    normalise. What Segmenter.push does.
    """

def luma(frame: Annotated[NDArray, dict(writable=False)], spec: InputSpec, *, size: tuple[int, int] | None = None, format: str = 'rgb', encoding: str = 'bt601', threads: int = 0) -> NDArray[numpy.uint8]:
    """
    BT.601 luma of the frame before calibration, uint8 (h, w), resized as spec says onto `size` = (h, w)
    (None: the spec's own). What optical flow is computed on.
    """

def warp(past: Annotated[NDArray, dict(writable=False)], flow: Annotated[NDArray, dict(writable=False)], *, threads: int = 0) -> NDArray[numpy.float32]:
    """
    past(c, y + dy, x + dx), bilinear, border-clamped: float32 (C, h, w) along flow float32 (h, w, 2).
    """

def carry_logits(logits: Annotated[NDArray, dict(writable=False)], flow: Annotated[NDArray, dict(writable=False)], input_size: tuple[int, int], *, align_corners: bool = False, threads: int = 0) -> NDArray[numpy.float32]:
    """
    Logits, float32 (C, h, w), carried along `flow` on their own grid: the displaced bilinear reads that
    sample_argmax() makes, of the same arguments. float32 (C, h, w).
    """

@overload
def sample_argmax(logits: numpy.typing.NDArray[numpy.float32], size: tuple[int, int], *, flow: numpy.typing.NDArray[numpy.float32] | None = None, validity: numpy.typing.NDArray[numpy.float32] | None = None, align_corners: bool = False, confidence: Literal[False] = False, input_size: tuple[int, int] | None = None, threads: int = 0) -> numpy.typing.NDArray[numpy.uint8]: ...

@overload
def sample_argmax(logits: numpy.typing.NDArray[numpy.float32], size: tuple[int, int], *, flow: numpy.typing.NDArray[numpy.float32] | None = None, validity: numpy.typing.NDArray[numpy.float32] | None = None, align_corners: bool = False, confidence: Literal[True], input_size: tuple[int, int] | None = None, threads: int = 0) -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.uint8]]:
    """
    Labels at `size` = (H, W) from low-resolution logits, in one pass: a bilinear read of C logits and an argmax
    for each output pixel; the lowest of equal classes wins. logits: float32 (C, h, w), C <= 255.

    flow: float32 (fh, fw, 2) that displaces the reads, in pixels of its own grid, which covers the network's
    input. validity: float32 (fh, fw) in [0, 1], multiplies the confidence. align_corners: how the logits lie on
    the input. input_size: (height, width) of the network's input; None: `size`.
    Returns uint8 (H, W) labels, with confidence=True (labels, confidence), confidence being
    round(255 * softmax maximum * validity). Without flow the labels are those of torch's
    interpolate(logits, size, mode='bilinear', align_corners=align_corners).argmax(0).
    """

class DisFlow:
    """
    Dense optical flow by inverse search (DIS). Keeps its buffers between calls. Streams search with
    finest_scale 1; the default is that of OpenCV's preset "ultrafast".

    finest_scale: pyramid level (0: full size) at which the search ends. patch_size, patch_stride: pixels.
    iterations: gradient steps a patch. threads: 0: the cores this process may use.
    device: 'cpu', or 'cuda', 'cuda:N' where this build has kernels for GPUs (Error 'unsupported' else): the
    images go there, in a CUDA stream of its own, and the flow comes back.
    """

    def __init__(self, finest_scale: int = 2, patch_size: int = 8, patch_stride: int = 4, iterations: int = 12, threads: int = 0, *, device: str = 'cpu') -> None: ...

    def __call__(self, current: Annotated[NDArray, dict(writable=False)], past: Annotated[NDArray, dict(writable=False)]) -> NDArray[numpy.float32]:
        """
        Flow of `current` into `past`: uint8 (h, w) luma both; float32 (h, w, 2), (dx, dy) in pixels such that
        past(x + dx, y + dy) shows what current(x, y) shows.
        """

def dis_flow(current: Annotated[NDArray, dict(writable=False)], past: Annotated[NDArray, dict(writable=False)], *, threads: int = 0) -> NDArray[numpy.float32]:
    """
    Flow of `current` into `past`: uint8 (h, w) luma both; float32 (h, w, 2), (dx, dy) in pixels such that
    past(x + dx, y + dy) shows what current(x, y) shows.
    """

def compose_flow(latest: Annotated[NDArray, dict(writable=False)], past: Annotated[NDArray, dict(writable=False)], *, threads: int = 0) -> NDArray[numpy.float32]:
    """
    Chains flow t -> t-1 (`latest`) with flow t-1 -> key (`past`) into flow t -> key:
    latest(x) + past(x + latest(x)), read bilinearly, border-clamped. All float32 (h, w, 2).
    """

def flow_validity(current: Annotated[NDArray, dict(writable=False)], past: Annotated[NDArray, dict(writable=False)], flow: Annotated[NDArray, dict(writable=False)], *, back: Annotated[NDArray, dict(writable=False)] | None = None, threads: int = 0) -> NDArray[numpy.float32]:
    """
    How far `flow` (float32 (h, w, 2), of `current` into `past`, uint8 (h, w) luma) can be trusted:
    float32 (h, w) in [0, 1] from the photometric residual, the frame's border and the flow's divergence; and, given the flow `back`, of `past` into `current`, from whether it returns (the
    forward-backward check).
    """

class Network:
    """
    The network of the bundle at `path` in the runtime's engine: raw logits, nothing else.

    precision: 'f32' | 'bf16' | 'f16'. threads: 0: the cores this process may use.
    """

    def __init__(self, path: str | os.PathLike, *, precision: str = 'f32', threads: int = 0) -> None: ...

    def __call__(self, input: Annotated[NDArray, dict(writable=False)]) -> NDArray[numpy.float32]:
        """
        float32 (3, h, w), what preprocess() gives -> float32 (C, h', w') logits.
        """

    @property
    def bundle(self) -> Bundle: ...

class DeviceArray:
    """
    uint8 (H, W) in a GPU's memory, which the GPU may not have written yet. torch.from_dlpack(array) and
    cupy.from_dlpack(array) take it without a copy, and the stream in use there waits for it on the GPU;
    for what reads __cuda_array_interface__ (PyCUDA, Numba, torch.as_tensor) the default stream waits, and who
    reads on another that does not heed the interface's "stream" calls wait() first, and holds the array until
    it is done. numpy() and numpy.asarray() copy it to the host. The memory is used again when nobody holds it;
    a stream that read it outlives the array.
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> numpy.dtype[numpy.uint8]: ...

    @property
    def device(self) -> str: ...

    @property
    def is_ready(self) -> bool:
        """Whether the GPU has written it."""

    def wait(self) -> None:
        """
        Waits until the GPU has written it. Raises stpl_rt.Error where the GPU failed, or the network's logits
        were not finite.
        """

    def numpy(self) -> NDArray[numpy.uint8]:
        """Waits, and copies it to the host: uint8 (H, W)."""

    def __array__(self, dtype: object | None = None, copy: object | None = None) -> object: ...

    def __len__(self) -> int: ...

    def __dlpack__(self, *, stream: int | None = None, max_version: object | None = None, dl_device: object | None = None, copy: object | None = None) -> object: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

class Result:
    """What one push returns."""

    @property
    def labels(self) -> numpy.typing.NDArray[numpy.uint8]:
        """
        uint8 (H, W): class ids in the order of the bundle's classes; owns its memory. With the option
        device_labels it is waited for and copied from the GPU when it is first asked for.
        """

    @property
    def device_labels(self) -> DeviceArray | None:
        """
        The labels in the GPU's memory, with the option device_labels; else None.
        """

    @property
    def device_confidence(self) -> DeviceArray | None: ...

    @property
    def confidence(self) -> numpy.typing.NDArray[numpy.uint8] | None:
        """
        uint8 (H, W): round(255 * softmax maximum * validity); None unless asked for.
        """

    @property
    def is_key(self) -> bool:
        """Whether the network ran, or, with key_lag, was started on this frame."""

    @property
    def key_reason(self) -> str:
        """
        Why it ran: 'none', 'first', 'schedule', 'drift', 'scene_cut', 'gap' or 'size_change'.
        """

    @property
    def age(self) -> int:
        """Frames since the key frame whose logits are shown."""

    @property
    def drift(self) -> float:
        """
        Of the frames since the key frame, summed: what adaptive schedules go by.
        """

    @property
    def frame_index(self) -> int:
        """Since construction, from 0; reset() does not rewind it."""

    @property
    def timing(self) -> dict[str, float]:
        """
        Wall-clock milliseconds: preprocess_ms, flow_ms, network_ms, sample_ms, total_ms.
        """

class Segmenter:
    """
    Segments a live video stream, frame by frame. One Segmenter is one stream.

    bundle: a bundle's folder, or a Bundle: Segmenters of one Bundle share its compiled network.
    device: 'cpu' | 'cuda' | 'cuda:N', where this build has it.
    schedule: 'every' | 'fixed:K' | 'adaptive' | 'adaptive:DRIFT[:LONGEST]' | None, the bundle's own.
    precision: 'f32' | 'bf16' | 'f16'. threads: of the network and the kernels; 0: the cores this process may use.
    confidence: also compute Result.confidence. scene_cuts: answer a cut in the video with a key frame.
    flow_check: search the flow the other way round, too, and trust no pixel that does not come back (the
    forward-backward check): it lowers the confidence, and adaptive schedules count it as drift.
    key_lag: frames by which the network may be late while propagated labels go on; 0: push() waits for it.
    fuse, update: accel mode, where the bundle has those networks: fuse key frames with what was carried to them;
    correct what was carried to the frames between.
    queue: frames that submit() takes before the first result is collected.
    device_labels: on a GPU, the labels stay in its memory as Result.device_labels, and push() does not wait
    for them. cuda_stream: the number of the CUDA stream on which all is enqueued
    (torch.cuda.Stream().cuda_stream), but 2, which is each thread's own; 0: one of the Segmenter's.
    build_engines: on a GPU, build a TensorRT plan where the user's cache has none that fits. trust_engines: use plans
    that came with the bundle; a plan is code. Raises stpl_rt.Error.
    """

    @overload
    def __init__(self, bundle: Bundle, *, device: str = 'cpu', schedule: str | None = None, precision: str = 'f32', threads: int = 0, confidence: bool = False, scene_cuts: bool = True, flow_check: bool = False, key_lag: int = 0, fuse: bool = False, update: bool = False, queue: int = 4, device_labels: bool = False, cuda_stream: int = 0, build_engines: bool = False, trust_engines: bool = False) -> None: ...

    @overload
    def __init__(self, bundle: str | os.PathLike, *, device: str = 'cpu', schedule: str | None = None, precision: str = 'f32', threads: int = 0, confidence: bool = False, scene_cuts: bool = True, flow_check: bool = False, key_lag: int = 0, fuse: bool = False, update: bool = False, queue: int = 4, device_labels: bool = False, cuda_stream: int = 0, build_engines: bool = False, trust_engines: bool = False) -> None: ...

    def push(self, frame: object, flow: object | None = None, *, format: str = 'rgb', encoding: str = 'bt601', timestamp: float | None = None) -> Result:
        """
        Segments the next frame of the stream and returns its Result.

        frame: uint8 (H, W, 3) in `format`, or (H, W) grey, or (H + H / 2, W) for 'nv12' and 'i420', the planes below
        each other, or a list of their planes, luma (H, W) and chroma: (H / 2, W / 2, 2) of 'nv12', twice
        (H / 2, W / 2) of 'i420'; NumPy, PyTorch or any DLPack arrays. Rows may have any stride; only pixels that are
        not contiguous within a row are copied. With a device 'cuda' also arrays in that GPU's memory (PyTorch, CuPy,
        PyCUDA, anything with __dlpack__ or __cuda_array_interface__): nothing is copied to the host, what writes
        them is waited for on the GPU, and they must not be written again before the labels are there.
        flow: float32 (h, w, 2), the flow of this frame into the one pushed before it, (dx, dy) in pixels of its own
        grid, which may have any size; None: the runtime computes it.
        format: 'rgb', 'bgr', 'nv12' or 'i420'. encoding: of the last two: 'bt601', 'bt709', 'bt601_full' or
        'bt709_full'. timestamp: seconds; where two frames or more are missing by it, it is a key frame.

        A frame of another size starts the stream anew. Raises TypeError for another element type and stpl_rt.Error
        for another shape, or (code 'in_use') while another thread is inside; a frame that is refused leaves the
        stream as it was.
        """

    def __call__(self, frame: object, flow: object | None = None, *, format: str = 'rgb', encoding: str = 'bt601', timestamp: float | None = None) -> Result:
        """The same as push()."""

    def submit(self, frame: object, flow: object | None = None, *, format: str = 'rgb', encoding: str = 'bt601', timestamp: float | None = None) -> None:
        """
        Gives the next frame, with the arguments of push(), to the Segmenter's own thread; waits while `queue` frames
        are on their way. The frame is copied, or, on a GPU, kept until its result is collected.
        """

    def collect(self) -> Result:
        """
        Waits for the next result of what was submitted, in the order of the frames; raises what push() would have.
        """

    def reset(self) -> None:
        """Forgets the past: the next frame is a key frame."""

    def logits(self) -> NDArray[numpy.float32]:
        """
        float32 (C, h, w): the logits of the latest frame; of a propagated one the key frame's, carried along the flow.
        """

    def wait(self) -> None:
        """
        Waits until nothing of it is at work in the background: what was submitted is done, and stays to be
        collected, and no late network (key_lag) runs.
        """

    @property
    def pending(self) -> int:
        """Frames submitted and not collected."""

    @property
    def cuda_stream(self) -> int | None:
        """
        On a GPU the number of the CUDA stream on which all of it is enqueued; None on the CPU.
        """

    @property
    def bundle(self) -> Bundle: ...

    @property
    def schedule(self) -> str:
        """As the argument takes it."""

    @property
    def queue(self) -> int:
        """Frames that submit() takes before a result is collected."""

    @property
    def threads(self) -> int:
        """Threads in use."""

__version__: str
