"""Reading text with PP-OCRv4: what goes into its two networks and what their outputs mean.

The detector gives, for each pixel of a page, how likely it belongs to a line of text. The
recogniser takes the picture of one line and gives, for each of its columns, how likely each
character of its alphabet is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

PAGE_HEIGHT, PAGE_WIDTH = 320, 640
LINE_HEIGHT, LINE_WIDTH = 48, 800

TEXT_LEVEL = 0.3
"""A pixel with more belongs to text."""

BOX_LEVEL = 0.5
"""A region with less on average is no text."""

SMALLEST_REGION = 30
"""In pixels."""

GROWTH = 1.6
"""The detector marks the core of a line: its box is grown by this part of area / circumference."""


@dataclass(frozen=True)
class Box:
    """Pixels of a line of text in the page: left, top, right, bottom (exclusive)."""

    left: int
    top: int
    right: int
    bottom: int


def normalise(picture: Image.Image) -> np.ndarray:
    """float32[3, H, W] in -1..1, blue first: what both networks were trained with."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)[..., ::-1]
    return (pixels / 127.5 - 1).transpose(2, 0, 1)


def fit_page(picture: Image.Image) -> Image.Image:
    """The picture scaled into the upper left of a white page of the detector's size."""
    scale = min(PAGE_HEIGHT / picture.height, PAGE_WIDTH / picture.width)
    size = (round(picture.width * scale), round(picture.height * scale))
    page = Image.new("RGB", (PAGE_WIDTH, PAGE_HEIGHT), "white")
    page.paste(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return page


def label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected regions of a mask (8 neighbours).

    Returns:
        int32[H, W] with 0 outside and 1, 2, … in the regions, and how many there are.
    """
    labels = np.arange(1, mask.size + 1, dtype=np.int64).reshape(mask.shape) * mask
    while True:
        padded = np.pad(labels, 1)
        height, width = mask.shape
        around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        spread = np.max(around, axis=0) * mask
        if np.array_equal(spread, labels):
            break
        labels = spread
    numbers, flat = np.unique(labels, return_inverse=True)
    has_background = int(numbers[0] == 0)
    return flat.reshape(mask.shape) + 1 - has_background, len(numbers) - has_background


def find_boxes(likelihood: np.ndarray) -> list[Box]:
    """Boxes of the lines of text, from top to bottom.

    Args:
        likelihood: float32[H, W], the detector's output.
    """
    labels, count = label(likelihood > TEXT_LEVEL)
    height, width = likelihood.shape
    boxes: list[Box] = []
    for number in range(1, count + 1):
        region = labels == number
        if region.sum() < SMALLEST_REGION or likelihood[region].mean() < BOX_LEVEL:
            continue
        rows, columns = np.nonzero(region.any(axis=1))[0], np.nonzero(region.any(axis=0))[0]
        tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        margin = round(GROWTH * region.sum() / (2 * (tall + wide)))
        boxes.append(
            Box(
                int(max(columns[0] - margin, 0)),
                int(max(rows[0] - margin, 0)),
                int(min(columns[-1] + 1 + margin, width)),
                int(min(rows[-1] + 1 + margin, height)),
            )
        )
    return sorted(boxes, key=lambda box: (box.top, box.left))


def fit_line(page: Image.Image, box: Box) -> np.ndarray:
    """float32[1, 3, 48, W]: the line at the recogniser's height, padded to its width."""
    line = page.crop((box.left, box.top, box.right, box.bottom))
    width = min(LINE_WIDTH, round(LINE_HEIGHT * line.width / line.height))
    array = np.zeros((1, 3, LINE_HEIGHT, LINE_WIDTH), np.float32)
    array[0, :, :, :width] = normalise(line.resize((width, LINE_HEIGHT), Image.Resampling.BICUBIC))
    return array


def read_characters(likelihood: np.ndarray, alphabet: list[str]) -> tuple[str, float]:
    """Text and mean certainty from the recogniser's output.

    Each column names a character or none (0); a character repeated without a gap is one.

    Args:
        likelihood: float32[columns, len(alphabet)].
    """
    best = likelihood.argmax(axis=1)
    fresh = np.diff(best, prepend=0) != 0
    kept = np.nonzero((best > 0) & fresh)[0]
    if not kept.size:
        return "", 0.0
    certainty = float(likelihood[kept, best[kept]].mean())
    return "".join(alphabet[best[i]] for i in kept), certainty
