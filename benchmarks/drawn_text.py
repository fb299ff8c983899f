"""Pictures of text, drawn at random: what networks that read are calibrated on."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tests.models.photos import resize

TEXT = (
    "The quick brown fox jumps over the lazy dog while seventeen tired engineers measure how many "
    "integers fit into a small box of silicon; prices rise by 12.5% (about $3,480) each winter, "
    "OPEN DAILY 9-18 EXIT NO PARKING Platform 24 invoice #90317 Total: 67.90 EUR Gate B52 "
    "www.example.org user@example.com 2024/06/30 Tel. +49 30 1234567 network layer tensor "
    "Quality facade naive senor Zurich and, of course, question marks? Yes! [sic] A&B = C/D"
)
WORDS = TEXT.split()

HERSHEY = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)


def sentence(rng: np.random.Generator, words: int) -> str:
    """Words in a row from a random place of the text."""
    start = int(rng.integers(len(WORDS)))
    return " ".join((WORDS * 2)[start : start + words])


def _colours(rng: np.random.Generator, backdrop: float) -> tuple[int, ...]:
    """A colour that stands out from a backdrop of that brightness."""
    low, high = (0, 110) if backdrop > 127 else (150, 256)
    return tuple(int(value) for value in rng.integers(low, high, 3))


def _write(
    rng: np.random.Generator, canvas: np.ndarray, words: str, place: tuple[int, int], size: int
) -> np.ndarray:
    """The canvas with words at a place (left, top), *size* pixels high."""
    x, y = place
    under = canvas[max(0, y) : y + size, max(0, x) :]
    colour = _colours(rng, float(under.mean()) if under.size else 255.0)
    if rng.random() < 0.3:
        plain = words.encode("ascii", "ignore").decode()
        font = HERSHEY[int(rng.integers(len(HERSHEY)))]
        drawn = canvas.copy()
        thickness = 1 + size // 24
        where = (x, y + int(size * 0.8))
        cv2.putText(drawn, plain, where, font, size / 30, colour, thickness, cv2.LINE_AA)
        return drawn
    image = Image.fromarray(canvas)
    font = ImageFont.load_default(size)
    weight = int(rng.random() < 0.25) * max(1, size // 24)
    ImageDraw.Draw(image).text((x, y), words, fill=colour, font=font, stroke_width=weight)
    return np.asarray(image)


def _backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """White, a light or dark colour, or a slope between two colours."""
    kind = rng.random()
    if kind < 0.4:
        return np.full((height, width, 3), 255, np.uint8)
    first = rng.integers(0, 256, 3)
    if kind < 0.7:
        return np.broadcast_to(first, (height, width, 3)).astype(np.uint8)
    near = np.clip(first + rng.integers(-60, 61, 3), 0, 255)
    slope = np.linspace(0, 1, width)[None, :, None]
    return np.broadcast_to(first * (1 - slope) + near * slope, (height, width, 3)).astype(np.uint8)


def _worn(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Sometimes blurred, noisy, or compressed."""
    kind = rng.random()
    if kind < 0.2:
        return cv2.GaussianBlur(picture, (3, 3), 0)
    if kind < 0.35:
        noise = rng.normal(0, 8, picture.shape)
        return np.clip(picture + noise, 0, 255).astype(np.uint8)
    if kind < 0.6:
        packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        unpacked = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        assert unpacked is not None
        return unpacked
    return picture


def page_of_text(rng: np.random.Generator, background: np.ndarray | None) -> np.ndarray:
    """u8[H, W, 3]: a page of any format: paragraphs, a table, or a poster of large words."""
    width = int(rng.integers(320, 1100))
    height = int(np.clip(width * rng.uniform(0.2, 1.4), 120, 1100))
    if background is None:
        page = _backdrop(rng, height, width)
    else:
        page = resize(background, width, height)
    kind = rng.random()
    if kind < 0.4:
        size, y = int(rng.integers(13, 30)), 8
        while y + size < height:
            heading = 1.0 if rng.random() < 0.8 else 1.6
            page = _write(rng, page, sentence(rng, width // size), (8, y), int(size * heading))
            y += int(size * heading * rng.choice([1.3, 1.6, 2.6]))
    elif kind < 0.65:
        columns, rows = int(rng.integers(2, 6)), int(rng.integers(2, 9))
        for row in range(rows):
            y = row * height // rows
            page = page.copy()
            cv2.line(page, (0, y), (width, y), (128, 128, 128), 1)
            for column in range(columns):
                size = int(np.clip(height / rows * 0.45, 10, 34))
                at = (column * width // columns + 6, y + 6)
                page = _write(rng, page, sentence(rng, 1), at, size)
    else:
        for _ in range(int(rng.integers(3, 14))):
            size = int(rng.integers(14, max(16, min(120, height // 3))))
            at = int(rng.integers(0, width * 2 // 3)), int(rng.integers(0, max(1, height - size)))
            page = _write(rng, page, sentence(rng, int(rng.integers(1, 4))), at, size)
    return _worn(rng, page)


def line_of_text(rng: np.random.Generator, background: np.ndarray | None) -> np.ndarray:
    """u8[H, W, 3]: one line of up to five words, little more than it around it."""
    size = int(rng.integers(16, 72))
    words = sentence(rng, int(rng.integers(1, 6)))
    width = int(size * (0.62 * len(words) + rng.uniform(0.1, 1.0)))
    height = int(size * rng.uniform(1.2, 1.5))
    if background is None:
        canvas = _backdrop(rng, height, width)
    else:
        top = int(rng.integers(0, max(1, background.shape[0] - height)))
        strip = background[top : top + height]
        canvas = resize(strip, width, height)
    place = int(size * rng.uniform(0.05, 0.2)), int((height - size) * rng.uniform(0, 0.6))
    return _worn(rng, _write(rng, canvas, words, place, size))
