"""The demonstration: read a photographed page with two trained networks, on a simulated BM1684.

Both networks are compiled from ONNX to BModel files, which a board with the chip would run just
so, and run on the embedded simulator.

    make demo            or, in an environment with nntc and Pillow:
    python demo/read_page.py
"""

from __future__ import annotations

import difflib
import sys
import time
from pathlib import Path

import numpy as np
import ocr
import onnx
import packages
from PIL import Image, ImageDraw, ImageFont

import nntc
from nntc.core.errors import UserError

OUTPUT = Path(__file__).resolve().parent.parent / "build" / "demo"

ON_THE_PAGE = (
    "Region-based segmentation",
    "Let us first determine markers of the coins and the",
    "background. These markers are pixels that we can label",
    "unambiguously as either object or background. Here,",
    "the markers are found at the two extreme parts of the",
    "histogram of grey values:",
    ">>> markers = np.zeros_like(coins)",
)
"""What a person reads there."""


def compile_network(member: packages.Member, name: str, shape: tuple[int, ...]) -> nntc.Engine:
    """Compile a downloaded model for one input shape and load it into the simulator."""
    source = member.fetch()
    target = OUTPUT / f"{name}.bmodel"
    started = time.perf_counter()
    nntc.compile(source, target, shapes=[shape])
    seconds = time.perf_counter() - started
    size = target.stat().st_size / 1e6
    print(
        f"compiled {source.name} in {seconds:.1f} s\n      to {target} ({size:.1f} MB)", flush=True
    )
    return nntc.Engine(target)


def alphabet(model: Path) -> list[str]:
    """The recogniser's characters: none, those that the model file lists, and the blank."""
    entries = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    return ["", *entries["character"].splitlines(), " "]


def timed(engine: nntc.Engine, array: np.ndarray) -> tuple[np.ndarray, float]:
    """The network's one output, and seconds."""
    started = time.perf_counter()
    (output,) = engine(array).values()
    return output, time.perf_counter() - started


def likeness(text: str, expected: str) -> float:
    """Part of the characters that are right."""
    return difflib.SequenceMatcher(None, text, expected, autojunk=False).ratio()


def draw(page: Image.Image, boxes: list[ocr.Box], texts: list[str]) -> Path:
    """The page with a frame around each line, and beside it what was read."""
    sheet = Image.new("RGB", (2 * page.width, page.height), "white")
    sheet.paste(page)
    pencil = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for box, text in zip(boxes, texts, strict=True):
        pencil.rectangle((box.left, box.top, box.right, box.bottom), outline="red", width=2)
        pencil.text((page.width + 20, box.top), text, fill="black", font=font)
    target = OUTPUT / "page.png"
    sheet.save(target)
    return target


def main() -> int:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page = ocr.fit_page(Image.open(packages.PAGE.fetch()))
    detector = compile_network(
        packages.DETECTOR, "detector", (1, 3, ocr.PAGE_HEIGHT, ocr.PAGE_WIDTH)
    )
    recogniser = compile_network(
        packages.RECOGNISER, "recogniser", (1, 3, ocr.LINE_HEIGHT, ocr.LINE_WIDTH)
    )
    letters = alphabet(packages.RECOGNISER.fetch())

    likelihood, seconds = timed(detector, ocr.normalise(page)[None])
    boxes = ocr.find_boxes(likelihood[0, 0])
    print(f"\nthe detector found {len(boxes)} lines of text ({seconds:.1f} s on the simulator)\n")
    texts: list[str] = []
    for box in boxes:
        likelihood, seconds = timed(recogniser, ocr.fit_line(page, box))
        text, certainty = ocr.read_characters(likelihood[0], letters)
        texts.append(text)
        print(f"  {certainty:4.0%}  {text}    ({seconds:.1f} s)", flush=True)

    right = likeness("\n".join(texts), "\n".join(ON_THE_PAGE))
    print("\nwhat a person reads there:\n")
    for line in ON_THE_PAGE:
        print(f"        {line}")
    print(f"\n{right:.1%} of the characters agree")
    print(f"the page with its boxes: {draw(page, boxes, texts)}")
    print(f"the compiled networks:   {OUTPUT / 'detector.bmodel'}")
    print(f"                         {OUTPUT / 'recogniser.bmodel'}")
    return 0 if right > 0.95 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except packages.DemoError as problem:
        sys.exit(f"error: {problem}")
    except UserError as problem:
        sys.exit("\n".join(f"error: {text}" for text in problem.problems))
