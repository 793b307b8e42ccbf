"""The augmentation's colours, in the order of the network's planes."""

from __future__ import annotations

import pytest
import torch

from stpl.method.augment import Colours

MEAN, STD = (100.0, 110.0, 125.0), (50.0, 60.0, 70.0)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_colours_are_rgb_whatever_the_order_of_the_planes(order: str) -> None:
    rgb = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    planes = rgb if order == "rgb" else rgb.flip(1)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    images = (255.0 * planes - mean) / std
    colours = Colours(MEAN, STD, order)
    torch.testing.assert_close(colours.restore(images), rgb)
    torch.testing.assert_close(colours.normalise(colours.restore(images)), images)
