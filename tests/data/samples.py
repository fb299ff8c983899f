"""Little datasets, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nntc.core.errors import UserError

PICTURE_INPUT = {"x": (1, 3, 8, 12)}
TREATMENT = "resize=8x12,div=255,order=rgb,layout=nchw"


def pixels(seed: int = 0, height: int = 20, width: int = 30, channels: int = 3) -> np.ndarray:
    """A smooth random picture, u8[H, W, C]."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (3, 4, channels), dtype=np.uint8)
    planes = [
        np.asarray(
            Image.fromarray(small[:, :, c]).resize((width, height), Image.Resampling.BICUBIC)
        )
        for c in range(channels)
    ]
    return np.stack(planes, 2)


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path, **options)
    return path


def folder(root: Path, count: int = 5) -> Path:
    """*count* pictures in two folders, of the formats people have."""
    for index in range(count):
        suffix = (".png", ".jpg", ".bmp", ".webp", ".JPEG")[index % 5]
        save(root / f"class{index % 2}" / f"p{index}{suffix}", pixels(index))
    return root


def refused(call, *args, **options) -> list[str]:
    """The problems that *call* reports."""
    with pytest.raises(UserError) as caught:
        call(*args, **options)
    assert all(problem.strip() and "\n" not in problem for problem in caught.value.problems)
    return caught.value.problems
