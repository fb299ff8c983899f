"""Damaged files: whatever is in them, the outcome is a graph or one of our messages."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from nntc.core.errors import UserError
from nntc.frontends.darknet import load
from nntc.ir.verify import verify
from tests.frontends.darknet.make import config, random_weights
from tests.frontends.darknet.test_opencv import NETWORKS

SECONDS = 10
NUMBERS = ("0", "-1", "1", "2", "7", "65536", "2147483647", "-2147483648", "1e9", "1e99", "", "x")
NAMES = ("lstm", "route", "softmax", "upsample", "reorg", "crop", "local", "connected", "avgpool")


def mutations(cfg: bytes, data: bytes, count: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Damaged copies of a configuration and its weights."""
    rng = random.Random(seed)
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:
            yield cfg, data[: rng.randrange(len(data))]
        elif kind == 1:
            spoilt = bytearray(cfg)
            for _ in range(rng.choice((1, 2, 8))):
                spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
            yield bytes(spoilt), data
        else:
            lines = cfg.decode().split("\n")
            for _ in range(rng.choice((1, 1, 3))):
                at = rng.randrange(len(lines))
                key, equals, _ = lines[at].partition("=")
                if equals:
                    lines[at] = f"{key}={rng.choice(NUMBERS)}"
                elif rng.random() < 0.5:
                    lines.insert(at, f"[{rng.choice(NAMES)}]")
                else:
                    del lines[at]
            yield "\n".join(lines).encode(), data


def check(cfg: bytes, data: bytes) -> bool:
    """Load; True if it gave a graph. Anything but our own errors is let through."""
    start = time.monotonic()
    problems: list[str] = []
    try:
        verify(load(cfg, data, strict=True))
    except UserError as err:
        problems = err.problems
        assert problems
    assert time.monotonic() - start < SECONDS
    assert all(line and "\n" not in line for line in problems)
    return not problems


@pytest.mark.parametrize("name", NETWORKS)
def test_mutations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config(*NETWORKS[name], height=32, width=32)
    data = random_weights(cfg, monkeypatch)
    assert check(cfg, data)
    good = sum(check(*pair) for pair in mutations(cfg, data, 150, seed=4))
    # Some damage does not matter, most does.
    assert 0 < good < 100


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_many_mutations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config(*NETWORKS[name], height=32, width=32)
    data = random_weights(cfg, monkeypatch)
    for pair in mutations(cfg, data, 1000, seed=5):
        check(*pair)
