"""Statistics on disk: a safetensors file.

Tensor ``header`` is JSON text (names, types, number of samples); the arrays of the value number i
are called ``i.minimum``, ``i.counts`` and so on. Counts are stored without the empty bins at both
ends, in the smallest unsigned type that holds them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.core.files import atomic_path
from nntc.ir.graph import TensorType
from nntc.ir.weights import read_weights, write_weights
from nntc.quant.histogram import LEAST_EXPONENT, MOST_EXPONENT, Histogram
from nntc.quant.statistics import Statistics, ValueStatistics

_FORMAT = "nntc statistics 1"
_COUNTS = (np.uint8, np.uint16, np.uint32, np.uint64)
_MOST_CHANNELS = 1 << 24


def write(
    statistics: Statistics, path: str | os.PathLike[str], notes: dict[str, Any] | None = None
) -> None:
    """Write atomically.

    Args:
        notes: anything that JSON can hold; comes back from :func:`read`.

    Raises:
        UserError: the file cannot be written.
    """
    tensors: dict[str, np.ndarray] = {}
    entries: list[dict[str, Any]] = []
    for i, (name, value) in enumerate(statistics.values.items()):
        entry: dict[str, Any] = {
            "name": name,
            "dtype": value.type.dtype.value,
            "shape": list(value.type.shape),
        }
        tensors[f"{i}.minimum"] = value.channel_minimum
        tensors[f"{i}.maximum"] = value.channel_maximum
        for key, histogram in (("whole", value.histogram), ("channel", value.by_channel)):
            entry[key], tensors[f"{i}.{key}.counts"] = _trimmed(histogram.counts)
            tensors[f"{i}.{key}.exponent"] = histogram.exponent
            tensors[f"{i}.{key}.zeros"] = histogram.zeros
        entries.append(entry)
    header = {
        "format": _FORMAT,
        "samples": statistics.samples,
        "notes": notes or {},
        "values": entries,
    }
    text = json.dumps(header, sort_keys=True)
    tensors["header"] = np.frombuffer(text.encode(), np.uint8)
    with atomic_path(path) as temporary:
        write_weights({k: np.asarray(v) for k, v in tensors.items()}, temporary)


def read(path: str | os.PathLike[str]) -> tuple[Statistics, dict[str, Any]]:
    """Statistics and notes.

    Raises:
        UserError: the file is missing or damaged.
    """
    tensors = read_weights(Path(path))
    statistics = Statistics()
    try:
        header: Any = json.loads(tensors["header"].tobytes())
        if header["format"] != _FORMAT:
            raise ValueError("it has another format")
        statistics.samples = int(header["samples"])
        for i, entry in enumerate(header["values"]):
            statistics.values[str(entry["name"])] = _value(entry, tensors, i)
        notes = dict(header["notes"])
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as err:
        raise UserError(f"{path}: is no file of statistics, or damaged: {err}") from None
    return statistics, notes


def _trimmed(counts: np.ndarray) -> tuple[int, np.ndarray]:
    """The first bin that any channel uses, and the counts from there to the last one."""
    used = np.flatnonzero(np.any(counts, axis=tuple(range(counts.ndim - 1))))
    first, end = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
    kept = counts[..., first:end]
    most = int(kept.max(initial=0))
    dtype = next(t for t in _COUNTS if most <= np.iinfo(t).max)
    return first, kept.astype(dtype)


def _value(entry: Any, tensors: dict[str, np.ndarray], i: int) -> ValueStatistics:
    """One value's statistics.

    Raises:
        KeyError, TypeError, ValueError: the file is damaged.
    """
    shape = tuple(entry["shape"])
    if not all(type(n) is int and 0 <= n <= _MOST_CHANNELS for n in shape):
        raise ValueError(f"value {i} has the shape {shape}")
    channels = shape[1] if len(shape) > 1 else 1
    minimum, maximum = (tensors[f"{i}.{key}"] for key in ("minimum", "maximum"))
    for array in (minimum, maximum):
        # Before anything is allocated for so many channels.
        if array.dtype != np.float32 or array.shape != (channels,) or np.isnan(array).any():
            raise ValueError(f"value {i} has wrong ranges")
    value = ValueStatistics(TensorType(DType(entry["dtype"]), shape))
    value.channel_minimum, value.channel_maximum = minimum.copy(), maximum.copy()
    for key, histogram in (("whole", value.histogram), ("channel", value.by_channel)):
        _fill(histogram, entry[key], tensors, f"{i}.{key}")
    return value


def _fill(histogram: Histogram, first: Any, tensors: dict[str, np.ndarray], prefix: str) -> None:
    """Read the histogram's arrays.

    Raises:
        KeyError, ValueError: the file is damaged.
    """
    counts, exponent, zeros = (
        tensors[f"{prefix}.{key}"] for key in ("counts", "exponent", "zeros")
    )
    rows = histogram.counts.shape[:-1]
    good = (
        type(first) is int
        and counts.dtype in _COUNTS
        and counts.shape[:-1] == rows
        and 0 <= first <= first + counts.shape[-1] <= histogram.bins
        and all(a.dtype == np.int64 and a.shape == rows for a in (exponent, zeros))
        and np.all((exponent >= LEAST_EXPONENT) & (exponent <= MOST_EXPONENT))
        and np.all(zeros >= 0)
        and int(counts.max(initial=0)) < 1 << 62
    )
    if not good:
        raise ValueError(f"the histogram {prefix} has wrong arrays")
    histogram.counts[..., first : first + counts.shape[-1]] = counts
    histogram.exponent, histogram.zeros = exponent.copy(), zeros.copy()
