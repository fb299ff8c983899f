"""Finding things of many kinds: what YOLO heads mean, and how well they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.models.boxes import overlaps, suppress
from tests.models.photos import planes, resize

Pair = tuple[int, int]

# Names of Pascal VOC that COCO spells otherwise.
_SPELLINGS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


@dataclass(frozen=True)
class Head:
    """One output f32[1, boxes * (5 + classes), rows, columns].

    Attributes:
        anchors: width and height, in pixels of the input, of each box of a cell.
        stretch: how far beyond its cell a box's middle can lie, 1 for not at all.
    """

    output: str
    anchors: tuple[Pair, Pair, Pair]
    stretch: float = 1.0

    def boxes(self, result: np.ndarray, size: int) -> np.ndarray:
        """f32[rows * columns * boxes, 4 + classes]: corners as parts of the picture, and scores."""
        _, channels, rows, columns = result.shape
        count = len(self.anchors)
        cells = result.reshape(count, channels // count, rows, columns).transpose(2, 3, 0, 1)
        with np.errstate(over="ignore"):
            likely = 1 / (1 + np.exp(-cells))
        offset = likely[..., :2] * self.stretch - (self.stretch - 1) / 2
        corner = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1)[:, :, None]
        middle = (offset + corner) / (columns, rows)
        half = np.exp(cells[..., 2:4]) * np.array(self.anchors) / size / 2
        scores = likely[..., 4:5] * likely[..., 5:]
        found = np.concatenate([middle - half, middle + half, scores], -1)
        return found.reshape(-1, found.shape[-1])


@dataclass(frozen=True)
class Detector:
    """A network with YOLO heads.

    Attributes:
        size: pixels of the square input.
        names: file with the names of its classes, below the folder of models.
    """

    network: str
    size: int
    heads: tuple[Head, ...]
    names: str
    input: str = "data"

    def inputs(self, photo: np.ndarray) -> dict[str, np.ndarray]:
        """f32[1, 3, size, size]: red first, 0 ... 1."""
        pixels = resize(photo, self.size, self.size)[:, :, ::-1].astype(np.float32)
        return {self.input: planes(pixels / 255)}

    def found(self, outputs: Mapping[str, np.ndarray], photo: np.ndarray) -> np.ndarray:
        """f32[things, 6]: boxes in pixels of the photo, score, class."""
        pieces = [head.boxes(outputs[head.output], self.size) for head in self.heads]
        rows = np.concatenate(pieces)
        kind, score = rows[:, 4:].argmax(1), rows[:, 4:].max(1)
        sure = score > 0.25
        place = rows[sure, :4] * np.tile(photo.shape[1::-1], 2)
        kind, score = kind[sure], score[sure]
        # Boxes of different kinds do not suppress each other: each kind is moved far away.
        kept = suppress(place + 4000 * kind[:, None], score, 0.45)
        return np.column_stack([place, score, kind])[kept].astype(np.float32)

    def kinds(self, models: Path) -> list[str]:
        """Names of the classes, as COCO spells them."""
        lines = (models / self.names).read_text(encoding="utf-8").splitlines()
        return [_SPELLINGS.get(line.strip(), line.strip()) for line in lines if line.strip()]


def _anchors(*numbers: int) -> tuple[Pair, Pair, Pair]:
    first, second, third = zip(numbers[::2], numbers[1::2], strict=True)
    return (first, second, third)


FASTEST = Detector(
    "yolo_fastest",
    320,
    (
        Head("yolo_121", _anchors(115, 73, 119, 199, 242, 238)),
        Head("yolo_130", _anchors(12, 18, 37, 49, 52, 132)),
    ),
    "darknet/yolo_fastest_1_1/coco.names",
)
NANO = Detector(
    "yolo_nano_voc",
    320,
    (
        Head("yolo_69", _anchors(189, 126, 137, 236, 265, 259), 1.1),
        Head("yolo_79", _anchors(26, 48, 67, 84, 72, 175), 1.05),
    ),
    "darknet/mobilenetv2_yolov3_nano_voc/voc.names",
)


NANO_CAFFE = replace(
    NANO,
    network="caffe_yolo_nano_voc",
    heads=(
        replace(NANO.heads[0], output="layer69-conv"),
        replace(NANO.heads[1], output="layer79-conv"),
    ),
)


def truth(labels: Path, photo: np.ndarray) -> np.ndarray:
    """f32[things, 5]: boxes in pixels and class, from a file of middles and sizes."""
    rows = np.loadtxt(labels, ndmin=2)
    middle, half = rows[:, 1:3], rows[:, 3:5] / 2
    corners = np.concatenate([middle - half, middle + half], 1)
    return np.column_stack([corners * np.tile(photo.shape[1::-1], 2), rows[:, 0]])


def hits(
    found: np.ndarray, wanted: np.ndarray, kinds: Sequence[str], known: Sequence[str]
) -> tuple[int, int, int]:
    """How many found boxes are right, are wrong, and how many there were to find.

    A box is right if it covers, by half, one of its kind that no better box has taken.

    Args:
        kinds, known: names of the classes of *found* and of *wanted*; of the latter only those
            that the network knows count.
    """
    wanted = wanted[[known[int(kind)] in kinds for kind in wanted[:, 4]]]
    free = np.ones(len(wanted), bool)
    right = 0
    for row in found[np.argsort(-found[:, 4], kind="stable")]:
        alike = np.array([known[int(k)] == kinds[int(row[5])] for k in wanted[:, 4]], bool)
        overlap = np.where(free & alike, overlaps(row[:4], wanted[:, :4]), 0)
        if overlap.size and overlap.max() >= 0.5:
            free[overlap.argmax()] = False
            right += 1
    return right, len(found) - right, len(wanted)
