"""The steps of preprocessing: geometry on pixels, then arithmetic on channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import UserError
from nntc.data.resize import MAX_PIXELS, resize

MAX_SIDE = 1 << 14
"""Largest height or width that a step may ask for."""


@dataclass(frozen=True)
class Resize:
    """``resize=256``: the shorter side becomes 256, the other follows; ``resize=480x640``: H x W.

    The other side is ``int(256 * long / short)``, as in torchvision.
    """

    height: int
    width: int = 0

    def __str__(self) -> str:
        return f"resize={self.height}" + (f"x{self.width}" if self.width else "")

    def size(self, height: int, width: int) -> tuple[int, int]:
        if self.width:
            return self.height, self.width
        short = self.height
        if height <= width:
            return short, max(1, int(short * width / height))
        return max(1, int(short * height / width)), short

    def apply(self, pixels: np.ndarray, interpolation: str) -> np.ndarray:
        return resize(pixels, *self.size(*pixels.shape[:2]), interpolation)


@dataclass(frozen=True)
class Letterbox:
    """``letterbox=640x640:114``: fit in, keeping the ratio; the rest has the value 114.

    The picture is in the middle (an odd pixel goes below or to the right); with ``:topleft``
    it is in the corner.
    """

    height: int
    width: int
    fill: float = 0
    topleft: bool = False

    def __str__(self) -> str:
        tail = f":{number(self.fill)}" + (":topleft" if self.topleft else "")
        return f"letterbox={self.height}x{self.width}{tail}"

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self.height, self.width

    def apply(self, pixels: np.ndarray, interpolation: str) -> np.ndarray:
        height, width, channels = pixels.shape
        ratio = min(self.height / height, self.width / width)
        inner = max(1, round(height * ratio)), max(1, round(width * ratio))
        canvas = np.full((self.height, self.width, channels), self.fill, pixels.dtype)
        top = 0 if self.topleft else (self.height - inner[0]) // 2
        left = 0 if self.topleft else (self.width - inner[1]) // 2
        canvas[top : top + inner[0], left : left + inner[1]] = resize(pixels, *inner, interpolation)
        return canvas


@dataclass(frozen=True)
class Crop:
    """``crop=224`` or ``crop=224x320``: the middle; ``crop=0.875``: the middle share of both sides.

    ``crop=square``: the largest square in the middle. Odd margins are rounded towards the top
    left corner.
    """

    height: int = 0
    width: int = 0
    share: float = 0

    def __str__(self) -> str:
        if self.share:
            return f"crop={number(self.share)}"
        return f"crop={self.height}x{self.width}" if self.height else "crop=square"

    def size(self, height: int, width: int) -> tuple[int, int]:
        if self.share:
            return max(1, int(height * self.share)), max(1, int(width * self.share))
        if self.height:
            return self.height, self.width
        return min(height, width), min(height, width)

    def apply(self, pixels: np.ndarray, interpolation: str) -> np.ndarray:
        height, width = pixels.shape[:2]
        inner = self.size(height, width)
        if inner[0] > height or inner[1] > width:
            raise UserError(f"{self} does not fit in {height}x{width} (height x width)")
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        return pixels[top : top + inner[0], left : left + inner[1]]


@dataclass(frozen=True)
class Mean:
    """``mean=123.7:116.3:103.5``: subtracted; one number, or one for every channel of the input."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"mean={numbers(self.values)}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array - np.asarray(self.values, np.float32)


@dataclass(frozen=True)
class Scale:
    """``scale=0.017``: multiplied with."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"scale={numbers(self.values)}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array * np.asarray(self.values, np.float32)


@dataclass(frozen=True)
class Div:
    """``div=255``: divided by."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"div={numbers(self.values)}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array / np.asarray(self.values, np.float32)


Geometry = Resize | Letterbox | Crop
Arithmetic = Mean | Scale | Div
Step = Geometry | Arithmetic


def number(value: float) -> str:
    """Shortest text that parses back to the same number."""
    return repr(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(value)


def numbers(values: Sequence[float]) -> str:
    return ":".join(number(value) for value in values)


def _side(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not 0 < int(text) <= MAX_SIDE:
        raise ValueError(f"{text!r} is no size in pixels from 1 to {MAX_SIDE}")
    return int(text)


def _sides(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2:
        raise ValueError(f"{text!r} is no HEIGHTxWIDTH")
    return _side(parts[0]), _side(parts[1])


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # float32 is what the values are used as.
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise ValueError(f"{text!r} is no number")
    return value


def _floats(text: str) -> tuple[float, ...]:
    values = tuple(_float(part) for part in text.split(":"))
    if len(values) not in (1, 3):
        raise ValueError(f"{len(values)} numbers; one, or one for each of three channels")
    return values


def _parse_resize(text: str) -> Step:
    if "x" in text.lower():
        return Resize(*_sides(text))
    return Resize(_side(text))


def _parse_letterbox(text: str) -> Step:
    size, *rest = text.split(":")
    topleft = bool(rest) and rest[-1] == "topleft"
    rest = rest[:-1] if topleft else rest
    if len(rest) > 1:
        raise ValueError(f"{text!r} is no HEIGHTxWIDTH[:FILL][:topleft]")
    fill = _float(rest[0]) if rest else 0.0
    if not 0 <= fill <= 255:
        raise ValueError(f"fill {number(fill)} is no pixel value from 0 to 255")
    height, width = _sides(size) if "x" in size.lower() else (_side(size), _side(size))
    return Letterbox(height, width, fill, topleft)


def _parse_crop(text: str) -> Step:
    if text == "square":
        return Crop()
    if "x" in text.lower():
        return Crop(*_sides(text))
    if "." in text:
        share = _float(text)
        if not 0 < share <= 1:
            raise ValueError(f"{text!r} is no share of the picture, such as 0.875")
        return Crop(share=share)
    return Crop(_side(text), _side(text))


def _parse_div(text: str) -> Step:
    values = _floats(text)
    if not all(np.float32(value) for value in values):
        raise ValueError("division by zero")
    return Div(values)


PARSERS: dict[str, Callable[[str], Step]] = {
    "resize": _parse_resize,
    "letterbox": _parse_letterbox,
    "crop": _parse_crop,
    "mean": lambda text: Mean(_floats(text)),
    "scale": lambda text: Scale(_floats(text)),
    "div": _parse_div,
}
"""Reader of each step's value; raises ValueError with what is wrong."""

__all__ = ["MAX_PIXELS", "MAX_SIDE", "PARSERS", "Arithmetic", "Crop", "Div", "Geometry"]
__all__ += ["Letterbox", "Mean", "Resize", "Scale", "Step", "number", "numbers"]
