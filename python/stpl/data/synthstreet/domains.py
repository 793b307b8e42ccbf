"""The looks of a street: light, weather and camera. No number here moves anything; geometry never reads a domain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .dice import Dice

Colour = tuple[float, float, float]
Span = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """Ranges from which each sequence draws its look.

    Light and colour are linear RGB; white paint in plain daylight is about 1.
    """

    ambient: Colour  # light of the sky
    ambient_gain: Span
    sun: Colour
    sun_gain: Span
    zenith: Colour
    horizon: Colour
    sky_gain: Span
    clouds: Span  # cover 0 .. 1
    exposure: Span
    contrast: Span  # slope of the tone curve's straight part
    gamma: Span  # display value = linear ** (1 / gamma)
    veil: Span  # stray light added everywhere, display units 0 .. 1
    saturation: Span
    tint: Colour  # gain of the channels
    tint_spread: float
    noise: Span  # standard deviation, 8-bit steps
    blur: Span  # weight of each neighbour in the lens' 3-tap kernel, 0 .. 0.33
    visibility: Span  # metres at which fog leaves 1/e
    fog_colour: Colour
    wet: Span = (0.0, 0.0)
    snow: Span = (0.0, 0.0)
    lit: Span = (0.0, 0.05)  # share of lit windows
    lamps: Span = (0.0, 0.1)  # strength of lamps (street, cars)
    headlights: Span = (0.0, 0.0)
    flakes: int = 0  # snow flakes a 320x240 picture
    streaks: int = 0  # rain streaks a 320x240 picture


@dataclass(frozen=True)
class Look:
    """What one sequence drew from its domain."""

    ambient: Colour
    sun: Colour
    zenith: Colour
    horizon: Colour
    fog: Colour
    clouds: float
    exposure: float
    contrast: float
    gamma: float
    veil: float
    saturation: float
    tint: Colour
    noise: float
    blur: float
    visibility: float
    wet: float
    snow: float
    lit: float
    lamps: float
    headlights: float
    flakes: int
    streaks: int

    def without_camera(self) -> Look:
        """The same light without what a picture adds to the scene: lens blur, noise, falling weather, reflections."""
        return replace(self, noise=0.0, blur=0.0, wet=0.0, flakes=0, streaks=0)


DOMAINS: dict[str, Domain] = {
    "day": Domain(
        ambient=(0.60, 0.63, 0.68), ambient_gain=(0.7, 1.1), sun=(1.35, 1.25, 1.05), sun_gain=(0.1, 1.1),
        zenith=(0.42, 0.58, 0.9), horizon=(1.1, 1.12, 1.15), sky_gain=(0.75, 1.25), clouds=(0.1, 1.0),
        exposure=(0.65, 1.2), contrast=(0.95, 1.15), gamma=(1.9, 2.3), veil=(0.0, 0.04), saturation=(0.65, 1.1),
        tint=(1.0, 1.0, 1.0), tint_spread=0.06, noise=(1.5, 3.5), blur=(0.06, 0.16), visibility=(350, 1500),
        fog_colour=(0.9, 0.95, 1.0),
    ),
    "dusk": Domain(
        ambient=(0.15, 0.145, 0.17), ambient_gain=(0.6, 1.4), sun=(0.16, 0.09, 0.045), sun_gain=(0.0, 0.8),
        zenith=(0.36, 0.42, 0.58), horizon=(1.05, 0.9, 0.75), sky_gain=(0.65, 1.2), clouds=(0.1, 0.9),
        exposure=(0.8, 1.3), contrast=(0.8, 0.95), gamma=(1.7, 2.0), veil=(0.015, 0.06), saturation=(0.45, 0.8),
        tint=(1.04, 0.97, 1.0), tint_spread=0.06, noise=(3.0, 6.5), blur=(0.16, 0.25), visibility=(200, 700),
        fog_colour=(0.34, 0.31, 0.31), lit=(0.08, 0.3), lamps=(0.2, 0.6), headlights=(0.0, 0.12),
    ),
    "fog": Domain(
        ambient=(0.72, 0.74, 0.76), ambient_gain=(0.65, 1.0), sun=(0.1, 0.1, 0.1), sun_gain=(0.0, 0.5),
        zenith=(0.62, 0.64, 0.67), horizon=(0.68, 0.7, 0.72), sky_gain=(0.85, 1.1), clouds=(0.8, 1.0),
        exposure=(0.7, 1.1), contrast=(0.85, 1.0), gamma=(1.9, 2.2), veil=(0.02, 0.06), saturation=(0.4, 0.75),
        tint=(0.99, 1.0, 1.02), tint_spread=0.05, noise=(2.0, 5.0), blur=(0.14, 0.24), visibility=(20, 60),
        fog_colour=(0.62, 0.64, 0.66), lit=(0.0, 0.2), lamps=(0.1, 0.4),
    ),
    "night": Domain(
        ambient=(0.034, 0.032, 0.038), ambient_gain=(0.6, 1.6), sun=(0.0, 0.0, 0.0), sun_gain=(0.0, 0.0),
        zenith=(0.008, 0.009, 0.014), horizon=(0.075, 0.058, 0.045), sky_gain=(0.6, 1.6), clouds=(0.2, 0.9),
        exposure=(1.0, 1.7), contrast=(0.85, 1.05), gamma=(1.7, 2.0), veil=(0.005, 0.04), saturation=(0.5, 0.85),
        tint=(1.06, 0.98, 0.92), tint_spread=0.08, noise=(5.0, 10.0), blur=(0.16, 0.27), visibility=(120, 500),
        fog_colour=(0.03, 0.026, 0.025), lit=(0.15, 0.45), lamps=(0.7, 1.3), headlights=(0.35, 0.8),
    ),
    "rain": Domain(
        ambient=(0.40, 0.43, 0.47), ambient_gain=(0.6, 1.1), sun=(0.1, 0.1, 0.1), sun_gain=(0.0, 0.3),
        zenith=(0.42, 0.45, 0.5), horizon=(0.66, 0.69, 0.73), sky_gain=(0.7, 1.1), clouds=(0.7, 1.0),
        exposure=(0.7, 1.15), contrast=(0.85, 1.05), gamma=(1.8, 2.1), veil=(0.02, 0.07), saturation=(0.4, 0.75),
        tint=(0.97, 1.0, 1.04), tint_spread=0.06, noise=(3.0, 6.5), blur=(0.16, 0.27), visibility=(70, 200),
        fog_colour=(0.5, 0.53, 0.57), wet=(0.45, 0.85), lit=(0.05, 0.25), lamps=(0.2, 0.6), headlights=(0.0, 0.05),
        streaks=170,
    ),
    "snow": Domain(
        ambient=(0.66, 0.7, 0.77), ambient_gain=(0.6, 1.05), sun=(0.2, 0.2, 0.2), sun_gain=(0.0, 0.6),
        zenith=(0.66, 0.69, 0.74), horizon=(0.78, 0.81, 0.86), sky_gain=(0.8, 1.15), clouds=(0.7, 1.0),
        exposure=(0.65, 1.05), contrast=(0.9, 1.05), gamma=(1.9, 2.2), veil=(0.02, 0.06), saturation=(0.45, 0.8),
        tint=(0.98, 1.0, 1.04), tint_spread=0.06, noise=(2.5, 5.5), blur=(0.12, 0.22), visibility=(60, 180),
        fog_colour=(0.72, 0.75, 0.8), wet=(0.0, 0.25), snow=(0.55, 1.0), lit=(0.0, 0.2), lamps=(0.1, 0.4), flakes=260,
    ),
}  # fmt: skip


def draw_look(name: str, seed: int, sequence: int) -> Look:
    """The look of one sequence in the named domain; the draws of different domains have nothing in common."""
    domain = DOMAINS[name]
    dice = Dice(seed, sequence, 50 + list(DOMAINS).index(name))

    def draw(span: Span) -> float:
        return dice.uniform(*span)

    def scaled(colour: Colour, gain: float) -> Colour:
        r, g, b = colour
        return r * gain, g * gain, b * gain

    sky = draw(domain.sky_gain)
    tint = tuple(t * (1 + domain.tint_spread * dice.uniform(-1, 1)) for t in domain.tint)
    return Look(
        ambient=scaled(domain.ambient, draw(domain.ambient_gain)),
        sun=scaled(domain.sun, draw(domain.sun_gain)),
        zenith=scaled(domain.zenith, sky),
        horizon=scaled(domain.horizon, sky),
        fog=scaled(domain.fog_colour, sky),
        clouds=draw(domain.clouds),
        exposure=draw(domain.exposure),
        contrast=draw(domain.contrast),
        gamma=draw(domain.gamma),
        veil=draw(domain.veil),
        saturation=draw(domain.saturation),
        tint=(tint[0], tint[1], tint[2]),
        noise=draw(domain.noise),
        blur=draw(domain.blur),
        visibility=draw(domain.visibility),
        wet=draw(domain.wet),
        snow=draw(domain.snow),
        lit=draw(domain.lit),
        lamps=draw(domain.lamps),
        headlights=draw(domain.headlights),
        flakes=domain.flakes,
        streaks=domain.streaks,
    )
