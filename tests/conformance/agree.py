"""One BModel on every path: both simulator engines, the C-model command by command in both
orders (once with moved memory), and the chip maker's runtime; and the independent drivers, where
they are. All outputs must have the same bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from nntc.runtime import Engine
from nntc.runtime.arrays import random_inputs
from tests.conformance import judges

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
    model: Path,
    libs: Path,
    inputs: Arrays | None = None,
    net: str | None = None,
    judge: Path | None = None,
    without: Collection[str] = (),
    timeout: float = 600,
) -> dict[str, dict[str, np.ndarray]]:
    """Path → outputs of a net.

    Args:
        inputs: default: random ones.
        judge: folder of the independent drivers.
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
    if judge is None or not judge.is_dir():
        return found
    with Engine(model) as engine:
        chosen = engine.net(net)
        content = next(n for n in engine.model.nets if n.name == chosen.name)
        # The drivers see whole files of one stage, and the first net.
        if len(content.stages) == 1 and content is engine.model.nets[0]:
            for path in judges.COMMANDS:
                if path not in without and judges.applies(path, content.stages[0]):
                    args = (judge, libs, model, chosen, inputs or {}, timeout)
                    found[path] = judges.run(path, *args)
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
