"""Reading text: the detector marks where it stands, the recogniser reads one line."""

from __future__ import annotations

import itertools

import numpy as np

from tests.models.photos import planes, resize

PAGE = 640
LINE_HEIGHT, LINE_WIDTH = 48, 320
PAGES = {"ocr/ch_en_num.jpg": 18, "ocr/en.jpg": 7, "ocr/ab_test.jpg": 11}
"""Page → how many regions of text the detector marks."""

LINES = {
    "ocr/text_rec.jpg": "韩国小馆",
    "ocr/en_rec.jpg": "To facilitate the shot type analysis in videos, we collect MovieShots, "
    "a large-scale",
}
"""Picture of a line → its text."""


def normalise(picture: np.ndarray) -> np.ndarray:
    """f32[1, 3, H, W] in -1..1, blue first."""
    return planes((picture.astype(np.float32) / 255 - 0.5) / 0.5)


def page_input(page: np.ndarray) -> np.ndarray:
    """f32[1, 3, 640, 640]."""
    return normalise(resize(page, PAGE, PAGE))


def regions(likelihood: np.ndarray) -> np.ndarray:
    """i32[regions, 4]: left, top, right, bottom of the connected regions of text.

    Args:
        likelihood: f32[1, 1, H, W].
    """
    import cv2

    mask = (likelihood[0, 0] > 0.3).astype(np.uint8)
    found = cv2.connectedComponentsWithStats(mask)[2][1:]
    return np.column_stack([found[:, :2], found[:, :2] + found[:, 2:4]])


def pieces(line: np.ndarray) -> list[np.ndarray]:
    """Inputs f32[1, 3, 48, 320] that together show a line, cut between words where it is long."""
    width = int(np.ceil(LINE_HEIGHT * line.shape[1] / line.shape[0]))
    scaled = resize(line, width, LINE_HEIGHT)
    made: list[np.ndarray] = []
    for start, stop in itertools.pairwise(_cuts(scaled)):
        piece = np.zeros((1, 3, LINE_HEIGHT, LINE_WIDTH), np.float32)
        piece[..., : stop - start] = normalise(scaled[:, start:stop])
        made.append(piece)
    return made


def _cuts(line: np.ndarray) -> list[int]:
    """Columns at which to cut so that every piece fits: 0, middles of gaps, the line's width."""
    width = line.shape[1]
    if width <= LINE_WIDTH:
        return [0, width]
    shade = line.astype(np.float32).mean(2)
    # A column between words has no contrast; a gap of 9 columns is wider than those in words.
    blank = np.pad((shade.max(0) - shade.min(0) < 60).astype(np.int8), 1)
    starts, stops = np.nonzero(np.diff(blank) > 0)[0], np.nonzero(np.diff(blank) < 0)[0]
    wide = (stops - starts >= 9) & (starts > 0) & (stops < width)
    gaps = [int(gap) for gap in ((starts + stops) // 2)[wide]]
    cuts = [0]
    for gap, following in zip(gaps, [*gaps[1:], width], strict=True):
        if following - cuts[-1] > LINE_WIDTH:
            cuts.append(gap)
    return [*cuts, width]


def read(likelihood: np.ndarray, alphabet: list[str]) -> str:
    """The text in the recogniser's output: each column names a character or none.

    Args:
        likelihood: f32[1, columns, len(alphabet)].
    """
    best = likelihood[0].argmax(1)
    fresh = np.diff(best, prepend=0) != 0
    return "".join(alphabet[i] for i in best[fresh & (best > 0)])
