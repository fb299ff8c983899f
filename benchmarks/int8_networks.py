"""The networks of the int8 benchmarks: what calibrates them, what tests them, what counts.

A network is tested by running it on its samples; from the outputs alone follow the result of its
task (photos named, faces found, pages marked, lines read) and the distance from the fp32 outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tests.models import faces, text
from tests.models.boxes import overlaps
from tests.models.photos import FACES, centre, planes
from tests.models.runners import Arrays
from tests.models.zoo import NETWORKS, alphabet, efficientnet_input, photos

from benchmarks.darknet_onnx import convert

Outputs = list[dict[str, np.ndarray]]
"""Of every sample."""


@dataclass(frozen=True)
class Case:
    """A network to quantise.

    Attributes:
        input: name of its input.
        calibration: set of :mod:`benchmarks.calibration_sets`.
        preprocess: what makes an input of a picture, as ``nntc quantize --preprocess`` takes it.
        array: the same as a function, of a picture with blue first.
        samples: names and inputs of the test, as many as the limit allows (0: all).
        score: one line: what the outputs amount to, given the fp32 outputs.
        shape: of the input, where the file leaves it open.
    """

    name: str
    input: str
    calibration: str
    preprocess: str
    array: Callable[[np.ndarray], np.ndarray]
    samples: Callable[[Path, int], list[tuple[str, np.ndarray]]]
    score: Callable[[Path, Sequence[str], Outputs, Outputs], str]
    shape: tuple[int, ...] = ()

    def onnx(self, shared: Path) -> onnx.ModelProto:
        """The network in fp32, its input of a fixed shape."""
        if self.name == "tiny_darknet":
            folder = shared / "models" / "darknet" / "tiny_darknet"
            return convert(folder / "tiny.cfg", folder / "tiny.weights")
        model = onnx.load(NETWORKS[self.name].path(shared))
        if self.shape:
            _fix(model, self.input, self.shape)
        return model


def _fix(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> None:
    """Give an input a fixed shape; shapes that were noted for open ones are dropped."""
    found = next(value for value in model.graph.input if value.name == name)
    for place, size in zip(found.type.tensor_type.shape.dim, shape, strict=True):
        place.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


# -- photos of one object -----------------------------------------------------------------------


def darknet_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, 3, 224, 224]: the middle, red first, in 0..1."""
    return planes(centre(photo, 224, 224)[:, :, ::-1].astype(np.float32) / 255)


def _photos(
    make: Callable[[np.ndarray], np.ndarray],
) -> Callable[[Path, int], list[tuple[str, np.ndarray]]]:
    def samples(shared: Path, limit: int) -> list[tuple[str, np.ndarray]]:
        names = [name for name, _ in photos(shared).classes()]
        # A limited test takes photos from all classes.
        names = names[:: max(1, len(names) // limit)][:limit] if limit else names
        return [(name, make(photos(shared).picture(name))) for name in names]

    return samples


def _top1(order: Callable[[Path], list[int]]) -> Callable[..., str]:
    def score(shared: Path, names: Sequence[str], found: Outputs, fp32: Outputs) -> str:
        wanted, classes = dict(photos(shared).classes()), order(shared)
        best = [classes[int(_only(outputs).argmax())] for outputs in found]
        right = sum(a == wanted[name] for a, name in zip(best, names, strict=True))
        same = sum(
            int(_only(a).argmax()) == int(_only(b).argmax())
            for a, b in zip(found, fp32, strict=True)
        )
        return f"{right} of {len(names)} right, {same} as fp32"

    return score


def _imagenet(shared: Path) -> list[int]:
    return list(range(1000))


def _darknet(shared: Path) -> list[int]:
    """ImageNet's class of each of Darknet's, which has an order of its own."""
    folder = shared / "models"
    listed = (folder / "images" / "imagenet_classes.csv").read_text(encoding="utf-8")
    classes = {row.split(",")[1]: i for i, row in enumerate(listed.splitlines()[1:])}
    own = (folder / "darknet" / "tiny_darknet" / "imagenet.labels.list").read_text().split()
    return [classes[wnid] for wnid in own[:1000]]


def _only(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    (output,) = outputs.values()
    return output


# -- faces --------------------------------------------------------------------------------------


def _face_photos(shared: Path, limit: int) -> list[tuple[str, np.ndarray]]:
    names = list(FACES)[: limit or None]
    return [(name, faces.rfb_input(photos(shared).picture(name))) for name in names]


def _faces(decoded: bool) -> Callable[..., str]:
    def score(shared: Path, names: Sequence[str], found: Outputs, fp32: Outputs) -> str:
        counts: list[int] = []
        shift, lost, extra = 0.0, 0, 0
        for name, mine, theirs in zip(names, found, fp32, strict=True):
            photo = photos(shared).picture(name)
            boxes, expected = (_boxes(outputs, photo, decoded) for outputs in (mine, theirs))
            counts.append(len(boxes))
            pairs = _pairs(boxes, expected)
            lost += len(expected) - len(pairs)
            extra += len(boxes) - len(pairs)
            shift = max([shift, *(float(np.abs(a[:4] - b[:4]).max()) for a, b in pairs)])
        listed = ", ".join(map(str, counts))
        return f"{listed} faces, {lost} lost, {extra} extra, corners moved up to {shift:.1f} px"

    return score


def _boxes(outputs: Mapping[str, np.ndarray], photo: np.ndarray, decoded: bool) -> np.ndarray:
    place = outputs["boxes"] if decoded else faces.rfb_decode(outputs["boxes"])
    return faces.rfb_boxes(outputs["scores"], place, photo)


def _pairs(boxes: np.ndarray, expected: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes and those expected that overlap by half or more; each is used once."""
    left, made = list(boxes), []
    for box in expected:
        if not left:
            break
        overlap = overlaps(box[:4], np.stack(left)[:, :4])
        best = int(overlap.argmax())
        if overlap[best] >= 0.5:
            made.append((left.pop(best), box))
    return made


# -- text ---------------------------------------------------------------------------------------


def _pages(shared: Path, limit: int) -> list[tuple[str, np.ndarray]]:
    names = list(text.PAGES)[: limit or None]
    return [(name, text.page_input(photos(shared).picture(name))) for name in names]


def _marked(shared: Path, names: Sequence[str], found: Outputs, fp32: Outputs) -> str:
    """Regions of each page, and how the marked pixels overlap with those of fp32."""
    counts = [len(text.regions(_only(outputs))) for outputs in found]
    masks = [[_only(outputs) > 0.3 for outputs in several] for several in (found, fp32)]
    shares = [(a & b).sum() / max(1, (a | b).sum()) for a, b in zip(*masks, strict=True)]
    listed = ", ".join(f"{share:.4f}" for share in shares)
    return f"{', '.join(map(str, counts))} regions, IoU {listed}"


def _lines(shared: Path, limit: int) -> list[tuple[str, np.ndarray]]:
    """The pieces of each line, under the line's name."""
    made: list[tuple[str, np.ndarray]] = []
    for name in list(text.LINES)[: limit or None]:
        made += [(name, piece) for piece in text.pieces(photos(shared).picture(name))]
    return made


def _read(shared: Path, names: Sequence[str], found: Outputs, fp32: Outputs) -> str:
    characters = alphabet(shared)
    lines: dict[str, list[str]] = {}
    for name, outputs in zip(names, found, strict=True):
        lines.setdefault(name, []).append(text.read(_only(outputs), characters))
    read = {name: " ".join(pieces) for name, pieces in lines.items()}
    exact = sum(shown == text.LINES[name] for name, shown in read.items())
    return f"{exact} of {len(read)} exact: " + " / ".join(f"“{shown}”" for shown in read.values())


# -- the table ----------------------------------------------------------------------------------

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case(
            "efficientnet_lite0",
            "x.1",
            "objects",
            "crop=224,mean=127,scale=0.0078125,order=rgb",
            efficientnet_input,
            _photos(efficientnet_input),
            _top1(_imagenet),
        ),
        Case(
            "tiny_darknet",
            "data",
            "objects",
            "crop=224,scale=0.00392156862745098,order=rgb",
            darknet_input,
            _photos(darknet_input),
            _top1(_darknet),
        ),
        Case(
            "rfb_320",
            "input",
            "faces",
            "resize=240x320,mean=127,scale=0.0078125,order=rgb",
            faces.rfb_input,
            _face_photos,
            _faces(True),
        ),
        Case(
            "rfb_320_simplified",
            "input",
            "faces",
            "resize=240x320,mean=127,scale=0.0078125,order=rgb",
            faces.rfb_input,
            _face_photos,
            _faces(False),
        ),
        Case(
            "ppocr_v4_det",
            "x",
            "pages",
            "resize=640x640,mean=127.5,scale=0.00784313725490196,order=bgr",
            text.page_input,
            _pages,
            _marked,
            (1, 3, text.PAGE, text.PAGE),
        ),
        Case(
            "ppocr_v4_rec",
            "x",
            "lines",
            "resize=48x320,mean=127.5,scale=0.00784313725490196,order=bgr",
            text.normalise,
            _lines,
            _read,
            (1, 3, text.LINE_HEIGHT, text.LINE_WIDTH),
        ),
    )
}


# -- running ------------------------------------------------------------------------------------


def fp32_outputs(case: Case, shared: Path, samples: Sequence[tuple[str, np.ndarray]]) -> Outputs:
    """What ONNX Runtime computes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(case.onnx(shared), path)
        session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    names = [info.name for info in session.get_outputs()]
    return [
        dict(zip(names, session.run(None, {case.input: array}), strict=True))
        for _, array in samples
    ]


def bmodel_outputs(
    model: Path, samples: Sequence[tuple[str, np.ndarray]], like: Mapping[str, np.ndarray]
) -> Outputs:
    """What a BModel computes on the simulator.

    Args:
        like: outputs of one sample in fp32: other compilers give them other names, and sometimes
            other ranks; they are told apart by how many elements they have, then by their order.
    """
    from nntc import Engine

    made: Outputs = []
    with Engine(model) as engine:
        for _, array in samples:
            found = engine([array])
            made.append(_renamed(found, like))
    return made


def _renamed(found: Arrays, like: Arrays) -> dict[str, np.ndarray]:
    left = dict(found)
    made: dict[str, np.ndarray] = {}
    for name, array in like.items():
        fits = [key for key, other in left.items() if other.size == array.size]
        if not fits:
            sizes = ", ".join(f"{key} {list(other.shape)}" for key, other in found.items())
            raise SystemExit(f"no output has the shape {list(array.shape)} of {name}: {sizes}")
        made[name] = left.pop(name if name in fits else fits[0]).reshape(array.shape)
    return made


@dataclass(frozen=True)
class Distance:
    """How far outputs are from those of fp32; the worst output of several.

    Attributes:
        cosine: mean over the samples.
        sqnr: signal to quantisation noise of all samples together, in dB.
    """

    cosine: float
    sqnr: float

    def __str__(self) -> str:
        return f"{self.cosine:.4f} | {self.sqnr:.1f}"


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float(np.array_equal(a, b))


def distance(found: Outputs, fp32: Outputs) -> Distance:
    cosines: list[float] = []
    ratios: list[float] = []
    for name in fp32[0]:
        pairs: list[Any] = [
            (b[name].ravel().astype(np.float64), a[name].ravel().astype(np.float64))
            for a, b in zip(found, fp32, strict=True)
        ]
        cosines.append(float(np.mean([_cosine(a, b) for a, b in pairs])))
        noise = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
        signal = sum(float((a**2).sum()) for a, _ in pairs)
        ratios.append(10 * float(np.log10(signal / noise)) if noise else float("inf"))
    return Distance(min(cosines), min(ratios))
