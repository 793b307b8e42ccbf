"""T: one photometric augmentation, drawn once for both frames of a pair."""

from __future__ import annotations

from collections.abc import Sequence

import kornia.augmentation as K
import torch
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config


class AugmentationConfig(Config):
    """Strengths and probabilities; photometric only, so labels and flow stay where they are."""

    jitter: float = Field(0.4, ge=0, le=1)
    """Brightness, contrast and saturation vary by this share; hue by a quarter of it."""
    jitter_probability: float = Field(0.8, ge=0, le=1)
    grayscale_probability: float = Field(0.2, ge=0, le=1)
    blur_probability: float = Field(0.5, ge=0, le=1)
    noise: float = Field(0.02, ge=0, le=1)
    """Standard deviation of Gaussian noise, of the range 0..1."""
    noise_probability: float = Field(0.3, ge=0, le=1)


class Colours(nn.Module):
    """Between normalised images ``(N, 3, H, W)`` and RGB colours in 0..1, which is what kornia augments.

    Args:
        mean, std: of the network's input, in units of 0..255, in ``color_order``.
        color_order: of the images' planes, ``"rgb"`` or ``"bgr"``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], color_order: str = "rgb") -> None:
        super().__init__()
        self.reversed = color_order == "bgr"
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def restore(self, images: Tensor) -> Tensor:
        colours = ((images * self.std + self.mean) / 255.0).clamp(0.0, 1.0)
        return colours.flip(1) if self.reversed else colours

    def normalise(self, colours: Tensor) -> Tensor:
        planes = colours.flip(1) if self.reversed else colours
        return (planes.clamp(0.0, 1.0) * 255.0 - self.mean) / self.std


class PairAugmentation(nn.Module):
    """Augments normalised frames t and t-1 alike (kornia's ``VideoSequential``, same parameters on every frame).

    Args:
        config: strengths.
        mean, std, color_order: of the network's input, as for :class:`Colours`.
    """

    def __init__(
        self, config: AugmentationConfig, mean: tuple[float, ...], std: tuple[float, ...], color_order: str = "rgb"
    ) -> None:
        super().__init__()
        self.colours = Colours(mean, std, color_order)
        strength = config.jitter
        self.video = K.VideoSequential(
            K.ColorJitter(strength, strength, strength, strength / 4, p=config.jitter_probability),
            K.RandomGrayscale(p=config.grayscale_probability),
            K.RandomGaussianBlur((5, 5), (0.3, 1.5), p=config.blur_probability),
            K.RandomGaussianNoise(0.0, config.noise, p=config.noise_probability),
            data_format="BTCHW",
            same_on_frame=True,
        )

    @torch.no_grad()
    def forward(self, present: Tensor, past: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Two ``(N, 3, H, W)`` normalised batches to their augmented twins.

        Pair by pair: kornia draws from torch's global generator, which is seeded for each from its own. That costs
        nothing (on a CPU it is faster than the whole batch at once, which leaves the cache) and leaves the global
        generator in another state.

        Args:
            generators: of each of the N pairs.
        """
        clips = torch.stack((self.colours.restore(present), self.colours.restore(past)), dim=1)
        augmented = []
        for clip, generator in zip(clips, generators, strict=True):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            augmented.append(self.colours.normalise(self.video(clip[None])[0]))
        present, past = torch.stack(augmented).unbind(1)
        layout = torch.channels_last
        return present.contiguous(memory_format=layout), past.contiguous(memory_format=layout)
