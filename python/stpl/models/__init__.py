"""Networks and the parts the method adds to them."""

from stpl.models.accel_deeplabv2 import AccelDeepLabV2, PairLogits
from stpl.models.compact import CompactNet
from stpl.models.fusion import Fusion, FusionKind
from stpl.models.projection import ProjectionHead
from stpl.models.protocol import SegmentationModel, aligns_corners
from stpl.models.pth import read_state_dict
from stpl.models.registry import MODELS, build_model
from stpl.models.warp import resize_flow, warp

__all__ = [
    "MODELS",
    "AccelDeepLabV2",
    "CompactNet",
    "Fusion",
    "FusionKind",
    "PairLogits",
    "ProjectionHead",
    "SegmentationModel",
    "aligns_corners",
    "build_model",
    "read_state_dict",
    "resize_flow",
    "warp",
]
