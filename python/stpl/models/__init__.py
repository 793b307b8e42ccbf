"""Networks and the parts the method adds to them."""

from stpl.models.compact import CompactNet
from stpl.models.fusion import Fusion, FusionKind
from stpl.models.projection import ProjectionHead
from stpl.models.protocol import SegmentationModel
from stpl.models.registry import MODELS, build_model
from stpl.models.warp import resize_flow, warp

__all__ = [
    "MODELS",
    "CompactNet",
    "Fusion",
    "FusionKind",
    "ProjectionHead",
    "SegmentationModel",
    "build_model",
    "resize_flow",
    "warp",
]
