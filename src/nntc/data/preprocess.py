"""What happens to a picture before the network sees it, as a value that prints and parses."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nntc.core.errors import Problems, UserError
from nntc.core.files import read_bytes
from nntc.data import steps as s
from nntc.data.decode import decode_picture
from nntc.data.resize import INTERPOLATIONS

_CHOICES: dict[str, tuple[str, ...]] = {
    "order": ("rgb", "bgr", "gray"),
    "layout": ("nchw", "nhwc"),
    "interpolation": INTERPOLATIONS,
    "exif": ("ignore", "apply"),
}
_KEYS = (*s.PARSERS, *_CHOICES)

EXAMPLE = "resize=256,crop=224,mean=123.7:116.3:103.5,scale=0.017,order=rgb,layout=nchw"


@dataclass(frozen=True)
class Preprocess:
    """Geometry, then arithmetic, each in the order given.

    Attributes:
        steps: what is done; geometry before arithmetic. Numbers for each channel are in the
            order of the network's channels, after *order*.
        order: of the channels: "rgb", "bgr", "gray" (one channel), or "": rgb for pictures; for
            stored arrays of three channels it has to be said.
        layout: "nchw" or "nhwc".
        interpolation: of every resize and letterbox: Pillow's filters "bilinear" (the default),
            "bicubic", "lanczos", "box", "nearest", or "cv2" (OpenCV's bilinear).
        exif: "ignore" or "apply" the orientation noted in a photo. Ignored by torchvision and
            TensorFlow and by default; followed by ``cv2.imread``.

    Raises:
        UserError: a rule is broken; names all.
    """

    steps: tuple[s.Step, ...] = ()
    order: str = ""
    layout: str = "nchw"
    interpolation: str = "bilinear"
    exif: str = "ignore"

    def __post_init__(self) -> None:
        problems = Problems()
        for key, choices in _CHOICES.items():
            value = getattr(self, key)
            if value not in choices and not (key == "order" and not value):
                problems.add(_choice(key, value))
        arithmetic: s.Step | None = None
        for step in self.steps:
            if isinstance(step, s.Arithmetic):
                arithmetic = step
            elif arithmetic is not None:
                problems.add(f"preprocess: {step} stands after {arithmetic}; sizes come first")
            values = step.values if isinstance(step, s.Arithmetic) else ()
            if self.order == "gray" and len(values) > 1:
                problems.add(f"preprocess: {step}: {len(values)} numbers, order=gray has 1 channel")
        problems.raise_if_any()

    def __str__(self) -> str:
        """The text form, complete: parsing it gives an equal value."""
        parts = [str(step) for step in self.steps]
        parts += [f"order={self.order}"] if self.order else []
        parts += [f"layout={self.layout}", f"interpolation={self.interpolation}"]
        parts += [f"exif={self.exif}"] if self.exif != "ignore" else []
        return ",".join(parts)

    @staticmethod
    def parse(text: str) -> Preprocess:
        """From ``key=value`` pairs separated by commas, such as EXAMPLE; spaces do not matter.

        Raises:
            UserError: names every fault.
        """
        pairs: list[tuple[str, str]] = []
        problems = Problems()
        for part in "".join(text.split()).split(","):
            key, equals, value = part.partition("=")
            if equals:
                pairs.append((key.lower(), value))
            elif part:
                problems.add(f"preprocess: {part!r} is no key=value")
        if not pairs and not len(problems):
            problems.add(f"preprocess: empty; write for example {EXAMPLE!r}")
        return _from_pairs(pairs, problems)

    @staticmethod
    def parse_file(path: str | os.PathLike[str]) -> Preprocess:
        """From a JSON file, or one that holds the text form.

        JSON: an object with the keys of the text form, in the order of the steps (a key may come
        twice), or a list of such objects; a list of numbers stands for ``a:b:c`` and, for sizes,
        ``HxW``.

        Raises:
            UserError: not readable, or names every fault.
        """
        try:
            text = read_bytes(path).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{path}: is not UTF-8 text") from None
        if text.lstrip()[:1] not in ("{", "["):
            return Preprocess.parse(",".join(text.splitlines()))
        problems = Problems()
        try:
            found = json.loads(text, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as err:
            raise UserError(f"{path}: damaged JSON: {err}") from None
        pairs: list[tuple[str, str]] = []
        for item in [found] if isinstance(found, _Pairs) else found:
            if not isinstance(item, _Pairs):
                problems.add(f"{path}: {item!r} is no object with keys such as 'resize'")
                continue
            pairs += [(key, _json_text(key, value)) for key, value in item]
        return _from_pairs(pairs, problems)

    @staticmethod
    def of(value: Preprocess | str | os.PathLike[str]) -> Preprocess:
        """*value* itself, the text form parsed, or a file (a path, or text that ends in .json)."""
        if isinstance(value, Preprocess):
            return value
        if isinstance(value, os.PathLike) or value.lower().endswith(".json"):
            return Preprocess.parse_file(value)
        return Preprocess.parse(value)

    @property
    def geometry(self) -> tuple[s.Geometry, ...]:
        return tuple(step for step in self.steps if isinstance(step, s.Geometry))

    def problems(self, name: str, shape: Sequence[int]) -> list[str]:
        """Why pictures treated so can never fit input *name* of *shape*; empty if they may.

        Args:
            shape: [N, C, H, W] or [N, H, W, C] by the layout; N does not matter.
        """
        where = f"input {name} of shape {list(shape)}"
        if len(shape) != 4:
            return [f"{where}: is no picture; {self.layout} needs 4 dimensions"]
        nchw = self.layout == "nchw"
        channels, *size = shape[1:] if nchw else (shape[3], *shape[1:3])
        wanted = 1 if self.order == "gray" else 3
        found: list[str] = []
        if channels != wanted:
            found.append(
                f"{where}: layout={self.layout} makes that {channels} channels, "
                f"order={self.order or 'rgb'} gives {wanted}"
            )
        last = self.geometry[-1:]
        for step in last:
            # The last step alone fixes the size, unless it is one of "so much of what comes".
            fixed = {step.size(97, 1009), step.size(1009, 97), step.size(53, 59)}
            if len(fixed) == 1 and fixed != {tuple(size)}:
                given = "x".join(map(str, fixed.pop()))
                found.append(f"{where}: preprocessing ends with {step}, which gives {given}")
        return found

    def picture(self, data: bytes) -> np.ndarray:
        """A picture file's bytes as f32[1, C, H, W] or f32[1, H, W, C].

        Raises:
            CorruptSampleError: not a picture, or damaged.
            UserError: a step cannot be done on this picture.
        """
        return self.apply(decode_picture(data, self.order or "rgb", self.exif == "apply"))

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [H, W, C] (uint8 or float32, channels already in order) as the input's array."""
        for step in self.geometry:
            pixels = step.apply(pixels, self.interpolation)
        array = pixels.astype(np.float32)
        for step in self.steps:
            if isinstance(step, s.Arithmetic):
                array = step.apply(array)
        if self.layout == "nchw":
            array = array.transpose(2, 0, 1)
        return np.ascontiguousarray(array[None], np.float32)


class _Pairs(list):
    """A JSON object with its keys in order, repeated ones too."""


def _json_text(key: str, value: Any) -> str:
    if isinstance(value, list):
        sign = "x" if key in ("resize", "crop", "letterbox") else ":"
        return sign.join(_json_text("", item) for item in value)
    if isinstance(value, float):
        return repr(value)
    return str(value)


def _choice(key: str, value: str) -> str:
    return f"preprocess: {key}={value}: choose from {', '.join(_CHOICES[key])}"


def _from_pairs(pairs: Sequence[tuple[str, str]], problems: Problems) -> Preprocess:
    found: list[s.Step] = []
    chosen: dict[str, str] = {}
    for key, value in pairs:
        if key in s.PARSERS:
            try:
                found.append(s.PARSERS[key](value))
            except ValueError as err:
                problems.add(f"preprocess: {key}={value}: {err}")
        elif key in _CHOICES:
            lower = value.lower()
            if key in chosen:
                problems.add(f"preprocess: {key} is given twice: {chosen[key]} and {value}")
            if lower not in _CHOICES[key]:
                problems.add(_choice(key, value))
            else:
                chosen[key] = lower
        else:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_KEYS)}"
            problems.add(f"preprocess: unknown key {key!r}; {hint}")
    result = None
    with problems.collect():
        result = Preprocess(tuple(found), **chosen)
    problems.raise_if_any()
    assert result is not None
    return result
