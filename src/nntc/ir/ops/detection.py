"""Detection heads of Caffe: boxes of SSD, and pooling of regions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nntc.ir.graph import Op, TensorType
from nntc.ir.ops import _detect
from nntc.ir.ops._numeric import as_type, ieee, lowest, working
from nntc.ir.ops._rules import FLOAT, need, need_at_least, require, same_dtype


@dataclass(frozen=True)
class DetectionOutput(Op):
    """Boxes of an SSD network: decoded, without those that overlap a better one of their class.

    Operands, float: locations [N, P*4], scores [N, P*classes], priors [1, 2, P*4] (corners
    x1, y1, x2, y2 of the prior boxes, then their variances). Result [1, 1, R, 7]: rows (image,
    class, score, x1, y1, x2, y2), by image and class, in a class by falling score; if nothing is
    found one row (image, -1, ...) for each image; then rows of -1 up to the static size
    R = N * keep_top_k, or all that *top_k* allows.
    Attributes: background: class that is left out, -1 for none; confidence: only scores above it
    count; top_k: candidates of a class, keep_top_k: boxes of an image, -1 for all; nms_threshold,
    eta: largest overlap, multiplied by eta after each box while above 1/2; code: what locations
    are relative to; variance_in_target: locations are multiplied by the variances already.
    """

    unbounded: ClassVar[tuple[str, ...]] = ("confidence",)

    classes: int
    background: int = 0
    nms_threshold: float = 0.3
    top_k: int = -1
    keep_top_k: int = -1
    confidence: float = -math.inf
    code: Literal["corner", "center_size", "corner_size"] = "corner"
    variance_in_target: bool = False
    eta: float = 1.0

    def infer(
        self, locations: TensorType, scores: TensorType, priors: TensorType
    ) -> tuple[TensorType, ...]:
        need("locations", locations, FLOAT, rank=2)
        need("scores", scores, FLOAT, rank=2)
        need("priors", priors, FLOAT, rank=3)
        same_dtype(locations=locations, scores=scores, priors=priors)
        images, numbers = locations.shape
        require(images >= 1, "locations are of no image")
        require(self.classes >= 1, f"classes is {self.classes}, at least 1 is needed")
        require(
            priors.shape == (1, 2, numbers) and numbers % 4 == 0,
            f"locations are {locations.shape}, priors of shape {priors.shape} do not fit",
        )
        wanted = (images, numbers // 4 * self.classes)
        require(scores.shape == wanted, f"scores are {scores.shape}, {wanted} is needed")
        require(self.top_k >= -1, f"top_k is {self.top_k}, below -1")
        require(self.keep_top_k >= -1, f"keep_top_k is {self.keep_top_k}, below -1")
        require(0 < self.eta <= 1, f"eta is {self.eta}, it must lie in 0 ... 1")
        each = numbers // 4 if self.top_k == -1 else min(self.top_k, numbers // 4)
        rows = each * (self.classes - (0 <= self.background < self.classes))
        if self.keep_top_k >= 0:
            rows = min(rows, self.keep_top_k)
        # Images without a box may take a row each.
        return (TensorType(locations.dtype, (1, 1, images * max(rows, 1), 7)),)

    @ieee
    def compute(
        self, locations: np.ndarray, scores: np.ndarray, priors: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        images, count = len(locations), locations.shape[1] // 4
        result = self.infer(*map(TensorType.of, (locations, scores, priors)))[0]
        boxes = self._decode(
            working(locations).reshape(images, count, 4), *working(priors).reshape(2, count, 4)
        )
        likely = working(scores).reshape(images, count, self.classes)
        rows: list[np.ndarray] = []
        for image in range(images):
            kept = self._kept(boxes[image], likely[image])
            made = np.empty((len(kept), 7), np.float32)
            for row, (kind, box) in zip(made, kept, strict=True):
                row[:3] = image, kind, likely[image, box, kind]
                row[3:] = boxes[image, box]
            rows.append(made)
        found = np.concatenate(rows)
        if not len(found):
            found = np.full((images, 7), -1, np.float32)
            found[:, 0] = np.arange(images)
        y = np.full(result.shape, -1, np.float32)
        y[0, 0, : len(found)] = found
        return (as_type(y, locations.dtype),)

    def _decode(
        self, locations: np.ndarray, priors: np.ndarray, variances: np.ndarray
    ) -> np.ndarray:
        """Corners [N, P, 4]."""
        moved = locations if self.variance_in_target else locations * variances
        size = priors[:, 2:] - priors[:, :2]
        if self.code == "corner":
            return priors + moved
        if self.code == "corner_size":
            return priors + moved * np.concatenate([size, size], 1)
        middle = moved[..., :2] * size + (priors[:, :2] + priors[:, 2:]) / 2
        half = np.exp(moved[..., 2:]) * size / 2
        return np.concatenate([middle - half, middle + half], -1)

    def _kept(self, boxes: np.ndarray, scores: np.ndarray) -> list[tuple[int, int]]:
        """Class and number of the boxes of one image."""
        kept: list[tuple[int, int]] = []
        for kind in range(self.classes):
            if kind != self.background:
                kept += [(kind, box) for box in self._suppressed(boxes, scores[:, kind])]
        if 0 <= self.keep_top_k < len(kept):
            best = np.argsort([-scores[box, kind] for kind, box in kept], kind="stable")
            kept = [kept[i] for i in np.sort(best[: self.keep_top_k])]
        return kept

    def _suppressed(self, boxes: np.ndarray, scores: np.ndarray) -> list[int]:
        """Numbers of the boxes of one class, best first."""
        candidates = np.flatnonzero(scores > self.confidence)
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        if self.top_k >= 0:
            order = order[: self.top_k]
        areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
        # A limit for each candidate: that of the moment when it is looked at.
        kept: list[int] = []
        limit = self.nms_threshold
        for box in order.tolist():
            low = np.maximum(boxes[kept, :2], boxes[box, :2])
            high = np.minimum(boxes[kept, 2:], boxes[box, 2:])
            common = np.maximum(high - low, 0).prod(1)
            union = areas[kept] + areas[box] - common
            overlap = np.where(common > 0, common / union, 0)
            if not (overlap > limit).any():
                kept.append(box)
                limit *= self.eta if limit > 0.5 else 1
        return kept


@dataclass(frozen=True)
class RoiPool(Op):
    """Largest element in each cell of regions of x [N, C, H, W]; float.

    rois [R, 5]: rows (image, x1, y1, x2, y2) in units of 1 / spatial_scale pixels, both corners
    inside the region; rounded to pixels, halves away from 0. Result [R, C, height, width]. Cells
    without a pixel give 0.
    """

    height: int
    width: int
    spatial_scale: float = 1.0

    def infer(self, x: TensorType, rois: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT, rank=4)
        need("rois", rois, FLOAT, rank=2)
        same_dtype(x=x, rois=rois)
        require(rois.shape[1] == 5, f"rois has rows of {rois.shape[1]} numbers, 5 are needed")
        need_at_least((self.height, self.width), 1, "height, width")
        return (TensorType(x.dtype, (rois.shape[0], x.shape[1], self.height, self.width)),)

    @ieee
    def compute(self, x: np.ndarray, rois: np.ndarray) -> tuple[np.ndarray, ...]:
        y = np.zeros((len(rois), x.shape[1], self.height, self.width), x.dtype)
        images = _detect.image_numbers(rois[:, 0].astype(np.int64), len(x))
        scaled = working(rois[:, 1:]) * np.float32(self.spatial_scale)
        corners = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int64)
        for region, image, (x1, y1, x2, y2) in zip(y, images, corners.tolist(), strict=True):
            rows = _cells(y1, y2, self.height, x.shape[2])
            columns = _cells(x1, x2, self.width, x.shape[3])
            for i, (top, bottom) in enumerate(rows):
                for j, (left, right) in enumerate(columns):
                    cell = x[image, :, top:bottom, left:right]
                    if cell.size:
                        region[:, i, j] = cell.max((1, 2), initial=lowest(x.dtype))
        return (y,)


def _cells(first: int, last: int, cells: int, size: int) -> list[tuple[int, int]]:
    """Pixels of each cell of a region, inside the picture."""
    step = np.float32(max(last - first + 1, 1)) / np.float32(cells)
    at = np.arange(cells + 1, dtype=np.float32) * step
    starts = np.clip(np.floor(at[:-1]).astype(np.int64) + first, 0, size)
    ends = np.clip(np.ceil(at[1:]).astype(np.int64) + first, 0, size)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
