"""Make the pictures on which int8 networks are calibrated: never those on which they are tested.

    python -m benchmarks.calibration_sets FOLDER [SET ...]

Writes FOLDER/SET/*.png, the same bytes each time:

- objects: 100 photos and parts of photos, framed like those of ImageNet (short side 256);
- faces: 60 photos of people (320 x 240);
- pages: 60 pages and photos with text (640 x 640);
- lines: 100 lines of text (320 x 48).

The pictures have the size at which the networks see them, so that no resizing stands between them
and the test's own preprocessing (the photos of ImageNet are cut to their middle there). The source
is ``../shared/models/images`` or what NNTC_SHARED_DIR names, without its folder ``imagenet`` and
without the tested photos, pages and lines. They are no part of the project either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from tests.conftest import SHARED_DIR
from tests.models import text
from tests.models.faces import RFB_HEIGHT, RFB_WIDTH
from tests.models.photos import FACES, resize

from benchmarks.drawn_text import line_of_text, page_of_text

TESTED = {*FACES, *text.PAGES, *text.LINES}
"""Pictures that no calibration may see."""

PERSON = 0
SHORT_SIDE, LONG_SIDE = 256, 640

Pictures = Iterator[np.ndarray]


def photo(images: Path, name: str) -> np.ndarray:
    """u8[H, W, 3], blue first, of a picture that is not tested."""
    assert name not in TESTED, f"{name}: is tested"
    assert not name.startswith("imagenet/"), f"{name}: is tested"
    found = cv2.imread(str(images / name))
    assert found is not None, f"{images / name}: no such picture"
    return found


def boxes_of(images: Path, name: str, size: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """Class and box (left, top, right, bottom in pixels) of the objects on a COCO photo."""
    labels = images / "coco" / "labels" / f"{Path(name).stem}.txt"
    if not labels.exists():
        return []
    found: list[tuple[int, np.ndarray]] = []
    for row in labels.read_text().splitlines():
        kind, *numbers = row.split()
        x, y, w, h = (float(number) for number in numbers[:4])
        box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * (*size, *size)
        found.append((int(kind), box))
    return found


def _coco(images: Path) -> list[str]:
    return [f"coco/{path.name}" for path in sorted((images / "coco").glob("*.jpg"))]


def _others(images: Path) -> list[str]:
    """Photos that are neither of COCO nor tested; the spoofs are photos of photos."""
    files = sorted([*(images / "detect").glob("*.jpg"), *(images / "face").glob("*.jpg")])
    names = [f"{path.parent.name}/{path.name}" for path in files]
    return [name for name in names if name not in TESTED]


def part(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """What of the picture lies in the box."""
    height, width = picture.shape[:2]
    left, top, right, bottom = np.round(box).astype(int).tolist()
    return picture[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]


# -- objects ------------------------------------------------------------------------------------


def objects(images: Path) -> Pictures:
    """Whole photos, one object of each where one is large enough, then parts at random."""
    rng = np.random.default_rng(1)
    names = [*_coco(images), *_others(images)]
    photos = [photo(images, name) for name in names]
    made: list[np.ndarray] = []
    for name, picture in zip(names, photos, strict=True):
        shown = _largest_object(images, name, picture, rng)
        made.append(picture if shown is None else shown)
    while len(made) < 100:
        made.append(_random_part(photos[int(rng.integers(len(photos)))], rng))
    for picture in made[:100]:
        flipped = picture[:, ::-1] if rng.random() < 0.5 else picture
        yield _framed(flipped)


def _largest_object(
    images: Path, name: str, picture: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """The largest object with something of its surroundings, unless it fills the photo."""
    height, width = picture.shape[:2]
    found = [box for _, box in boxes_of(images, name, (width, height))]
    if not found:
        return None
    box = max(found, key=lambda box: float((box[2:] - box[:2]).prod()))
    middle, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    # ImageNet's photos are rarely narrower than 3:4, and their object rarely fills them.
    extent = np.maximum(extent, extent.max() * 0.75) * rng.uniform(1.15, 1.6)
    shown = part(picture, np.concatenate([middle - extent / 2, middle + extent / 2]))
    return shown if min(shown.shape[:2]) >= 160 else None


def _random_part(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of at least half of the width and height."""
    height, width = picture.shape[:2]
    size = np.array([width, height]) * rng.uniform(0.5, 1.0, 2)
    corner = (np.array([width, height]) - size) * rng.uniform(0, 1, 2)
    return part(picture, np.concatenate([corner, corner + size]))


def _framed(picture: np.ndarray) -> np.ndarray:
    """The size of the tested photos: short side 256, the long one cut to its middle 640."""
    height, width = picture.shape[:2]
    scale = SHORT_SIDE / min(height, width)
    width, height = max(256, round(width * scale)), max(256, round(height * scale))
    scaled = resize(picture, width, height, shrink=scale < 1)
    top, left = max(0, height - LONG_SIDE) // 2, max(0, width - LONG_SIDE) // 2
    return scaled[top : top + LONG_SIDE, left : left + LONG_SIDE]


# -- faces --------------------------------------------------------------------------------------


def faces(images: Path) -> Pictures:
    """Whole photos with people, then single people from near."""
    rng = np.random.default_rng(2)
    crowds = ["face/ul_24.jpg", "face/parade.jpg", "face/spoof_F1.jpg", "face/spoof_F2.jpg"]
    whole = [photo(images, name) for name in (*crowds, "detect/bus.jpg", "detect/person.jpg")]
    near: list[tuple[float, np.ndarray]] = []
    for name in _coco(images):
        picture = photo(images, name)
        height, width = picture.shape[:2]
        people = [box for kind, box in boxes_of(images, name, (width, height)) if kind == PERSON]
        if people:
            whole.append(picture)
        near += [(float((box[2:] - box[:2]).prod()), _upper(picture, box, rng)) for box in people]
    near.sort(key=lambda pair: -pair[0])
    for picture in [*whole, *(shown for _, shown in near)][:60]:
        yield resize(picture, RFB_WIDTH, RFB_HEIGHT)


def _upper(picture: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The upper part of a person in a frame of 4:3."""
    width = max(80.0, (box[2] - box[0]) * rng.uniform(1.0, 1.8))
    middle = np.array([(box[0] + box[2]) / 2, box[1] + (box[3] - box[1]) * 0.2])
    half = np.array([width, width * 0.75]) / 2
    return part(picture, np.concatenate([middle - half, middle + half]))


# -- text ---------------------------------------------------------------------------------------


def pages(images: Path) -> Pictures:
    """Drawn pages, photos with drawn text, photos as they are; stretched to a square."""
    rng = np.random.default_rng(3)
    names = [*_coco(images), *_others(images)]
    for index in range(60):
        background = photo(images, names[int(rng.integers(len(names)))])
        if index % 6 == 5:
            page = background
        else:
            page = page_of_text(rng, background if index % 3 == 2 else None)
        yield resize(page, text.PAGE, text.PAGE)


def lines(images: Path) -> Pictures:
    """Drawn lines, one in five on a photo, and one photographed line of Chinese in four ways."""
    rng = np.random.default_rng(4)
    names = [*_coco(images), *_others(images)]
    # This line is in the source as an example of text that stands on its head.
    chinese = photo(images, "ocr/text_cls.jpg")[::-1, ::-1]
    for picture in (chinese, 255 - chinese, chinese[:, :, ::-1], chinese[:, : 2 * 45]):
        yield _line(picture)
    for index in range(96):
        background = photo(images, names[int(rng.integers(len(names)))])
        yield _line(line_of_text(rng, background if index % 5 == 4 else None))


def _line(picture: np.ndarray) -> np.ndarray:
    """Scaled to the height of a line; grey (nothing, to the network) where it is too short."""
    height, width = picture.shape[:2]
    scaled = resize(picture, max(1, round(width * text.LINE_HEIGHT / height)), text.LINE_HEIGHT)
    shown = scaled[:, : text.LINE_WIDTH]
    canvas = np.full((text.LINE_HEIGHT, text.LINE_WIDTH, 3), 127, np.uint8)
    canvas[:, : shown.shape[1]] = shown
    return canvas


SETS: dict[str, Callable[[Path], Pictures]] = {
    "objects": objects,
    "faces": faces,
    "pages": pages,
    "lines": lines,
}


def write(name: str, folder: Path, images: Path) -> int:
    """Make one set below *folder*; returns how many pictures it has."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    count = 0
    for picture in SETS[name](images):
        cv2.imwrite(str(place / f"{count:03}.png"), picture)
        count += 1
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="SET")
    options = parser.parse_args()
    unknown = sorted(set(options.sets) - set(SETS))
    if unknown:
        parser.error(f"no such set: {', '.join(unknown)}; there are {', '.join(SETS)}")
    images = SHARED_DIR / "models" / "images"
    if not images.is_dir():
        print(f"{images}: the photos are not here (NNTC_SHARED_DIR)", file=sys.stderr)
        return 2
    for name in options.sets:
        print(f"{name}: {write(name, options.folder, images)} pictures", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
