"""Run by test_device.py with STPL_RT_CORE, an extension module whose GPU is emulated: its memory is the host's.

Importing it puts that module in the place of stpl_rt's own.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

spec = importlib.util.spec_from_file_location("stpl_rt._core", os.environ["STPL_RT_CORE"])
assert spec is not None
assert spec.loader is not None
core = importlib.util.module_from_spec(spec)
sys.modules["stpl_rt._core"] = core
spec.loader.exec_module(core)

import stpl_rt  # noqa: E402

CUDA = 2  # DLPack's number
Pixels = npt.NDArray[np.uint8]


class InterfaceArray:
    """What PyCUDA's and Numba's arrays are to us: an address, a shape and strides."""

    def __init__(self, array: npt.NDArray[Any], stream: int | None = None) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": array.strides,
            "stream": stream,
        }


class DlpackArray:
    """What PyTorch's and CuPy's tensors are to us; notes which stream they are asked to order."""

    def __init__(self, array: Any, gpu: int = 0) -> None:
        self.array = array
        self.gpu = gpu
        self.streams: list[int | None] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return (CUDA, self.gpu)

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        self.streams.append(stream)
        return self.array.__dlpack__(**options)


class PassedOn:
    """What a library makes of an array by DLPack: it hands on who asks."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.array.__dlpack_device__()
        return device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


def frames(count: int, height: int = 90, width: int = 120) -> list[Pixels]:
    """A picture that moves by two pixels a frame."""
    coarse = np.random.default_rng(0).integers(0, 255, (height // 6 + 1, (width + 2 * count) // 6 + 1, 3), np.uint8)
    wide = np.kron(coarse, np.ones((6, 6, 1), np.uint8))[:height]
    return [np.ascontiguousarray(wide[:, 2 * t : 2 * t + width]) for t in range(count)]


@pytest.fixture
def cpu(test_bundle: Path) -> stpl_rt.Segmenter:
    return stpl_rt.Segmenter(test_bundle, schedule="fixed:3", confidence=True, threads=1)


def on_gpu(bundle: Path, **options: Any) -> stpl_rt.Segmenter:
    return stpl_rt.Segmenter(bundle, schedule="fixed:3", confidence=True, threads=1, device="cuda:0", **options)


def share_equal(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    assert a.shape == b.shape
    return float((a == b).mean())


@pytest.mark.parametrize("kind", [np.asarray, InterfaceArray, DlpackArray])
def test_arrays_of_every_kind_give_the_labels_of_the_cpu(cpu: stpl_rt.Segmenter, test_bundle: Path, kind: Any) -> None:
    gpu = on_gpu(test_bundle)
    for frame in frames(7):
        expected, found = cpu(frame), gpu(kind(frame))
        assert isinstance(found.labels, np.ndarray)
        assert found.key_reason == expected.key_reason
        assert share_equal(found.labels, expected.labels) > 0.9999


@pytest.mark.parametrize("kind", [InterfaceArray, DlpackArray])
def test_labels_that_stay_on_the_gpu_are_read_there(cpu: stpl_rt.Segmenter, test_bundle: Path, kind: Any) -> None:
    gpu = on_gpu(test_bundle, device_labels=True, scene_cuts=False)
    for frame in frames(7):
        expected, labels = cpu(frame).labels, gpu(kind(frame)).device_labels
        assert isinstance(labels, stpl_rt.DeviceArray)
        assert (labels.shape, labels.dtype, labels.device) == ((90, 120), np.uint8, "cuda:0")
        assert labels.__dlpack_device__() == (CUDA, 0)
        assert not labels.is_ready
        assert share_equal(np.asarray(labels), expected) > 0.9999
        assert labels.is_ready
        assert np.asarray(labels, np.int64).dtype == np.int64
        fields = labels.__cuda_array_interface__
        assert (fields["shape"], fields["typestr"], fields["version"]) == ((90, 120), "|u1", 3)
        assert fields["stream"] == gpu.cuda_stream


@pytest.mark.parametrize("kind", [lambda labels: labels, PassedOn])
def test_an_array_goes_back_in_as_it_came_out(test_bundle: Path, kind: Any) -> None:
    """By itself and by DLPack, where nothing but the order of streams waits for the GPU."""
    gpu, other = on_gpu(test_bundle, device_labels=True), on_gpu(test_bundle)
    for frame in frames(3):
        result = gpu(frame)
        labels = result.device_labels
        assert labels is not None
        passed_on = other(kind(labels))  # as a grey frame
        assert share_equal(passed_on.labels, on_gpu(test_bundle)(result.labels).labels) == 1
        other.reset()


def test_who_reads_the_interface_on_the_default_stream_reads_what_is_written(test_bundle: Path) -> None:
    """PyTorch and PyCUDA look at no stream: the default one has waited, and so, emulated, is the work done."""
    gpu = on_gpu(test_bundle, device_labels=True, scene_cuts=False)
    labels = gpu(InterfaceArray(frames(1)[0])).device_labels
    assert labels is not None and not labels.is_ready
    address = labels.__cuda_array_interface__["data"][0]
    read = np.ctypeslib.as_array((ctypes.c_uint8 * (90 * 120)).from_address(address)).reshape(90, 120).copy()
    assert labels.is_ready
    assert (read == labels.numpy()).all()


def test_labels_are_given_to_a_segmenter_that_goes_before_them(test_bundle: Path) -> None:
    """They are waited for and held by their own name: no stream is noted that may be gone later."""
    gpu, other = (on_gpu(test_bundle, device_labels=True, scene_cuts=False) for _ in range(2))
    frame = frames(1)[0]
    expected = on_gpu(test_bundle)(frame).labels
    labels = gpu(frame).device_labels
    assert labels is not None
    before = sys.getrefcount(labels)
    passed_on = other(labels).device_labels
    assert passed_on is not None and sys.getrefcount(labels) > before
    assert share_equal(passed_on.numpy(), on_gpu(test_bundle)(expected).labels) == 1
    other(labels)
    del other
    gc.collect()
    assert sys.getrefcount(labels) == before
    assert share_equal(labels.numpy(), expected) == 1


def test_the_stream_of_each_thread_is_refused(test_bundle: Path) -> None:
    with pytest.raises(stpl_rt.Error, match="cuda_stream: expected a stream that is the same in every thread"):
        on_gpu(test_bundle, cuda_stream=2)


def test_the_producers_stream_is_asked_for(test_bundle: Path) -> None:
    gpu = on_gpu(test_bundle)
    frame = DlpackArray(frames(1)[0])
    gpu(frame)
    assert frame.streams == [gpu.cuda_stream]
    with pytest.raises(stpl_rt.Error, match="stream: expected"):
        gpu(InterfaceArray(frames(1)[0], stream=0))


def test_frames_are_kept_until_the_gpu_has_read_them(test_bundle: Path) -> None:
    gpu = on_gpu(test_bundle, device_labels=True, scene_cuts=False)
    frame = InterfaceArray(frames(1)[0])
    before = sys.getrefcount(frame)
    result = gpu(frame)
    assert sys.getrefcount(frame) > before
    assert result.device_labels is not None
    result.device_labels.wait()
    gpu(frames(1)[0])
    gpu(InterfaceArray(frames(1)[0]))
    assert sys.getrefcount(frame) == before
    for _ in range(3):
        gpu.submit(frame)
    assert sys.getrefcount(frame) > before
    collected = [gpu.collect().device_labels for _ in range(3)]
    gc.collect()
    assert not any(labels is None or labels.is_ready for labels in collected)
    assert sys.getrefcount(frame) >= before + 3  # nobody has waited for the GPU to read them
    gpu.wait()
    gc.collect()
    assert all(labels is not None and labels.is_ready for labels in collected)
    assert sys.getrefcount(frame) == before
    gpu.submit(frame)
    gpu.collect()
    assert sys.getrefcount(frame) > before
    del gpu, result, collected
    gc.collect()
    assert sys.getrefcount(frame) == before


def test_the_producer_of_a_frame_is_waited_for_while_others_are_on_their_way(
    cpu: stpl_rt.Segmenter, test_bundle: Path
) -> None:
    """Whether it names its stream or leaves it open."""
    gpu, producer = on_gpu(test_bundle, queue=4), on_gpu(test_bundle)
    for stream in (None, 1, producer.cuda_stream):
        for frame in frames(3):
            gpu.submit(InterfaceArray(frame, stream))
        for frame in frames(3):
            assert share_equal(gpu.collect().labels, cpu(frame).labels) > 0.999
        gpu.reset()
        cpu.reset()


def test_arrays_of_another_gpu_are_refused(test_bundle: Path) -> None:
    gpu, frame = on_gpu(test_bundle), frames(1)[0]
    given = DlpackArray(frame, gpu=1)
    with pytest.raises(stpl_rt.Error, match=r"frame: expected an array on cuda:0.*found one on cuda:1") as caught:
        gpu(given)
    assert caught.value.code == "invalid_argument" and given.streams == []
    with pytest.raises(stpl_rt.Error, match="flow: expected an array on cuda:0"):
        gpu(frame, DlpackArray(np.zeros((4, 4, 2), np.float32), gpu=1))
    assert gpu(DlpackArray(frame)).labels.shape == frame.shape[:2]


def test_submitted_frames_come_back_in_their_order(cpu: stpl_rt.Segmenter, test_bundle: Path) -> None:
    gpu = on_gpu(test_bundle)
    results = list(gpu.stream(map(InterfaceArray, frames(9)), ahead=3))
    assert [result.frame_index for result in results] == list(range(9))
    for result, frame in zip(results, frames(9), strict=True):
        assert share_equal(result.labels, cpu(frame).labels) > 0.9999


@pytest.mark.parametrize("kind", [InterfaceArray, DlpackArray])
def test_flow_in_the_gpus_memory(cpu: stpl_rt.Segmenter, test_bundle: Path, kind: Any) -> None:
    gpu = on_gpu(test_bundle, scene_cuts=False)
    flow = np.full((45, 60, 2), (-1, 0), np.float32)
    for frame in frames(6):
        assert share_equal(gpu(kind(frame), kind(flow)).labels, cpu(frame, flow).labels) > 0.999
    with pytest.raises(stpl_rt.Error, match="without gaps"):
        gpu(frames(1)[0], InterfaceArray(flow[:, ::2]))
    with pytest.raises(TypeError, match="float32"):
        gpu(frames(1)[0], InterfaceArray(np.zeros((4, 4, 2), np.uint8)))


def test_rows_with_a_pitch(cpu: stpl_rt.Segmenter, test_bundle: Path) -> None:
    """As decoders and cameras leave them."""
    gpu = on_gpu(test_bundle)
    rng = np.random.default_rng(1)
    padded = rng.integers(0, 255, (90, 160, 3), np.uint8)
    nv12 = rng.integers(0, 255, (135, 160), np.uint8)
    assert share_equal(gpu(InterfaceArray(padded[:, :120])).labels, cpu(padded[:, :120]).labels) > 0.999
    found = gpu(InterfaceArray(nv12[:, :120]), format="nv12")
    assert share_equal(found.labels, cpu(nv12[:, :120], format="nv12").labels) > 0.999
    for given, options in [
        (padded[:, ::2], {}),
        (padded[::-1], {}),
        (padded[..., ::-1], {}),
        (nv12[:, :120], {"format": "i420"}),
        (nv12[:, 120::-1][:, :120], {"format": "nv12"}),
    ]:
        with pytest.raises(stpl_rt.Error, match=r"without gaps|stride"):
            gpu(InterfaceArray(given), **options)


@pytest.mark.parametrize("kind", [InterfaceArray, DlpackArray])
def test_planes_in_arrays_of_their_own(cpu: stpl_rt.Segmenter, test_bundle: Path, kind: Any) -> None:
    """As decoders leave them: luma and chroma in surfaces with pitches of their own."""
    gpu = on_gpu(test_bundle, queue=2)
    rng = np.random.default_rng(1)
    luma = rng.integers(0, 255, (91, 160), np.uint8)[:, :121]
    pairs = rng.integers(0, 255, (46, 70, 2), np.uint8)[:, :61]
    cb, cr = np.ascontiguousarray(pairs[..., 0]), np.ascontiguousarray(pairs[..., 1])
    for planes, layout in [([luma, pairs], "nv12"), ([luma, cb, cr], "i420")]:
        expected = cpu(planes, format=layout).labels
        given = [kind(plane) for plane in planes]
        assert share_equal(gpu(given, format=layout).labels, expected) > 0.999
        for result in gpu.stream([tuple(given)] * 3, format=layout):
            assert share_equal(result.labels, expected) > 0.999
        before = [sys.getrefcount(plane) for plane in given]
        gpu.submit(given, format=layout)
        if kind is InterfaceArray:  # DLPack's capsule is held in its place
            assert all(sys.getrefcount(plane) > n for plane, n in zip(given, before, strict=True))
        gpu.collect()
        gc.collect()
        assert [sys.getrefcount(plane) for plane in given] == before
    with pytest.raises(stpl_rt.Error, match=r"frame\[1\]: expected all planes in the same memory"):
        gpu([kind(luma), pairs], format="nv12")
    with pytest.raises(stpl_rt.Error, match="without gaps"):
        gpu([kind(luma), kind(pairs[:, ::-1])], format="nv12")
    with pytest.raises(stpl_rt.Error, match="without gaps"):  # strides that differ
        gpu([kind(luma), kind(np.zeros((46, 70), np.uint8)[:, :61]), kind(cr)], format="i420")


def test_what_is_refused(cpu: stpl_rt.Segmenter, test_bundle: Path) -> None:
    frame = frames(1)[0]
    gpu = on_gpu(test_bundle)
    for segmenter in (cpu, gpu):
        with pytest.raises(TypeError, match="frame: expected an array"):
            segmenter("frame.png")
    for kind in (InterfaceArray, DlpackArray):
        with pytest.raises(TypeError, match="float32"):
            gpu(kind(frame.astype(np.float32)))
        with pytest.raises(stpl_rt.Error, match=r"found \(90, 120, 2\) uint8"):
            gpu(kind(frame[..., :2]))
    with pytest.raises(TypeError, match="f8"):
        gpu(InterfaceArray(frame.astype(np.float64)))
    with pytest.raises(TypeError, match="host memory"):
        cpu(InterfaceArray(frame))
    with pytest.raises(stpl_rt.Error, match="device_labels"):
        stpl_rt.Segmenter(test_bundle, device_labels=True)
    assert cpu.cuda_stream is None
    labels = on_gpu(test_bundle, device_labels=True)(frame).device_labels
    assert labels is not None
    assert cpu(frame).device_labels is None
    with pytest.raises(stpl_rt.Error, match="stream: expected"):
        labels.__dlpack__(stream=0)
    with pytest.raises(BufferError, match="copy"):
        labels.__dlpack__(copy=True)
    assert labels.__dlpack__(stream=-1) is not None


@pytest.mark.parametrize("size", [(90, 120), (91, 123), (33, 400), (5, 7)])
@pytest.mark.parametrize("options", [{}, {"finest_scale": 1}, {"finest_scale": 0, "patch_size": 12, "patch_stride": 5}])
def test_flow_alone_is_that_of_the_cpu(size: tuple[int, int], options: dict[str, int]) -> None:
    """One object for pictures of several sizes; they may have rows of any stride."""
    on_cpu, on_gpu_ = stpl_rt.DisFlow(**options, threads=1), stpl_rt.DisFlow(**options, device="cuda:0")
    past, current = (np.asarray(frame[..., 1]) for frame in frames(2, *size))
    for now, then in ((current, past), (current[:-2, :-1], past[:-2, :-1]), (current, past)):
        found = on_gpu_(now, then)
        assert found.shape == (*now.shape, 2) and found.dtype == np.float32
        np.testing.assert_allclose(found, on_cpu(now, then), atol=1e-3)
    assert size == (5, 7) or np.abs(on_cpu(current, past)).mean() > 1


def test_flow_alone_on_a_gpu_that_is_not_there() -> None:
    with pytest.raises(stpl_rt.Error, match="expected 0, found 7") as caught:
        stpl_rt.DisFlow(device="cuda:7")
    assert caught.value.code == "invalid_argument"


def test_the_example_for_pycuda_segments_arrays_of_its_kind(cpu: stpl_rt.Segmenter, test_bundle: Path) -> None:
    path = Path(__file__).resolve().parents[2] / "examples/pycuda_frames.py"
    spec = importlib.util.spec_from_file_location("pycuda_frames", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    gpu = on_gpu(test_bundle, device_labels=True)
    results = list(example.segment(gpu, map(InterfaceArray, frames(5))))
    for labels, frame in zip(results, frames(5), strict=True):
        assert share_equal(labels.numpy(), cpu(frame).labels) > 0.9999
