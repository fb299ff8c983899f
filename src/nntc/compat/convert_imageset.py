"""Write the pictures of a folder to an LMDB of samples, as the historical ``convert_imageset``.

today's form, one float32 [1, C, H, W] a picture:
  convert_imageset --imageset_rootfolder DIR --imageset_lmdbfolder DIR --resize_height 256 \\
      --resize_width 256 --shuffle True --bgr2rgb False --gray False

the older form, one uint8 picture with its class a line of LISTFILE ("path label"):
  convert_imageset ROOTFOLDER/ LISTFILE DB_NAME --resize_height=256 --resize_width=256

Pictures are read as OpenCV does: blue first, EXIF orientation followed, bilinear resize. One that
cannot be read is named and left out.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nntc.cli.main import Parser, guard, printable
from nntc.compat.ufwio import LMDB_Dataset
from nntc.core.errors import UserError
from nntc.data.datum import encode_datum, encode_picture
from nntc.data.decode import CorruptSampleError, decode_picture, read_picture
from nntc.data.listing import is_picture, list_folder, read_list
from nntc.data.resize import resize
from nntc.data.samples import relative

_SEED = 3


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r}: true or false is expected")
    return text.lower() in ("true", "1")


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) > 1 << 14:
        raise argparse.ArgumentTypeError(f"{text!r} is no size in pixels")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="convert_imageset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("old", nargs="*", metavar="ROOTFOLDER LISTFILE DB_NAME")
    parser.add_argument("--imageset_rootfolder", metavar="DIR", help="pictures; not below folders")
    parser.add_argument("--imageset_lmdbfolder", metavar="DIR", help="default: the rootfolder")
    for name, help_text in (("height", "0: as it is"), ("width", "0: as it is")):
        parser.add_argument(f"--resize_{name}", type=_side, default=0, metavar="N", help=help_text)
    for name, help_text in (
        ("shuffle", "mix the order, always in the same way"),
        ("bgr2rgb", "red first"),
        ("gray", "one channel"),
        ("check_size", "older form: all pictures must have one size"),
        ("encoded", "older form: store the picture files themselves"),
    ):
        parser.add_argument(
            f"--{name}", type=_switch, nargs="?", const=True, default=False, help=help_text
        )
    parser.add_argument("--backend", choices=("lmdb",), default="lmdb", help="older form")
    parser.add_argument("--encode_type", default="", help="older form: accepted, has no effect")
    return parser


def convert(args: argparse.Namespace) -> tuple[int, int]:
    """Do what the options say; returns how many pictures were written and left out.

    Raises:
        UserError: no pictures, not one can be read, or the folder cannot be written.
    """
    folder, pictures, target = _plan(args)
    if not pictures:
        raise UserError(f"{folder}: holds no pictures")
    if args.shuffle:
        random.Random(_SEED).shuffle(pictures)
    left_out = 0
    sizes: set[tuple[int, ...]] = set()
    with LMDB_Dataset(target) as db:
        for number, (name, label) in enumerate(pictures):
            try:
                data = read_picture(folder / name)
                pixels = _pixels(data, args)
            except CorruptSampleError as err:
                left_out += 1
                print(printable(f"warning: {folder / name}: left out: {err}"), file=sys.stderr)
                continue
            sizes.add(pixels.shape)
            if args.check_size and len(sizes) > 1:
                raise UserError(f"{folder / name}: sizes differ: {sorted(sizes)}")
            if not args.old:
                db.put(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32))
            elif args.encoded:
                db.put_records([(_old_key(number, name), encode_picture(data, label))])
            else:
                planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
                db.put_records([(_old_key(number, name), encode_datum(planes, label, True))])
        if left_out == len(pictures):
            raise UserError(f"{folder}: not one of {left_out} pictures can be read")
    return len(pictures) - left_out, left_out


def _plan(args: argparse.Namespace) -> tuple[Path, list[tuple[str, int | None]], Path]:
    """The folder, the pictures in it with their classes, and the folder to write."""
    if args.old:
        if len(args.old) != 3 or args.imageset_rootfolder:
            raise UserError("ROOTFOLDER LISTFILE DB_NAME are needed, or --imageset_rootfolder")
        root, listing = Path(args.old[0]), read_list(Path(args.old[1]), Path(args.old[0]))
        target = Path(args.old[2])
    else:
        if not args.imageset_rootfolder:
            raise UserError("--imageset_rootfolder is needed (see 'convert_imageset --help')")
        root = Path(args.imageset_rootfolder)
        listing = list_folder(root, below=False)
        target = Path(args.imageset_lmdbfolder or root)
    pairs = zip(listing.files, listing.labels, strict=True)
    pictures = [(relative(file, root), label) for file, label in pairs if is_picture(file)]
    return root, pictures, target


def _pixels(data: bytes, args: argparse.Namespace) -> np.ndarray:
    order = "gray" if args.gray else "rgb" if args.bgr2rgb else "bgr"
    pixels = decode_picture(data, order, exif=True)
    height, width = args.resize_height or pixels.shape[0], args.resize_width or pixels.shape[1]
    return resize(pixels, height, width, "cv2")


def _old_key(number: int, name: str) -> bytes:
    return f"{number:08d}_{name}".encode(errors="surrogateescape")


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        written, left_out = convert(build_parser().parse_args(argv))
        print(f"{written} pictures written" + (f", {left_out} left out" if left_out else ""))

    return guard(run)


if __name__ == "__main__":
    raise SystemExit(main())
