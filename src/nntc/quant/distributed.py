"""Calibration on a Dask cluster (extra ``nntc[dask]``).

Workers get the network as UModel files and the numbers of the samples to read, so they must be able
to read the dataset: the same files at the same place. They send back statistics as files. Merging
is exact in any order, and products do not depend on the number of threads, so the result is that of
one process to the bit, given that all run the same NumPy on the same kind of processor.
"""

from __future__ import annotations

import os
import pickle
import queue
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nntc.core.errors import UserError
from nntc.data import CorruptSampleError
from nntc.ir import umodel
from nntc.ir.graph import Graph
from nntc.quant.calibrate import (
    Progress,
    Samples,
    add_samples,
    chosen_positions,
    counted_part,
    grouped_samples,
    need_samples,
)
from nntc.quant.statistics import Statistics

CONNECT_SECONDS = 20
POLL_SECONDS = 10
"""How often to ask, while nothing is ready, whether there are still workers."""

_CHUNKS_PER_WORKER = 4
_MOST_SAMPLES = 64
"""Samples of a chunk: the progress moves, and little is repeated when a worker is lost."""

_Reply = tuple[bytes, list[int], list[str]]
"""Statistics; positions among which are those that could not be read; problems."""


def calibrate(
    graph: Graph,
    dataset: Samples,
    scheduler: str,
    *,
    values: Collection[str] | None = None,
    limit: int = 0,
    progress: Progress | None = None,
) -> Statistics:
    """As :func:`nntc.quant.calibrate`, by the workers of a cluster.

    Args:
        scheduler: address of its scheduler, as ``tcp://host:8786``.

    Raises:
        UserError: Dask is not installed; the cluster cannot be reached, has no workers or loses
            them; and as :func:`nntc.quant.calibrate`.
    """
    part, wanted = counted_part(graph, values)
    positions = chosen_positions(len(dataset), limit)
    client = _connect(scheduler)
    try:
        workers = len(client.nthreads())
        if not workers:
            raise UserError(f"{scheduler}: the cluster has no workers")
        size = max(1, min(_MOST_SAMPLES, len(positions) // (workers * _CHUNKS_PER_WORKER)))
        chunks = [positions[i : i + size] for i in range(0, len(positions), size)]
        statistics = Statistics(wanted)
        _gather(client, part, dataset, chunks, statistics, progress)
    finally:
        client.close()
    need_samples(statistics, len(positions))
    return statistics


def _connect(scheduler: str) -> Any:
    """A client of the cluster.

    Raises:
        UserError: Dask is not installed, or nothing answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            f"{scheduler}: a cluster needs Dask, which is not installed: pip install 'nntc[dask]'"
        ) from None
    try:
        return Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as err:
        raise UserError(f"{scheduler}: no Dask scheduler answers: {err}") from None


def _gather(
    client: Any,
    part: Graph,
    dataset: Samples,
    chunks: Sequence[Sequence[int]],
    statistics: Statistics,
    progress: Progress | None,
) -> None:
    """Merge what the workers count into *statistics*.

    Raises:
        UserError: a sample does not fit, or a worker failed.
    """
    total, done = sum(map(len, chunks)), 0
    try:
        files, data = client.scatter([_packed(part), dataset], broadcast=True, hash=False)
    except (TypeError, AttributeError, pickle.PicklingError) as err:
        raise UserError(f"the dataset cannot be sent to the workers: {err}") from None
    futures = {client.submit(_count, files, data, chunk, pure=False): chunk for chunk in chunks}
    problems: dict[int, list[str]] = {}
    for future in _completed(client, list(futures)):
        chunk = futures.pop(future)
        if future.status != "finished":
            error = future.exception() if future.status == "error" else None
            text = f"{type(error).__name__}: {error}".splitlines()[0] if error else "it is lost"
            raise UserError(f"calibration on the cluster: a worker failed: {text}")
        content, doubtful, found = future.result()
        if found:
            problems[chunk[0]] = found
        else:
            statistics.merge(_unpacked(content))
        for position in doubtful:
            # Read here, too, so that this process's dataset knows.
            with suppress(CorruptSampleError):
                _ = dataset[position]
        future.release()
        done += len(chunk)
        if progress is not None:
            progress("calibrate", done, total)
    if problems:
        raise UserError([text for first in sorted(problems) for text in problems[first]])


def _completed(client: Any, futures: Sequence[Any]) -> Iterator[Any]:
    """The futures as they become ready.

    Raises:
        UserError: no worker is left.
    """
    ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ready.put)
    for _ in futures:
        while True:
            try:
                yield ready.get(timeout=POLL_SECONDS)
                break
            except queue.Empty:
                if client.status != "running" or not client.nthreads():
                    raise UserError(
                        "calibration on the cluster: it has lost all its workers"
                    ) from None


def _count(files: Mapping[str, bytes], dataset: Samples, positions: Sequence[int]) -> _Reply:
    """On a worker: statistics of some samples."""
    with tempfile.TemporaryDirectory(prefix="nntc-") as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        graph = umodel.load(Path(folder, _STEM))
        # The part has exactly the values to count as outputs.
        statistics = Statistics(graph.outputs)
        doubtful: list[int] = []
        try:
            at = 0
            for tried, samples in grouped_samples(dataset, positions):
                if len(samples) < tried:
                    doubtful += positions[at : at + tried]
                at += tried
                add_samples(graph, statistics, samples)
        except UserError as err:
            return b"", doubtful, err.problems
        path = Path(folder, "statistics")
        statistics.save(path)
        return path.read_bytes(), doubtful, []


_STEM = "network"


def _packed(part: Graph) -> dict[str, bytes]:
    """The UModel's files."""
    with tempfile.TemporaryDirectory(prefix="nntc-") as folder:
        paths = umodel.save(part, os.path.join(folder, _STEM))
        return {path.name: path.read_bytes() for path in paths}


def _unpacked(content: bytes) -> Statistics:
    with tempfile.TemporaryDirectory(prefix="nntc-") as folder:
        path = Path(folder, "statistics")
        path.write_bytes(content)
        return Statistics.load(path)
