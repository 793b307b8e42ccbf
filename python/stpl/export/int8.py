"""Networks whose convolutions and matrix products run in int8, by QuantizeLinear and DequantizeLinear in the file.

Such a file says the same to ONNX Runtime, OpenVINO and TensorRT.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import onnx

from stpl.export.half_precision import Feed
from stpl.export.node_order import sort_nodes

Calibration = Literal["percentile", "minmax", "entropy"]
"""How an activation's range is found. Percentile leaves out the rarest values; the best on the development domains."""
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)

OPERATORS = ("Conv", "Gemm", "MatMul")
"""What is worth it. The rest of a segmentation network moves more memory than it computes."""


class Int8Converter:
    """Makes int8 networks of one network; ranges are measured once.

    Args:
        model: float32.
        feeds: of calibration.
    """

    def __init__(self, model: onnx.ModelProto, feeds: Sequence[Feed], calibration: Calibration = "percentile") -> None:
        self._model = model
        self._calibration = calibration
        self._ranges = _measure(model, feeds, calibration)

    def candidates(self) -> list[str]:
        """Names of the nodes that can be int8, in order."""
        weights = {tensor.name for tensor in self._model.graph.initializer}
        return [
            node.name
            for node in self._model.graph.node
            if node.op_type in OPERATORS and len(node.input) > 1 and node.input[1] in weights
        ]

    def convert(self, keep: Iterable[str] = ()) -> onnx.ModelProto:
        """The network with all candidates in int8 but those named in ``keep``.

        Activations have one scale a tensor and weights one a channel, all symmetric, as TensorRT asks for. What a
        layer takes is quantized and what it gives is not: sums, activations and resizing work on what is exact.

        Weights use 7 of the 8 bits. CPUs without VNNI add two products in 16 bits, which saturate with all 8: the file
        would be right on one machine and wrong on another.
        """
        kept = set(keep)
        chosen = [name for name in self.candidates() if name not in kept]
        if not chosen:
            return copy.deepcopy(self._model)
        from onnxruntime.quantization import QuantType  # type: ignore[import-untyped]
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # type: ignore[import-untyped]

        options = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "MatMulConstBOnly": True,
            "OpTypesToExcludeOutputQuantization": list(OPERATORS),
        }
        with _quiet():
            quantizer = QDQQuantizer(
                onnx.shape_inference.infer_shapes(copy.deepcopy(self._model)),
                per_channel=True,
                reduce_range=True,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=chosen,
                nodes_to_exclude=[],
                op_types_to_quantize=list(OPERATORS),
                extra_options=options,
            )
            quantizer.quantize_model()
        quantized: onnx.ModelProto = quantizer.model.model
        del quantized.metadata_props[:]
        del quantized.graph.value_info[:]
        sort_nodes(quantized.graph)
        for entry in [entry for entry in quantized.opset_import if entry.domain not in ("", "ai.onnx")]:
            quantized.opset_import.remove(entry)
        return quantized


def _measure(model: onnx.ModelProto, feeds: Sequence[Feed], calibration: Calibration) -> Any:
    """The ranges of all tensors, as ONNX Runtime's quantizer takes them."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator  # type: ignore[import-untyped]

    methods = {
        "percentile": CalibrationMethod.Percentile,
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
    }

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, feed: Feed) -> None:
            self._left = iter([feed])

        def get_next(self) -> Feed | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory(prefix="stpl.int8.") as folder, _quiet():
        file = Path(folder) / "network.onnx"
        onnx.save(model, str(file))
        calibrator = create_calibrator(
            file,
            list(OPERATORS),
            augmented_model_path=str(Path(folder) / "measured.onnx"),
            calibrate_method=methods[calibration],
            extra_options={"symmetric": True},
        )
        for feed in feeds:  # one at a time: it keeps all tensors of all frames that it is given at once
            calibrator.collect_data(Reader(feed))
        return calibrator.compute_data()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer prints what it is doing."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
