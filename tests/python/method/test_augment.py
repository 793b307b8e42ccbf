"""The augmentation's colours, in the order of the network's planes."""

from __future__ import annotations

import kornia
import kornia.augmentation as K
import pytest
import torch

from stpl.method.augment import AugmentationConfig, Colours, PairAugmentation

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


DRAWS_NOISE_LIKE_US = tuple(map(int, kornia.__version__.split(".")[:2])) >= (0, 9)
"""Earlier kornias draw the noise of both frames in another order, so that it is not compared."""


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_what_is_drawn_and_what_comes_out_is_kornias(probability: float) -> None:
    config = AugmentationConfig(
        jitter_probability=probability, grayscale_probability=probability / 2, blur_probability=probability, noise=0.05,
        noise_probability=probability * DRAWS_NOISE_LIKE_US,
    )  # fmt: skip
    ours = PairAugmentation(config, (0.0,) * 3, (255.0,) * 3)
    kornias = K.VideoSequential(
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=probability),
        K.RandomGrayscale(p=probability / 2),
        K.RandomGaussianBlur((5, 5), (0.3, 1.5), p=probability),
        *[K.RandomGaussianNoise(0.0, 0.05, p=probability)] * DRAWS_NOISE_LIKE_US,
        data_format="BTCHW",
        same_on_frame=True,
    )
    present, past = torch.rand(2, 12, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    found = ours(present, past, [torch.Generator().manual_seed(seed) for seed in range(12)])
    changed = 0
    for seed in range(12):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))))
        expected = kornias(torch.stack((present[seed], past[seed]))[None])[0].clamp(0.0, 1.0)
        changed += not torch.equal(expected, torch.stack((present[seed], past[seed])))
        for frames, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(frames[seed], wanted, rtol=1e-5, atol=2e-6)
    assert (changed == 0) if probability == 0 else (changed > 6)
