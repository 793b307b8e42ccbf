"""T: one photometric augmentation, drawn once for both frames of a pair.

What is drawn is known to the host, so that what was not drawn is not computed and nothing waits for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import kornia.augmentation as K
import torch
from kornia.color import rgb_to_grayscale
from kornia.enhance.adjust import adjust_brightness_accumulative, adjust_hue
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config

_BLUR = (5, 5)
_BLUR_SIGMA = (0.3, 1.5)
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey, as kornia has them."""

Drawn = dict[str, Tensor]


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
    """Augments normalised frames t and t-1 alike: colour jitter, grey, blur, noise, by kornia's definitions.

    Args:
        config: strengths.
        mean, std, color_order: of the network's input, as for :class:`Colours`.
    """

    def __init__(
        self, config: AugmentationConfig, mean: tuple[float, ...], std: tuple[float, ...], color_order: str = "rgb"
    ) -> None:
        super().__init__()
        self.colours = Colours(mean, std, color_order)
        self.config = config
        strength = config.jitter
        # In a tuple, so that they stay where they are when the module moves: they draw on the host on any device.
        self._draws = (
            K.ColorJitter(strength, strength, strength, strength / 4, p=config.jitter_probability),
            K.RandomGrayscale(p=config.grayscale_probability),
            K.RandomGaussianBlur(_BLUR, _BLUR_SIGMA, p=config.blur_probability),
        )

    @torch.no_grad()
    def forward(self, present: Tensor, past: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Two ``(N, 3, H, W)`` normalised batches to their augmented twins.

        Pair by pair: kornia draws from torch's global generator, which is seeded for each from its own. That costs
        nothing (on a CPU it is faster than the whole batch at once, which leaves the cache) and leaves the global
        generator in another state. The noise alone is drawn where the frames are.

        Args:
            generators: of each of the N pairs.
        """
        clips = torch.stack((self.colours.restore(present), self.colours.restore(past)), dim=1)
        augmented = []
        for clip, generator in zip(clips, generators, strict=True):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            augmented.append(self.colours.normalise(self._augmented(clip)))
        channels_last = present.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        present, past = torch.stack(augmented).unbind(1)
        return present.contiguous(memory_format=layout), past.contiguous(memory_format=layout)

    def _augmented(self, frames: Tensor) -> Tensor:
        """Frames ``(T, 3, H, W)`` of one clip, all changed alike."""
        shape = frames[:1].shape
        jitter, grayscale, blur = (draw.forward_parameters(shape) for draw in self._draws)
        if _chosen(jitter):
            frames = _jittered(frames, jitter)
        if _chosen(grayscale):
            frames = _grey(frames).expand_as(frames)
        if _chosen(blur):
            frames = _blurred(frames, blur)
        if _happens(self.config.noise_probability):
            frames = frames + self.config.noise * torch.randn(shape, device=frames.device)
        return frames


def _happens(probability: float) -> bool:
    return probability == 1.0 or (probability > 0.0 and torch.rand(()).item() < probability)


def _chosen(drawn: Drawn) -> bool:
    return bool(drawn["batch_prob"] > 0.5)


def _blurred(frames: Tensor, drawn: Drawn) -> Tensor:
    weights = get_gaussian_kernel1d(_BLUR[0], drawn["sigma"][:, None])[0].tolist()
    kernel = _filled(frames, weights)[None]
    return filter2d_separable(frames, kernel, kernel, "reflect")


def _filled(frames: Tensor, numbers: Sequence[float]) -> Tensor:
    """The numbers, filled on the frames' device: brought there from the host they would have to be waited for."""
    return torch.stack([frames.new_full((), number) for number in numbers])


def _grey(frames: Tensor) -> Tensor:
    """``(T, 1, H, W)``. Before 0.9 kornia brings weights that it is not given from the host."""
    return rgb_to_grayscale(frames, _filled(frames, _LUMA))


def _contrasted(frames: Tensor, factor: Tensor) -> Tensor:
    """kornia's ``adjust_contrast_with_mean_subtraction``, which does not take the weights of the grey."""
    mean = _grey(frames).mean((-2, -1), True)
    return (frames * factor + mean * (1 - factor)).clamp(0.0, 1.0)


def _saturated(frames: Tensor, factor: Tensor) -> Tensor:
    """kornia's ``adjust_saturation_with_gray_subtraction``, likewise."""
    return ((1 - factor) * _grey(frames) + factor * frames).clamp(0.0, 1.0)


def _jittered(frames: Tensor, drawn: Drawn) -> Tensor:
    """Brightness, contrast, saturation and hue, in the order drawn."""
    changes = (
        (adjust_brightness_accumulative, drawn["brightness_factor"], 1.0),
        (_contrasted, drawn["contrast_factor"], 1.0),
        (_saturated, drawn["saturation_factor"], 1.0),
        (adjust_hue, drawn["hue_factor"] * 2 * math.pi, 0.0),
    )
    for number in drawn["order"].tolist():
        change, factor, neutral = changes[number]
        amount = factor.item()
        if amount != neutral:
            frames = change(frames, _filled(frames, [amount]))
    return frames.clamp(0.0, 1.0)
