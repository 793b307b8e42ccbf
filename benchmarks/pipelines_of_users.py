"""From a frame to its labels as users of PyTorch, ONNX Runtime and OpenVINO write it, and write it well.

All do what push() does: resize (bilinear), normalise, network, logits upsampled to the frame's size (bilinear), argmax,
uint8. Buffers are made once; what depends on no frame is computed once. The argmax of users is cv2.resize of the logits
with the classes of a pixel side by side, then NumPy's argmax; the tuned one upsamples one class after the other and
keeps a running maximum, which never writes full-size logits: the fastest that we found with OpenCV and NumPy. One
pipeline has OpenVINO do all of it in its own graph. cv2.resize knows edges on edges alone: of a network whose logits'
corners lie on the image's, what it upsamples is off by up to half a pixel of the logits, as it is in its users' code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import openvino as ov  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from openvino import opset15 as opset
from openvino.preprocess import (  # type: ignore[import-untyped]
    ColorFormat,
    PrePostProcessor,
    ResizeAlgorithm,
)

import stpl_rt
from stpl.models.protocol import aligns_corners
from stpl.train.checkpoint import Checkpoint

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Pipeline = Callable[[Image], Image]
"""RGB frame (H, W, 3) to labels (H, W)."""
Network = Callable[[], Floats]
"""From the input that was bound to it to logits (1, C, h, w)."""


class Preparation:
    """cv2.resize, then mean and standard deviation by a look-up table straight into float planes."""

    def __init__(self, spec: stpl_rt.InputSpec) -> None:
        self.size = (spec.width, spec.height)
        self.input = np.empty((1, 3, spec.height, spec.width), np.float32)
        self._planes = [self.input[0, channel] for channel in range(3)]
        values = np.arange(256, dtype=np.float32)[:, None, None]
        self._table: Floats = ((values - np.array(spec.mean)) / np.array(spec.std)).astype(np.float32)

    def __call__(self, frame: Image) -> None:
        resized = cv2.resize(frame, self.size, interpolation=cv2.INTER_LINEAR)
        cv2.split(cv2.LUT(resized, self._table), self._planes)


def argmax_of_users(logits: Floats, width: int, height: int) -> Image:
    """Full-size logits, then NumPy's argmax over the classes of each pixel."""
    pixels = np.ascontiguousarray(logits[0].transpose(1, 2, 0))
    upsampled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    labels: Image = upsampled.argmax(axis=2).astype(np.uint8)
    return labels


class RunningMaximum:
    """One class after the other, upsampled into a plane that stays; the lowest of equal classes wins, as in argmax."""

    def __init__(self) -> None:
        self._best = np.empty((0, 0), np.float32)
        self._plane = np.empty((0, 0), np.float32)

    def __call__(self, logits: Floats, width: int, height: int) -> Image:
        if self._best.shape != (height, width):
            self._best, self._plane = (np.empty((height, width), np.float32) for _ in range(2))
        cv2.resize(logits[0, 0], (width, height), dst=self._best, interpolation=cv2.INTER_LINEAR)
        labels = np.zeros((height, width), np.uint8)
        for index in range(1, logits.shape[1]):
            cv2.resize(logits[0, index], (width, height), dst=self._plane, interpolation=cv2.INTER_LINEAR)
            np.copyto(labels, np.uint8(index), where=self._plane > self._best)
            np.maximum(self._best, self._plane, out=self._best)
        return labels


def with_numpy(prepare: Preparation, network: Network, argmax: Callable[[Floats, int, int], Image]) -> Pipeline:
    def segment(frame: Image) -> Image:
        prepare(frame)
        return argmax(network(), frame.shape[1], frame.shape[0])

    return segment


def onnx_runtime(bundle: stpl_rt.Bundle, image: Floats, threads: int) -> Network:
    """ONNX Runtime on `image`; its threads do not spin while NumPy works, which is the faster way here."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(bundle.segment.file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run() -> Floats:
        logits: Floats = session.run(None, {name: image})[0]
        return logits

    return run


def compiled(model: ov.Model, threads: int) -> ov.InferRequest:
    """For one frame at a time, in f32."""
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
    }
    return ov.Core().compile_model(model, "CPU", options).create_infer_request()


def openvino_network(bundle: stpl_rt.Bundle, image: Floats, threads: int) -> Network:
    """OpenVINO on `image`, which it reads where it lies; so are the logits read."""
    request = compiled(ov.Core().read_model(str(bundle.segment.file)), threads)
    request.set_input_tensor(ov.Tensor(image, shared_memory=True))

    def run() -> Floats:
        request.infer(share_outputs=True)  # else it copies them
        logits: Floats = request.get_output_tensor().data
        return logits

    return run


def openvino_graph(bundle: stpl_rt.Bundle, height: int, width: int, threads: int) -> Pipeline:
    """OpenVINO alone, for frames of this size: its own preprocessing, interpolation and argmax at the graph's end."""
    steps = PrePostProcessor(ov.Core().read_model(str(bundle.segment.file)))
    tensor = steps.input().tensor()
    tensor.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.RGB)
    tensor.set_spatial_static_shape(height, width)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    preparation = steps.input().preprocess().convert_element_type(ov.Type.f32)
    preparation.resize(ResizeAlgorithm.RESIZE_LINEAR).mean(bundle.input.mean).scale(bundle.input.std)

    def labels(logits: Any) -> Any:
        sizes, axes = np.array([height, width], np.int64), np.array([2, 3], np.int64)
        corners = "align_corners" if bundle.logits.align_corners else "half_pixel"
        large = opset.interpolate(
            logits, sizes, "linear_onnx", "sizes", coordinate_transformation_mode=corners, axes=axes
        )
        best = opset.topk(large, np.int64(1), 1, "max", "none", index_element_type="i32")
        return opset.convert(best.output(1), "u8").output(0)

    steps.output().postprocess().custom(labels)
    request = compiled(steps.build(), threads)

    def segment(image: Image) -> Image:
        request.set_input_tensor(ov.Tensor(image[None], shared_memory=True))
        request.infer(share_outputs=True)
        return np.array(request.get_output_tensor().data[0, 0])

    return segment


def pytorch(checkpoint: Checkpoint) -> Pipeline:
    """PyTorch as it is, in inference mode; its threads are set by the caller."""
    model = checkpoint.build()
    corners = aligns_corners(model)
    size = (checkpoint.input.height, checkpoint.input.width)
    mean = torch.tensor(checkpoint.input.mean).view(1, 3, 1, 1)
    std = torch.tensor(checkpoint.input.std).view(1, 3, 1, 1)

    @torch.inference_mode()
    def segment(frame: Image) -> Image:
        image = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
        logits = model((F.interpolate(image, size, mode="bilinear", align_corners=False) - mean) / std)
        upsampled = F.interpolate(logits, frame.shape[:2], mode="bilinear", align_corners=corners)
        labels: Image = upsampled.argmax(1)[0].to(torch.uint8).numpy()
        return labels

    return segment
