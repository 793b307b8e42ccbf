"""Class lists of the video domain-adaptation benchmarks, and the ids that stand for them in each data set.

Source: the released baselines DA-VSN (Guan et al., ICCV 2021) and TPS (Xing et al., ECCV 2022), which share their
lists; colours are those of Cityscapes (Cordts et al., CVPR 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpl.data.classes import IGNORE_ID, ClassSet, Color

COLORS: dict[str, Color] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


@dataclass(frozen=True)
class IdMap:
    """Which ids in label files stand for which class; every other id is ignored.

    Args:
        ids: for each class, in the order of the training ids, its ids in the files (0 to 254).
    """

    ids: dict[str, tuple[int, ...]]

    def class_set(self) -> ClassSet:
        """The classes in the order of the training ids, in Cityscapes' colours."""
        return ClassSet(tuple(self.ids), tuple(COLORS[name] for name in self.ids))

    def table(self) -> NDArray[np.uint8]:
        """(256,) training id of each id in the files; IGNORE_ID where it stands for no class."""
        table = np.full(256, IGNORE_ID, np.uint8)
        for training_id, stored in enumerate(self.ids.values()):
            table[list(stored)] = training_id
        return table


VIPER = IdMap(
    {
        "road": (3,),
        "sidewalk": (4,),
        "building": (9,),
        "fence": (11,),
        "traffic light": (13,),
        "traffic sign": (14,),
        "vegetation": (7, 8),  # trees and low plants
        "terrain": (6,),
        "sky": (2,),
        "person": (20,),
        "car": (24,),
        "truck": (27,),
        "bus": (26,),
        "motorcycle": (23,),
        "bicycle": (22,),
    }
)
"""The 15 classes that VIPER shares with Cityscapes, by VIPER's ids."""

SYNTHIA = IdMap(
    {
        "road": (3,),
        "sidewalk": (4,),
        "building": (2,),
        "fence": (5,),
        "pole": (7,),
        "traffic light": (15,),
        "traffic sign": (9,),
        "vegetation": (6,),
        "sky": (1,),
        "person": (10,),
        "rider": (11,),
        "car": (8,),
    }
)
"""The 12 classes that SYNTHIA-Seq shares with Cityscapes, by SYNTHIA's ids."""

CITYSCAPES: dict[str, IdMap] = {
    "viper": IdMap(
        {
            "road": (7,),
            "sidewalk": (8,),
            "building": (11,),
            "fence": (13,),
            "traffic light": (19,),
            "traffic sign": (20,),
            "vegetation": (21,),
            "terrain": (22,),
            "sky": (23,),
            "person": (24, 25),  # VIPER has no riders of their own
            "car": (26,),
            "truck": (27,),
            "bus": (28,),
            "motorcycle": (32,),
            "bicycle": (33,),
        }
    ),
    "synthia": IdMap(
        {
            "road": (7,),
            "sidewalk": (8,),
            "building": (11,),
            "fence": (13,),
            "pole": (17,),
            "traffic light": (19,),
            "traffic sign": (20,),
            "vegetation": (21,),
            "sky": (23,),
            "person": (24,),
            "rider": (25,),
            "car": (26,),
        }
    ),
    "cityscapes": IdMap(
        {
            "road": (7,),
            "sidewalk": (8,),
            "building": (11,),
            "wall": (12,),
            "fence": (13,),
            "pole": (17,),
            "traffic light": (19,),
            "traffic sign": (20,),
            "vegetation": (21,),
            "terrain": (22,),
            "sky": (23,),
            "person": (24,),
            "rider": (25,),
            "car": (26,),
            "truck": (27,),
            "bus": (28,),
            "train": (31,),
            "motorcycle": (32,),
            "bicycle": (33,),
        }
    ),
}
"""Cityscapes' labelIds by the source data set whose classes are asked for; ``cityscapes``: its own 19."""
