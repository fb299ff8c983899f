"""Picture files to pixels, with Pillow, which is imported on use."""

from __future__ import annotations

import functools
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nntc.core.errors import UserError
from nntc.data.resize import MAX_PIXELS

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    # Not read, but pictures: named as skipped instead of being passed over.
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".tga"),
)
# Only these decoders: Pillow has others that start programs (EPS) or that nobody needs.
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "TIFF", "PPM")

MAX_FILE_BYTES = 1 << 30


class CorruptSampleError(UserError):
    """One sample cannot be read; the others can. Holds the reason, without the sample's name."""


@functools.cache
def pillow() -> Any:
    """Pillow's Image module.

    Raises:
        UserError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise UserError("reading pictures needs Pillow (pip install pillow)") from None
    # It warns of large pictures and of damaged metadata. Sizes are checked here; the filter stays,
    # because setting it for each picture would be seen by other threads.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return Image


def read_picture(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        CorruptSampleError: missing, not a file, not readable, empty or far too large.
    """
    try:
        if not path.is_file():
            raise CorruptSampleError("not a file" if path.exists() else "no such file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CorruptSampleError(f"{size} bytes; {MAX_FILE_BYTES} are read")
        data = path.read_bytes()
    except OSError as err:
        raise CorruptSampleError(f"cannot be read: {err.strerror or err}") from None
    if not data:
        raise CorruptSampleError("the file is empty")
    return data


def decode_picture(data: bytes, order: str = "rgb", exif: bool = False) -> np.ndarray:
    """Pixels of a picture file: u8[H, W, 3], or u8[H, W, 1] for *order* ``gray``.

    The first picture of an animation; transparency is dropped; 16 bits are cut to 8. The
    orientation noted in EXIF data is ignored, as torchvision and TensorFlow do, unless *exif* is
    true (``cv2.imread`` follows it).

    Raises:
        CorruptSampleError: not a picture, damaged, cut off, or more than MAX_PIXELS pixels.
        UserError: Pillow is not installed.
    """
    image_module = pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CorruptSampleError(
                    f"{image.width}x{image.height} pixels; at most {MAX_PIXELS} are read"
                )
            # 16 bits of gray come as 32 bits from these formats, which have no other use for them.
            deep = image.mode == "I" and image.format in ("PNG", "PPM")
            deep |= image.mode.startswith("I;16")
            upright = _upright(image) if exif else image
            if deep:
                shades = np.clip(np.asarray(upright), 0, 0xFFFF).astype(np.uint16) >> 8
                # Pillow would clip instead of scaling.
                upright = image_module.fromarray(shades.astype(np.uint8))
            array = _pixels(upright, "L" if order == "gray" else "RGB")
    except CorruptSampleError:
        raise
    except image_module.DecompressionBombError:
        raise CorruptSampleError(f"more than {MAX_PIXELS} pixels") from None
    except Exception as err:
        # Decoders raise anything on damaged data: SyntaxError, struct.error, IndexError ...
        raise CorruptSampleError(_reason(err)) from None
    return array[:, :, ::-1] if order == "bgr" else array


def _reason(err: Exception) -> str:
    if type(err).__name__ == "UnidentifiedImageError":
        return "not a picture of a known format"
    lines = str(err).splitlines() or [type(err).__name__]
    return f"damaged picture: {lines[0]}"


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _pixels(image: Any, mode: str) -> np.ndarray:
    if image.mode in ("I", "F"):
        raise CorruptSampleError("32-bit pixels: their range is not known")
    array = np.array(image.convert(mode))
    return array if array.ndim == 3 else array[:, :, None]
