"""`synthstreet` as a data set: endless labelled street video with exact flow, made on demand."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stpl.data.classes import ClassSet
from stpl.data.dataset import Flow, FrameId, Image, LabelMap, VideoDataset
from stpl.errors import UserError, unknown_name

from .dice import Dice
from .domains import DOMAINS, draw_look
from .film import Film
from .geometry import Scene, Snapshot, backward_flow, hidden_before
from .shading import Shader

CLASSES = ClassSet(
    names=(
        "sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    colors=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
"""CamVid's eleven classes in their usual order, with its colours."""

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Options:
    """What a `synthstreet:?…` spec may set.

    domain: the look, one of `DOMAINS`. seed: of the streets and of everything drawn. sequences: how many streets.
    frames: of each street. size: (height, width) in pixels. fps: frames a second. start: the first street's number, so
    that `start=4` goes on where four sequences ended. clean: no sensor noise, falling snow or rain, reflections or
    lens blur (for checks of the flow).
    """

    domain: str = "day"
    seed: int = 0
    sequences: int = 4
    frames: int = 50
    size: tuple[int, int] = (240, 320)
    fps: float = 15.0
    start: int = 0
    clean: bool = False

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise unknown_name("domain", self.domain, DOMAINS)
        for name in ("sequences", "frames"):
            if not 1 <= getattr(self, name) <= _LARGEST:
                raise UserError(f"synthstreet: expected {name} from 1 to {_LARGEST}, found {getattr(self, name)}")
        for name in ("seed", "start"):
            if not 0 <= getattr(self, name) <= _LARGEST:
                raise UserError(f"synthstreet: expected {name} from 0 to {_LARGEST}, found {getattr(self, name)}")
        if not all(8 <= side <= 4096 for side in self.size):
            raise UserError(f"synthstreet: expected sides from 8 to 4096, found {self.size[0]}x{self.size[1]}")
        if not 0.1 <= self.fps <= 1000:
            raise UserError(f"synthstreet: expected fps from 0.1 to 1000, found {self.fps}")


class SynthStreet(VideoDataset):
    """Generated street video. Frames can be asked for in any order; the same options give the same bytes.

    Label and flow depend on seed, sequence and time alone, never on the domain.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._open(options or Options())

    def _open(self, options: Options) -> None:
        self.options = options
        self.name = f"synthstreet-{self.options.domain}"
        self.classes: ClassSet | None = CLASSES
        numbers = range(self.options.start, self.options.start + self.options.sequences)
        self.sequences = [f"street_{number:04d}" for number in numbers]
        self.fps = self.options.fps
        self._scene = lru_cache(maxsize=256)(self._make_scene)
        self._look = lru_cache(maxsize=256)(self._make_look)
        self._snapshot = lru_cache(maxsize=4)(self._make_snapshot)

    @classmethod
    def from_query(cls, query: dict[str, str]) -> SynthStreet:
        """Opens what the part after `synthstreet:?` says.

        Raises UserError for an unknown key or domain (naming the nearest right one) and for a value out of range.
        """
        keys = [field.name for field in fields(Options)]
        for key in query:
            if key not in keys:
                raise unknown_name("key of format synthstreet", key, keys)
        return cls(Options(**{key: _PARSERS[key](key, value) for key, value in query.items()}))

    def __getstate__(self) -> Options:
        return self.options

    def __setstate__(self, options: Options) -> None:
        self._open(options)

    def __len__(self) -> int:
        return self.options.sequences * self.options.frames

    def frame_id(self, index: int) -> FrameId:
        sequence, frame = self._locate(index)
        return FrameId(self.sequences[sequence - self.options.start], f"{frame:06d}", frame)

    def labelled(self) -> list[int]:
        return list(range(len(self)))

    def frame(self, index: int) -> Image:
        sequence, number = self._locate(index)
        shader, film = self._look(sequence)
        snapshot = self._snapshot(sequence, number)
        key = list(DOMAINS).index(self.options.domain)
        return film.develop(shader(snapshot), snapshot, Dice(self.options.seed, sequence, 60 + key, number))

    def label(self, index: int) -> LabelMap:
        return np.array(self._snapshot(*self._locate(index)).label)

    def exact_flow(self, index: int) -> Flow | None:
        if self.previous(index) is None:
            return None
        return self._motion(index)[0]

    def occlusion(self, index: int) -> NDArray[np.bool_] | None:
        """(H, W): true where what a pixel shows was hidden or outside in the frame before; None for a first frame.

        There the flow is still that of the surface, but the frame before shows something else at its end.
        """
        if self.previous(index) is None:
            return None
        flow, nearness = self._motion(index)
        sequence, number = self._locate(index)
        now = self._snapshot(sequence, number)
        height, width = self.options.size
        before = self._scene(sequence).snapshot(self._time(number - 1), self._time(number), width, height)
        return hidden_before(now, before, flow, nearness)

    def _motion(self, index: int) -> tuple[Flow, NDArray[np.float32]]:
        sequence, number = self._locate(index)
        scene, (height, width) = self._scene(sequence), self.options.size
        earlier, now = self._time(number - 1), self._time(number)
        before = scene.view(earlier, now, width, height)
        return backward_flow(self._snapshot(sequence, number), before, scene.quads(earlier, now))

    def _locate(self, index: int) -> tuple[int, int]:
        """(number of the sequence, frame in it)."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a frame from 0 to {len(self) - 1}, found {index}")
        sequence, frame = divmod(int(index), self.options.frames)
        return sequence + self.options.start, frame

    def _time(self, frame: int) -> float:
        return frame / self.options.fps

    def _make_scene(self, sequence: int) -> Scene:
        return Scene(self.options.seed, sequence)

    def _make_look(self, sequence: int) -> tuple[Shader, Film]:
        look = draw_look(self.options.domain, self.options.seed, sequence)
        if self.options.clean:
            look = look.without_camera()
        return Shader(self._scene(sequence).plan, look), Film(look)

    def _make_snapshot(self, sequence: int, frame: int) -> Snapshot:
        height, width = self.options.size
        return self._scene(sequence).snapshot(self._time(frame), self._time(frame), width, height)


def _integer(key: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise UserError(f"synthstreet: expected a whole number for '{key}', found '{text}'")
    return int(text)


def _number(key: str, text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text):
        raise UserError(f"synthstreet: expected a number for '{key}', found '{text}'")
    return float(text)


def _size(key: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match:
        raise UserError(f"synthstreet: expected HEIGHTxWIDTH for '{key}', found '{text}'")
    return int(match[1]), int(match[2])


def _flag(key: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise UserError(f"synthstreet: expected 0 or 1 for '{key}', found '{text}'")
    return text == "1"


_PARSERS = {
    "domain": lambda _key, text: text,
    "seed": _integer,
    "sequences": _integer,
    "frames": _integer,
    "size": _size,
    "fps": _number,
    "start": _integer,
    "clean": _flag,
}
