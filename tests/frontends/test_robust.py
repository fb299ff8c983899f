"""Damaged files: whatever is in them, the outcome is a graph or one of our messages."""

from __future__ import annotations

import time

import pytest
from onnx import ModelProto

from nntc.core.errors import UserError
from nntc.frontends.onnx import load
from nntc.ir.verify import verify
from nntc.passes import simplify
from tests.frontends import models
from tests.frontends.mutate import mutations

SOURCES = {
    "convolutional": models.convolutional,
    "recurrent": models.recurrent,
    "controlled": models.controlled,
}
# Generous for a busy machine; single loads take milliseconds.
SECONDS = 30


def check(data: bytes) -> bool:
    """Load; True if it gave a graph. Anything but our own errors is let through."""
    start = time.monotonic()
    problems: list[str] | None = None
    try:
        graph = load(data)
        verify(graph)
        simplify(graph)
        verify(graph)
    except UserError as err:
        problems = err.problems
    assert time.monotonic() - start < SECONDS
    if problems is None:
        return True
    assert problems
    assert all(line and "\n" not in line for line in problems)
    return False


@pytest.mark.parametrize("name", SOURCES)
def test_every_truncation(name: str) -> None:
    data = SOURCES[name]().SerializeToString()
    outcomes = [check(data[:size]) for size in range(0, len(data), 7)]
    assert not all(outcomes)
    assert check(data)


def fuzz(name: str, count: int, seed: int) -> None:
    good = sum(map(check, mutations(SOURCES[name]().SerializeToString(), count, seed)))
    # Some damage does not matter, most does.
    assert 0 < good < count


@pytest.mark.parametrize("name", SOURCES)
def test_mutations(name: str) -> None:
    fuzz(name, 150, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_many_mutations(name: str) -> None:
    fuzz(name, 1000, seed=2)


def test_damaged_names() -> None:
    """Names that are not UTF-8 come as bytes."""
    data = models.convolutional().SerializeToString()
    for name in (b"Conv", b"flat", b"network", b"kernel_shape", b"epsilon"):
        assert not check(data.replace(name, b"\xff" * len(name)))


def test_a_model_message_without_anything() -> None:
    assert not check(ModelProto(ir_version=8).SerializeToString())
