"""Finding faces: the RFB-320 detector and the three-network cascade MTCNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tests.models.boxes import suppress
from tests.models.photos import planes, resize

Call = Callable[[str, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Runs the network of that name."""

RFB_WIDTH, RFB_HEIGHT = 320, 240
BATCH = 16
"""Candidates that the second and third network of the cascade look at in one run."""

SMALLEST_FACE = 40
"""In pixels of the photo."""

PYRAMID_STEP = 0.709


def rfb_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, 3, 240, 320]: red first, (x - 127) / 128."""
    small = resize(photo, RFB_WIDTH, RFB_HEIGHT)[:, :, ::-1].astype(np.float32)
    return planes((small - 127) / 128)


def _priors() -> np.ndarray:
    """f32[4420, 4]: middle and size of the boxes that the network's rows stand for."""
    made: list[np.ndarray] = []
    for step, sizes in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256))):
        columns, rows = np.ceil(RFB_WIDTH / step), np.ceil(RFB_HEIGHT / step)
        y, x, size = np.meshgrid(np.arange(rows), np.arange(columns), sizes, indexing="ij")
        middle = np.stack([(x + 0.5) * step / RFB_WIDTH, (y + 0.5) * step / RFB_HEIGHT], -1)
        extent = np.stack([size / RFB_WIDTH, size / RFB_HEIGHT], -1)
        made.append(np.concatenate([middle, extent], -1).reshape(-1, 4))
    return np.concatenate(made).clip(0, 1).astype(np.float32)


def rfb_decode(offsets: np.ndarray) -> np.ndarray:
    """Boxes from offsets against the priors: what the simplified network leaves to its user.

    Args:
        offsets: f32[1, 4420, 4].
    """
    priors = _priors()
    middle = offsets[..., :2] * 0.1 * priors[:, 2:] + priors[:, :2]
    half = np.exp(offsets[..., 2:] * 0.2) * priors[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], -1)


def rfb_boxes(scores: np.ndarray, boxes: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """f32[faces, 5]: boxes in pixels of the photo, and their scores.

    Args:
        scores: f32[1, 4420, 2]: background, face.
        boxes: f32[1, 4420, 4]: as parts of width and height.
    """
    found = scores[0, :, 1] > 0.7
    score = scores[0, found, 1]
    place = boxes[0, found] * np.tile(photo.shape[1::-1], 2).astype(np.float32)
    kept = suppress(place, score, 0.3)
    return np.column_stack([place, score])[kept]


# -- MTCNN --------------------------------------------------------------------------------------


def mtcnn_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, W, H, 3]: red first, rows and columns exchanged, in -1..1."""
    turned = photo[:, :, ::-1].transpose(1, 0, 2).astype(np.float32)
    return np.ascontiguousarray((turned - 127.5) * 0.0078125)[None]


def pyramid(photo: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Scale and input of the first network, which sees faces of 12 pixels only."""
    levels: list[tuple[float, np.ndarray]] = []
    scale = 12 / SMALLEST_FACE
    height, width = photo.shape[:2]
    while min(height, width) * scale >= 12:
        small = resize(photo, int(np.ceil(width * scale)), int(np.ceil(height * scale)))
        levels.append((scale, mtcnn_input(small)))
        scale *= PYRAMID_STEP
    return levels


def mtcnn_boxes(call: Call, photo: np.ndarray) -> np.ndarray:
    """f32[faces, 5]: boxes in pixels of the photo, and their scores."""
    boxes = _propose(call, photo)
    boxes = _refine(call, photo, boxes, "mtcnn_rnet", 24)
    return _refine(call, photo, boxes, "mtcnn_onet", 48)


def _propose(call: Call, photo: np.ndarray) -> np.ndarray:
    """Candidates from every level of the pyramid: boxes and scores."""
    found: list[np.ndarray] = []
    for scale, level in pyramid(photo):
        result = call("mtcnn_pnet", {"input_1": level})
        likely, shift = result["softmax"][0, :, :, 1], result["conv2d_4"][0]
        columns, rows = np.nonzero(likely > 0.6)
        corner = np.stack([columns, rows], 1) * 2
        boxes = np.concatenate([corner, corner + 12], 1) / scale
        score = likely[columns, rows]
        kept = suppress(boxes, score, 0.5)
        boxes = _moved(boxes[kept], shift[columns, rows][kept])
        found.append(np.column_stack([boxes, score[kept]]))
    candidates = np.concatenate(found)
    return candidates[suppress(candidates[:, :4], candidates[:, 4], 0.7)]


def _moved(boxes: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Corners moved by parts of the box's size."""
    return boxes + shift * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _refine(
    call: Call, photo: np.ndarray, candidates: np.ndarray, network: str, size: int
) -> np.ndarray:
    """Look at each candidate closely: which are faces, and where exactly."""
    if not len(candidates):
        return candidates
    boxes = _squares(candidates[:, :4])
    likely, shift = look(call, network, crops(photo, boxes, size))
    found = likely > 0.7
    boxes = _moved(boxes[found], shift[found])
    kept = suppress(boxes, likely[found], 0.5)
    return np.column_stack([boxes[kept], likely[found][kept]])


def _squares(boxes: np.ndarray) -> np.ndarray:
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([middle - half, middle + half], 1)


def crops(photo: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """f32[boxes, size, size, 3]: what lies in the boxes; black beyond the photo."""
    height, width = photo.shape[:2]
    made: list[np.ndarray] = []
    for left, top, right, bottom in np.round(boxes).astype(int):
        right, bottom = max(right, left + 2), max(bottom, top + 2)
        canvas = np.zeros((bottom - top, right - left, 3), np.uint8)
        inside = photo[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        y, x = min(max(0, -top), height), min(max(0, -left), width)
        canvas[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        made.append(mtcnn_input(resize(canvas, size, size)))
    return np.concatenate(made)


def look(call: Call, network: str, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Likelihood of a face and shift of the corners, in batches of a fixed size."""
    source, score, shift = {
        "mtcnn_rnet": ("input_2", "softmax_1", "dense_2"),
        "mtcnn_onet": ("input_3", "softmax_2", "dense_5"),
    }[network]
    likely, moves = [], []
    for start in range(0, len(pictures), BATCH):
        part = pictures[start : start + BATCH]
        batch = np.zeros((BATCH, *pictures.shape[1:]), np.float32)
        batch[: len(part)] = part
        result = call(network, {source: batch})
        likely.append(result[score][: len(part), 1])
        moves.append(result[shift][: len(part)])
    return np.concatenate(likely), np.concatenate(moves)


_CAFFE = {
    "mtcnn_pnet": ("caffe_pnet", {"softmax": "prob1", "conv2d_4": "conv4-2"}),
    "mtcnn_rnet": ("caffe_rnet", {"softmax_1": "prob1", "dense_2": "conv5-2"}),
    "mtcnn_onet": ("caffe_onet", {"softmax_2": "prob1", "dense_5": "conv6-2"}),
}


def in_caffe(call: Call) -> Call:
    """The cascade's networks by their Caffe files, which have channels in front."""

    def run(network: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        name, outputs = _CAFFE[network]
        (pictures,) = inputs.values()
        found = call(name, {"data": np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))})
        arrays = {ours: found[theirs] for ours, theirs in outputs.items()}
        return {k: a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for k, a in arrays.items()}

    return run


_MXNET = {
    "mtcnn_pnet": ("mxnet_pnet", {"softmax": "prob1_output", "conv2d_4": "conv4_2_output"}),
    "mtcnn_rnet": ("mxnet_rnet", {"softmax_1": "prob1_output", "dense_2": "conv5_2_output"}),
    "mtcnn_onet": ("mxnet_onet", {"softmax_2": "prob1_output", "dense_5": "conv6_2_output"}),
}


def in_mxnet(call: Call) -> Call:
    """The cascade's networks by their MXNet files: upright, blue first, channels in front."""

    def run(network: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        name, outputs = _MXNET[network]
        (pictures,) = inputs.values()
        upright = pictures.transpose(0, 3, 2, 1)[:, ::-1]
        found = call(name, {"data": np.ascontiguousarray(upright)})
        arrays = {ours: found[theirs] for ours, theirs in outputs.items()}
        return {k: a.transpose(0, 3, 2, 1) if a.ndim == 4 else a for k, a in arrays.items()}

    return run
