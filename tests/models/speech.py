"""Telling speech from silence: a recurrent network that looks at 32 ms after 32 ms."""

from __future__ import annotations

import numpy as np

RATE = 16000
CHUNK, CONTEXT = 512, 64


def windows(sound: np.ndarray) -> list[np.ndarray]:
    """f32[1, 576] each: 64 samples from before, 512 new ones."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    count = len(sound) // CHUNK
    return [padded[None, i * CHUNK : (i + 1) * CHUNK + CONTEXT] for i in range(count)]


def inputs(window: np.ndarray, state: np.ndarray) -> dict[str, np.ndarray]:
    return {"input": window, "state": state, "sr": np.array(RATE, np.int64)}


def first_state() -> np.ndarray:
    return np.zeros((2, 1, 128), np.float32)
