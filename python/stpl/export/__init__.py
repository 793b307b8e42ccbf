"""From a checkpoint to a bundle that the runtime opens: ONNX, manifest, and the check that all of them agree."""

from stpl.export.bundle import ExportResult, export_bundle
from stpl.export.onnx import ExportedNetwork, export_onnx
from stpl.export.parity import MIN_AGREEMENT, EngineParity, Parity, ParityError, measure_parity

__all__ = [
    "MIN_AGREEMENT",
    "EngineParity",
    "ExportResult",
    "ExportedNetwork",
    "Parity",
    "ParityError",
    "export_bundle",
    "export_onnx",
    "measure_parity",
]
