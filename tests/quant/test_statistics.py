"""Statistics: merging, files, and refusing what does not belong together."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.ir.graph import TensorType, Value
from nntc.ir.weights import read_weights, write_weights
from nntc.quant import Statistics, statistics_file
from tests.quant.nets import small_net

SHAPES = {"a": (1, 4, 5, 5), "b": (1, 7), "scalar": (), "many": (1, 3000, 1), "ü/1:0": (1, 1, 8)}


def values() -> list[Value]:
    return [Value(name, TensorType(DType.F32, shape)) for name, shape in SHAPES.items()]


def made(seeds: range) -> Statistics:
    statistics = Statistics(values())
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for name, shape in SHAPES.items():
            x = np.asarray(rng.standard_normal(shape) * 10.0 ** (seed % 7 - 3), np.float32)
            statistics.values[name].add(np.maximum(x, 0) if name == "b" else x)
        statistics.samples += 1
    return statistics


def content(statistics: Statistics, folder: Path) -> bytes:
    path = folder / "content.stat"
    statistics.save(path)
    return path.read_bytes()


def test_round_trip(tmp_path: Path) -> None:
    statistics = made(range(5))
    statistics.save(tmp_path / "s.stat")
    again = Statistics.load(tmp_path / "s.stat")
    assert content(again, tmp_path) == content(statistics, tmp_path)
    assert again.samples == 5
    for name, value in statistics.values.items():
        other = again.values[name]
        assert other.type == value.type
        assert (other.minimum, other.maximum) == (value.minimum, value.maximum)
        np.testing.assert_array_equal(other.histogram.counts, value.histogram.counts)
        np.testing.assert_array_equal(other.by_channel.counts, value.by_channel.counts)
        np.testing.assert_array_equal(other.by_channel.limit, value.by_channel.limit)
        assert other.histogram.counts.dtype == np.int64


def test_what_is_loaded_can_count_on(tmp_path: Path) -> None:
    first = made(range(3))
    first.save(tmp_path / "s.stat")
    again = Statistics.load(tmp_path / "s.stat")
    again.merge(made(range(3, 6)))
    assert content(again, tmp_path) == content(made(range(6)), tmp_path)


def test_merge_in_any_order(tmp_path: Path) -> None:
    whole = made(range(6))
    parts = [made(range(4, 6)), made(range(1)), made(range(1, 4))]
    for part in parts[1:]:
        parts[0].merge(part)
    assert content(parts[0], tmp_path) == content(whole, tmp_path)


def test_notes(tmp_path: Path) -> None:
    statistics_file.write(made(range(1)), tmp_path / "s.stat", {"done": 3})
    assert statistics_file.read(tmp_path / "s.stat")[1] == {"done": 3}


def test_empty_statistics(tmp_path: Path) -> None:
    Statistics(values()).save(tmp_path / "s.stat")
    again = Statistics.load(tmp_path / "s.stat")
    assert again.samples == 0
    again.merge(made(range(2)))
    assert content(again, tmp_path) == content(made(range(2)), tmp_path)


def test_merge_refuses_other_values() -> None:
    other = Statistics([Value("a", TensorType(DType.F32, (1, 4, 5, 6))), *values()[2:]])
    with pytest.raises(UserError) as caught:
        made(range(1)).merge(other)
    problems = sorted(caught.value.problems)
    assert problems == [
        "value a: is f32[1x4x5x5] in one of the statistics, f32[1x4x5x6] in one",
        "value b: is in one of the merged statistics only",
    ]


def test_statistics_of_another_graph(tmp_path: Path) -> None:
    mine, other = small_net(), small_net((1, 3, 12, 14))
    statistics = Statistics([mine.nodes[0].outputs[0]])
    statistics.save(tmp_path / "s.stat")
    Statistics.load(tmp_path / "s.stat", mine)
    with pytest.raises(UserError, match=r"s.stat: value conv: is f32\[1x8x12x12\] in the stat"):
        Statistics.load(tmp_path / "s.stat", other)
    with pytest.raises(UserError, match="value a: is in the statistics, but not in the network"):
        made(range(1)).check(mine)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Statistics.load(tmp_path / "none")


def damaged(tensors: dict[str, np.ndarray], what: str) -> None:
    """Change one thing of the file."""
    header = tensors["header"].tobytes().decode()
    if what == "whole.exponent":
        tensors["0.whole.exponent"] = np.asarray(np.int64(4000))
    elif what == "channels":
        tensors["header"] = np.frombuffer(
            header.replace("[1, 4, 5, 5]", "[1, 16000000, 5, 5]").encode(), np.uint8
        )
    elif what == "negative first bin":
        tensors["header"] = np.frombuffer(
            header.replace('"channel": ', '"channel": -').encode(), np.uint8
        )
    elif what == "bins":
        tensors["0.whole.counts"] = np.ones(9000, np.uint8)
    elif what == "nan":
        tensors["0.minimum"] = np.full(4, np.nan, np.float32)
    elif what == "json":
        tensors["header"] = np.frombuffer(b"[" * 100000, np.uint8)
    elif what == "format":
        tensors["header"] = np.frombuffer(header.replace("nntc", "other").encode(), np.uint8)
    else:
        del tensors[what]


@pytest.mark.parametrize(
    "what",
    [
        "header", "0.minimum", "1.channel.counts", "whole.exponent", "channels",
        "negative first bin", "bins", "nan", "json", "format",
    ],
)  # fmt: skip
def test_damaged_files(what: str, tmp_path: Path) -> None:
    path = tmp_path / "s.stat"
    made(range(1)).save(path)
    tensors = {key: array.copy() for key, array in read_weights(path).items()}
    damaged(tensors, what)
    write_weights(tensors, path)
    with pytest.raises(UserError, match="is no file of statistics, or damaged"):
        Statistics.load(path)


def test_any_cut_or_changed_byte_is_an_error_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "s.stat"
    data = content(made(range(2)), tmp_path)
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(data)
        place = int(rng.integers(0, min(4000, len(data))))
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed if rng.random() < 0.7 else data[:place])
        with contextlib.suppress(UserError):
            Statistics.load(path)
