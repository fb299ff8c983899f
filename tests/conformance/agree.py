"""One BModel on every path: both simulator engines, the C-model command by command in both
orders (once with moved memory), and the chip maker's runtime. All outputs must have the same
bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nntc.bmodel import BModel
from nntc.runtime import Engine
from nntc.runtime.arrays import random_inputs

Arrays = Mapping[str, np.ndarray]

FAST, REFERENCE = "simulator, fast", "simulator, reference"
RUNTIME = "maker's runtime"
MODEL_PATHS: dict[str, tuple[str, dict[str, object]]] = {
    FAST: ("simulator", {"engine": "fast"}),
    REFERENCE: ("simulator", {"engine": "reference"}),
    RUNTIME: ("cmodel", {}),
    "C-model, GDMA ahead": ("cmodel-commands", {"order": "gdma"}),
    "C-model, TIU ahead, memory moved": ("cmodel-commands", {"order": "tiu", "relocate": True}),
}
"""Name → device and options."""


def outputs_on_every_path(
    model: BModel | Path,
    libs: Path,
    inputs: Arrays | None = None,
    net: str | None = None,
    without: tuple[str, ...] = (),
    timeout: float = 600,
) -> dict[str, dict[str, np.ndarray]]:
    """Path → outputs of a net.

    Args:
        inputs: default: random ones.
        without: paths to leave out (the reference engine is slow on large nets).
        timeout: seconds for a run on the C-model.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for path, (device, options) in MODEL_PATHS.items():
        if path in without:
            continue
        if device != "simulator":
            options = {**options, "libs": libs, "timeout": timeout}
        with Engine(model, device, **options) as engine:
            chosen = engine.net(net)
            if inputs is None:
                inputs = random_inputs(chosen.inputs, seed=1)
            found[path] = chosen(inputs)
    return found


def assert_agreement(found: Mapping[str, Arrays]) -> None:
    """Every path gives the bytes of the first one."""
    first, *others = found.items()
    for path, outputs in others:
        assert list(outputs) == list(first[1])
        for name, array in outputs.items():
            expected = first[1][name]
            assert (array.shape, array.dtype) == (expected.shape, expected.dtype), f"{path}: {name}"
            if array.tobytes() != expected.tobytes():
                differ = np.nonzero(array.ravel().view(np.uint8) != expected.ravel().view(np.uint8))
                where = int(differ[0][0]) // array.itemsize
                raise AssertionError(
                    f"{path} and {first[0]} differ in {name}[{where}]: "
                    f"{array.flat[where]!r} and {expected.flat[where]!r}"
                )
