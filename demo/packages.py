"""Models and pictures that packages of the public registry carry.

They are downloaded once with pip into a cache folder and never installed or committed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "demo"


class DemoError(Exception):
    """Something that the demo needs from outside is not to be had."""


@dataclass(frozen=True)
class Member:
    """A file inside a wheel.

    Attributes:
        wheel: requirement for pip, with its exact version.
        path: inside the wheel.
        sha256: of the file; anything else is refused.
        platform: pip options that choose one of several wheels; the file is the same in all.
    """

    wheel: str
    path: str
    sha256: str
    platform: tuple[str, ...] = ()

    def fetch(self) -> Path:
        """The file, from the cache or from the registry.

        Raises:
            DemoError: pip cannot get the wheel, or it holds something else.
        """
        target = CACHE / Path(self.path).name
        if not target.exists():
            with zipfile.ZipFile(self._wheel()) as archive:
                data = archive.read(self.path)
            self._check(data)
            part = target.with_suffix(".part")
            part.write_bytes(data)
            part.replace(target)
        self._check(target.read_bytes())
        return target

    def _wheel(self) -> Path:
        """The wheel, from the cache or from the registry."""
        folder = CACHE / self.wheel
        for found in folder.glob("*.whl"):
            return found
        print(f"fetching {self.wheel} with pip ...", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work]
            command += ["--disable-pip-version-check", "--only-binary=:all:", *self.platform]
            done = subprocess.run(
                [*command, self.wheel], capture_output=True, text=True, check=False
            )
            wheels = list(Path(work).glob("*.whl"))
            if done.returncode or not wheels:
                reason = done.stderr.strip().splitlines()[-1:] or ["no wheel came"]
                raise DemoError(f"pip cannot download {self.wheel}: {reason[0]}")
            return wheels[0].replace(folder / wheels[0].name)

    def _check(self, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DemoError(f"{self.path} of {self.wheel} is not the file that is expected")


_OCR = "rapidocr-onnxruntime==1.4.4"
_PICTURES = "scikit-image==0.25.2"
_ANY_PICTURES_WHEEL = (
    *("--platform", "manylinux2014_x86_64"),
    *("--python-version", "3.11", "--implementation", "cp"),
)

DETECTOR = Member(
    _OCR,
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
)
"""PP-OCRv4 text detection (Apache-2.0)."""

RECOGNISER = Member(
    _OCR,
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
    "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
)
"""PP-OCRv4 text recognition (Apache-2.0); its alphabet is in the file's metadata."""

PAGE = Member(
    _PICTURES,
    "skimage/data/page.png",
    "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    _ANY_PICTURES_WHEEL,
)
"""A photographed page of a book (public domain)."""
