"""What the networks are for, as work on real photos, pages and sound with a countable result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.models import faces, speech, text, yolo
from tests.models.photos import FACES
from tests.models.runners import Runner
from tests.models.zoo import (
    alphabet,
    digit_input,
    efficientnet_input,
    photos,
    qr_input,
    samplenet_caffe_input,
    samplenet_input,
    tiny_darknet_input,
)


@dataclass
class Result:
    """What came out of a task.

    Attributes:
        text: for people; equal for equal results.
        exact: classes, counts, characters, regions: equal or wrong.
        close: boxes in pixels and probabilities.
        within: how far apart those may be.
    """

    text: str
    exact: list[object] = field(default_factory=list)
    close: list[np.ndarray] = field(default_factory=list)
    within: float = 0.05

    def differs(self, other: Result) -> str:
        """In what the results differ; empty if in nothing."""
        if self.text != other.text:
            return f"{self.text} instead of {other.text}"
        if self.exact != other.exact:
            pairs = zip(self.exact, other.exact, strict=False)
            index, (mine, theirs) = next((i, p) for i, p in enumerate(pairs) if p[0] != p[1])
            return f"item {index}: {mine} instead of {theirs}"
        for index, (mine, theirs) in enumerate(zip(self.close, other.close, strict=True)):
            if mine.shape != theirs.shape or not np.allclose(mine, theirs, 0, self.within):
                return f"photo {index}: {mine.tolist()} instead of {theirs.tolist()}"
        return ""


Work = Callable[[Runner, Path, bool], Result]


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        work: does it; the last argument limits it to a small sample.
        expected: text of the whole task's result.
    """

    name: str
    networks: tuple[str, ...]
    work: Work
    expected: str


def _sample(items: Sequence, few: bool, count: int) -> list:
    """All items, or *count* of them spread evenly."""
    return list(items[:: max(1, len(items) // count)][:count]) if few else list(items)


def _only(outputs: dict[str, np.ndarray]) -> np.ndarray:
    (output,) = outputs.values()
    return output


def _best(outputs: dict[str, np.ndarray]) -> int:
    return int(_only(outputs).argmax())


def _right(classes: list[int], wanted: list[int]) -> Result:
    right = sum(a == b for a, b in zip(classes, wanted, strict=True))
    return Result(f"{right} of {len(wanted)} right", list(classes))


def name_photos(run: Runner, shared: Path, few: bool) -> Result:
    """ImageNet classes of photos."""
    listed = _sample(photos(shared).classes(), few, 2)
    inputs = (efficientnet_input(photos(shared).picture(name)) for name, _ in listed)
    found = [_best(run("efficientnet_lite0", {"x.1": x})) for x in inputs]
    return _right(found, [wanted for _, wanted in listed])


def _photos_of_darknet(network: str) -> Work:
    def work(run: Runner, shared: Path, few: bool) -> Result:
        """ImageNet classes of photos, which Darknet numbers otherwise."""
        listed = _sample(photos(shared).synsets(), few, 2)
        order = (shared / "models/darknet/tiny_darknet/imagenet.labels.list").read_text().split()
        ranks: list[int] = []
        for name, wanted in listed:
            x = tiny_darknet_input(photos(shared).picture(name))
            likely = np.argsort(-_only(run(network, {"data": x})).ravel(), kind="stable")
            ranks.append(int(np.flatnonzero(likely == order.index(wanted))[0]))
        first, five = (sum(rank < count for rank in ranks) for count in (1, 5))
        text = f"{first} of {len(ranks)} right, {five} among the first 5"
        return Result(text, [rank < 1 for rank in ranks])

    return work


def _thumbnails(network: str, prepare: Callable[[np.ndarray], np.ndarray]) -> Work:
    def work(run: Runner, shared: Path, few: bool) -> Result:
        """CIFAR-10 classes of photos scaled down to 32 pixels."""
        listed = _sample(photos(shared).cifar_classes(), few, 7)
        inputs = (prepare(photos(shared).picture(name)) for name, _ in listed)
        found = [_best(run(network, {"data": x})) for x in inputs]
        return _right(found, [wanted for _, wanted in listed])

    return work


def _rfb(network: str, decoded: bool) -> Work:
    def work(run: Runner, shared: Path, few: bool) -> Result:
        """Faces on photos."""
        boxes: list[np.ndarray] = []
        for name in _sample(list(FACES), few, 1):
            photo = photos(shared).picture(name)
            found = run(network, {"input": faces.rfb_input(photo)})
            place = found["boxes"] if decoded else faces.rfb_decode(found["boxes"])
            boxes.append(faces.rfb_boxes(found["scores"], place, photo))
        return _faces(boxes)

    return work


def cascade(run: Runner, shared: Path, few: bool) -> Result:
    """Faces on photos, by three networks."""
    listed = _sample(list(FACES), few, 1)
    return _faces([faces.mtcnn_boxes(run, photos(shared).picture(name)) for name in listed])


def cascade_in_caffe(run: Runner, shared: Path, few: bool) -> Result:
    """The same by their Caffe files."""
    return cascade(faces.in_caffe(run), shared, few)


def cascade_in_mxnet(run: Runner, shared: Path, few: bool) -> Result:
    """The same by their MXNet files."""
    return cascade(faces.in_mxnet(run), shared, few)


def read_digits(run: Runner, shared: Path, few: bool) -> Result:
    """Digits written by hand; the file of digit n is called 2n + 1."""
    digits = _sample(list(range(10)), few, 3)
    inputs = (digit_input(photos(shared).picture(f"mnist/{2 * n + 1}.jpg")) for n in digits)
    return _right([_best(run("mxnet_lenet", {"data": x})) for x in inputs], digits)


def find_code(run: Runner, shared: Path, few: bool) -> Result:
    """A QR code on a photo."""
    photo = photos(shared).picture("detect/qr_on_photo.png")
    rows = _only(run("caffe_qr", {"data": qr_input(photo)})).reshape(-1, 7)
    rows = rows[rows[:, 2] > 0.3]
    place = rows[:, 3:] * np.tile(photo.shape[1::-1], 2)
    text = ", ".join(str(tuple(box)) for box in place.astype(int).tolist())
    return Result(f"codes at {text}", close=[np.column_stack([place, rows[:, 2]])])


def _faces(boxes: list[np.ndarray]) -> Result:
    counts = ", ".join(str(len(found)) for found in boxes)
    ordered = [found[np.lexsort(np.round(found).T[:2])] for found in boxes]
    return Result(f"{counts} faces", close=ordered)


def _things(detector: yolo.Detector) -> Work:
    def work(run: Runner, shared: Path, few: bool) -> Result:
        """Things on photos of COCO."""
        known = yolo.FASTEST.kinds(shared / "models")
        kinds = detector.kinds(shared / "models")
        boxes: list[np.ndarray] = []
        right = wrong = there = 0
        for name in _sample(photos(shared).coco(), few, 2):
            photo = photos(shared).picture(f"coco/{name}.jpg")
            found = detector.found(run(detector.network, detector.inputs(photo)), photo)
            labels = photos(shared).folder / "coco" / "labels" / f"{name}.txt"
            one = yolo.hits(found, yolo.truth(labels, photo), kinds, known)
            right, wrong, there = right + one[0], wrong + one[1], there + one[2]
            boxes.append(found[np.lexsort(np.round(found).T[:2])])
        recall, precision = right / max(there, 1), right / max(right + wrong, 1)
        text = f"recall {recall:.3f}, precision {precision:.3f}"
        return Result(text, close=boxes, within=0.5)

    return work


def find_text(run: Runner, shared: Path, few: bool) -> Result:
    """Regions of text on pages."""
    found: list[list[list[int]]] = []
    for name in _sample(list(text.PAGES), few, 1):
        page = text.page_input(photos(shared).picture(name))
        likelihood = _only(run("ppocr_v4_det", {"x": page}))
        found.append(text.regions(likelihood).tolist())
    counts = ", ".join(str(len(regions)) for regions in found)
    return Result(f"{counts} regions of text", list(found))


def read_text(run: Runner, shared: Path, few: bool) -> Result:
    """Lines of text, in pieces of 320 pixels."""
    characters = alphabet(shared)
    lines: list[str] = []
    for name in _sample(list(text.LINES), few, 1):
        shown = text.pieces(photos(shared).picture(name))
        results = [_only(run("ppocr_v4_rec", {"x": piece})) for piece in shown]
        lines.append(" ".join(text.read(result, characters) for result in results))
    return Result(" / ".join(lines))


def hear_speech(run: Runner, shared: Path, few: bool) -> Result:
    """Speech or silence, with the network's state carried from one run to the next."""
    state = speech.first_state()
    likely: list[float] = []
    for window in speech.windows(photos(shared).sound())[: 40 if few else None]:
        found = run("silero_vad", speech.inputs(window, state))
        likely.append(float(found["output"][0, 0]))
        state = found["stateN"]
    marked = np.array(likely) > 0.5
    return Result(f"{marked.sum()} of {len(marked)} frames are speech", marked.tolist())


TASKS: tuple[Task, ...] = (
    Task("name photos", ("efficientnet_lite0",), name_photos, "440 of 500 right"),
    Task(
        "name thumbnails",
        ("samplenet",),
        _thumbnails("samplenet", samplenet_input),
        "29 of 77 right",
    ),
    Task("find faces", ("rfb_320",), _rfb("rfb_320", True), "1, 1, 2, 2, 4, 5 faces"),
    Task(
        "find faces, simplified",
        ("rfb_320_simplified",),
        _rfb("rfb_320_simplified", False),
        "1, 1, 2, 2, 4, 5 faces",
    ),
    Task(
        "find faces, cascade",
        ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"),
        cascade,
        "1, 1, 2, 2, 4, 5 faces",
    ),
    Task("find text", ("ppocr_v4_det",), find_text, "18, 7, 11 regions of text"),
    Task("read text", ("ppocr_v4_rec",), read_text, " / ".join(text.LINES.values())),
    Task(
        "name photos, darknet",
        ("tiny_darknet",),
        _photos_of_darknet("tiny_darknet"),
        "325 of 500 right, 429 among the first 5",
    ),
    Task(
        "find things, darknet yolo-fastest",
        ("yolo_fastest",),
        _things(yolo.FASTEST),
        "recall 0.247, precision 0.486",
    ),
    Task(
        "find things, darknet nano",
        ("yolo_nano_voc",),
        _things(yolo.NANO),
        "recall 0.289, precision 0.455",
    ),
    Task(
        "name photos, caffe",
        ("caffe_tiny_darknet",),
        _photos_of_darknet("caffe_tiny_darknet"),
        "325 of 500 right, 429 among the first 5",
    ),
    Task(
        "name thumbnails, caffe",
        ("caffe_samplenet",),
        _thumbnails("caffe_samplenet", samplenet_caffe_input),
        "29 of 77 right",
    ),
    Task(
        "find faces, caffe",
        ("caffe_rfb_320",),
        _rfb("caffe_rfb_320", False),
        "1, 1, 2, 2, 4, 5 faces",
    ),
    Task(
        "find faces, caffe cascade",
        ("caffe_pnet", "caffe_rnet", "caffe_onet"),
        cascade_in_caffe,
        "1, 1, 2, 2, 4, 5 faces",
    ),
    Task("find codes, caffe", ("caffe_qr",), find_code, "codes at (333, 58, 451, 179)"),
    Task(
        "find things, caffe nano",
        ("caffe_yolo_nano_voc",),
        _things(yolo.NANO_CAFFE),
        "recall 0.289, precision 0.455",
    ),
    Task("read digits, mxnet", ("mxnet_lenet",), read_digits, "10 of 10 right"),
    Task(
        "name thumbnails, mxnet",
        ("mxnet_samplenet",),
        _thumbnails("mxnet_samplenet", samplenet_input),
        "29 of 77 right",
    ),
    Task(
        "find faces, mxnet cascade",
        ("mxnet_pnet", "mxnet_rnet", "mxnet_onet"),
        cascade_in_mxnet,
        "1, 1, 2, 2, 4, 5 faces",
    ),
    Task("hear speech", ("silero_vad",), hear_speech, "71 of 149 frames are speech"),
)
