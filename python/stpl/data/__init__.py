"""Video data: what a frame and its label are, and where they are read from."""

from stpl.data.classes import IGNORE_ID, ClassSet
from stpl.data.dataset import Flow, FrameId, Image, LabelMap, VideoDataset

__all__ = ["IGNORE_ID", "ClassSet", "Flow", "FrameId", "Image", "LabelMap", "VideoDataset"]
