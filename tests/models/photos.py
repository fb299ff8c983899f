"""Real pictures and sound for the networks of :mod:`tests.models.zoo`."""

from __future__ import annotations

import csv
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# CIFAR-10 class → the ImageNet classes of its kind that have a photo: aeroplanes, cars, birds,
# cats, dogs, frogs, horses, ships, lorries.
_CIFAR: dict[int, Sequence[int]] = {
    0: (404, 895),
    1: (436, 511, 751, 817),
    2: range(7, 25),
    3: range(281, 286),
    5: range(151, 269),
    6: range(30, 33),
    7: (339,),
    8: (510, 628),
    9: (555, 569, 675, 717, 864, 867),
}

FACES = {
    "face/lfw_Aaron_Eckhart_0001.jpg": 1,
    "face/spoof_T1.jpg": 1,
    "face/ul_13.jpg": 2,
    "face/zidane.jpg": 2,
    "face/ul_2.jpg": 4,
    "face/ul_19.jpg": 5,
}
"""Photo → how many faces are on it."""

SPEECH = "audio/speech_16k_1s_silence_pad.wav"


@dataclass(frozen=True)
class Photos:
    """The folder ``images``; paths are relative to it."""

    folder: Path

    def picture(self, name: str) -> np.ndarray:
        """u8[H, W, 3], blue first."""
        import cv2

        found = cv2.imread(str(self.folder / name))
        assert found is not None, f"{self.folder / name}: no such picture"
        return found

    def classes(self) -> list[tuple[str, int]]:
        """Photos and their ImageNet classes."""
        with (self.folder / "labels.csv").open(encoding="utf-8") as file:
            return [(row["file"], int(row["class_index"])) for row in csv.DictReader(file)]

    def synsets(self) -> list[tuple[str, str]]:
        """Photos and the WordNet numbers of their ImageNet classes."""
        with (self.folder / "labels.csv").open(encoding="utf-8") as file:
            return [(row["file"], row["wnid"]) for row in csv.DictReader(file)]

    def coco(self) -> list[str]:
        """Names of the photos with known boxes, without ending."""
        return sorted(file.stem for file in (self.folder / "coco" / "labels").glob("*.txt"))

    def cifar_classes(self) -> list[tuple[str, int]]:
        """Photos and their CIFAR-10 classes, where they have one."""
        kinds = {found: kind for kind, several in _CIFAR.items() for found in several}
        return [(name, kinds[found]) for name, found in self.classes() if found in kinds]

    def sound(self, name: str = SPEECH) -> np.ndarray:
        """f32[samples] of a 16 kHz recording, in -1..1."""
        with wave.open(str(self.folder / name)) as file:
            assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16000, 2, 1)
            data = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return data.astype(np.float32) / 32768


def resize(picture: np.ndarray, width: int, height: int, shrink: bool = False) -> np.ndarray:
    """Scale a picture, bilinearly or (*shrink*) by averaging areas."""
    import cv2

    method = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=method)


def centre(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture."""
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def planes(picture: np.ndarray) -> np.ndarray:
    """[H, W, C] → f32[1, C, H, W], contiguous."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
