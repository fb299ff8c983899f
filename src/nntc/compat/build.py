"""What the historical compilers write: a folder with the BModel and reference data, or a UModel."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nntc.compat.arguments import warn
from nntc.core.errors import UserError
from nntc.core.files import write_bytes

if TYPE_CHECKING:
    from nntc.bmodel import BModel
    from nntc.ir.graph import Graph

RULE = "#" * 38
Description = tuple[int, str, float, float]
"""(index of the input, element type, lowest, end) of random numbers."""


def log(message: str) -> None:
    print(f"[BMCompiler:I] {message}", flush=True)


def build(
    graph: Graph,
    outdir: str | os.PathLike[str],
    *,
    net_name: str = "",
    opt: int = 2,
    cmp: bool = True,
    seed: int = 0,
    descriptions: Sequence[Description] = (),
    dump_ref: bool = False,
) -> Path:
    """Compile a graph into ``outdir/compilation.bmodel``.

    With *cmp* the BModel is run on the simulator with random input and compared with the graph;
    then, or with *dump_ref*, input_ref_data.dat, output_ref_data.dat and io_info.dat are written,
    too.

    Raises:
        UserError: the folder cannot be written, or the results differ.
        UnsupportedError: lists every node that cannot be compiled.
    """
    from nntc import api, bmodel

    folder = make_folder(outdir)
    if opt not in (0, 1, 2):
        raise UserError(f"opt is {opt}; 0, 1 and 2 are possible")
    name = net_name or graph.name
    log(f"net {name}: {len(graph.nodes)} operators")
    for value in (*graph.inputs, *graph.outputs):
        if value.zero:
            warn(
                f"{value.name}: the integer {value.zero} stands for 0 (the zero point in the "
                "BModel); for programs that know the scale only, make it fp32"
            )
    model = api.compile(graph, net_name=name, opt=opt).model
    inputs = random_inputs(graph, seed, descriptions)
    references: tuple[list[np.ndarray], list[np.ndarray]] | None = None
    if cmp or dump_ref:
        references = run(model, inputs)
    if cmp and references is not None:
        compare(graph, model, inputs, references[1], opt)
    if references is not None:
        for kind, arrays in zip(("input", "output"), references, strict=True):
            data = b"".join(array.tobytes() for array in arrays)
            write_bytes(folder / f"{kind}_ref_data.dat", data)
        write_bytes(folder / "io_info.dat", io_info(model).encode())
    target = folder / "compilation.bmodel"
    bmodel.write(model, target)
    print(f"{RULE}\n# Store bmodel of BMCompiler.\n{RULE}", flush=True)
    return target


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, made if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f"{folder}: cannot be made: {err.strerror or err}") from None
    return folder


def random_inputs(
    graph: Graph, seed: int, descriptions: Sequence[Description] = ()
) -> dict[str, np.ndarray]:
    """Random numbers: fp32 in 0 ... 1, 8-bit integers over their range, other integers 0 or 1."""
    generator = np.random.default_rng(seed)
    ranges = {index: (low, high) for index, _, low, high in descriptions}
    arrays: dict[str, np.ndarray] = {}
    for index, value in enumerate(graph.inputs):
        kind = value.dtype.numpy
        if kind.kind == "f":
            low, high = ranges.get(index, (0.0, 1.0))
            array = generator.uniform(low, high, value.shape)
        else:
            byte = kind.kind in "iu" and kind.itemsize == 1
            limits = np.iinfo(kind.name) if byte else None
            default = (0, 2) if limits is None else (int(limits.min), int(limits.max) + 1)
            low, high = map(int, ranges.get(index, default))
            array = generator.integers(low, max(high, low + 1), value.shape)
        arrays[value.name] = np.asarray(array).astype(kind)
    return arrays


def run(
    model: BModel, inputs: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs and simulated outputs of a BModel in its own types and order."""
    from nntc.runtime.device import open_device

    stage = model.nets[0].stages[0]
    given = [
        np.ascontiguousarray(inputs[t.name]).astype(t.dtype.numpy, copy=False).reshape(t.shape)
        for t in stage.inputs
    ]
    session = open_device("simulator").load(model)
    try:
        found = session.launch(0, 0, given)
    finally:
        session.close()
    return given, [
        np.ascontiguousarray(array).astype(t.dtype.numpy, copy=False)
        for array, t in zip(found, stage.outputs, strict=True)
    ]


def compare(
    graph: Graph,
    model: BModel,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[np.ndarray],
    opt: int,
) -> None:
    """Compare simulated outputs with the graph in NumPy; what differs is looked for in the layers.

    ``BMCOMPILER_STAT_ERR=1`` makes a difference a warning.

    Raises:
        UserError: results differ; names the first layer that does.
    """
    from nntc import api
    from nntc.ir import interpret
    from nntc.report import compare as reports

    wanted = interpret.run(graph, dict(inputs))
    names = [t.name for t in model.nets[0].stages[0].outputs]
    rows = [
        reports.difference(name, "network output", wanted[name], array.reshape(wanted[name].shape))
        for name, array in zip(names, outputs, strict=True)
    ]
    worst = max(rows, key=lambda row: np.inf if np.isnan(row.error) else row.error)
    if all(row.ok for row in rows):
        log(f"compared with the model: largest difference {worst.error:.3g} of the range")
        return
    kept = api.compile(graph, opt=opt, keep_values=True)
    report = reports.compare(graph, kept, model, inputs)
    problems = [f"compare: {row}" for row in rows if not row.ok]
    if report.first is not None:
        problems.append(f"compare: the first layer that differs is {report.first}")
    if os.environ.get("BMCOMPILER_STAT_ERR", "0") in ("", "0"):
        raise UserError(problems)
    for problem in problems:
        warn(problem)


def io_info(model: BModel) -> str:
    """One line a tensor: its place in the .dat file, and what it is."""
    lines: list[str] = []
    stage = model.nets[0].stages[0]
    for kind, tensors in (("input", stage.inputs), ("output", stage.outputs)):
        offset = 0
        for index, tensor in enumerate(tensors):
            size = int(np.prod(tensor.shape)) * tensor.dtype.numpy.itemsize
            shape = ",".join(map(str, tensor.shape))
            lines.append(
                f"{kind} {index} name={tensor.name} shape=[{shape}] dtype={tensor.dtype.text} "
                f"scale={tensor.scale:g} zero_point={tensor.zero_point} "
                f"offset={offset} bytes={size}"
            )
            offset += size
    return "".join(f"{line}\n" for line in lines)


def write_fp32(
    graph: Graph, folder: str | os.PathLike[str], stem: str, tool: str, data: str = ""
) -> tuple[Path, Path]:
    """Write the fp32 UModel of a front end: ``stem_tool_test_fp32.prototxt`` and its weights.

    Args:
        tool: bmnetp and its like.
        data: LMDB folder of the samples: the text gets a Data layer for every input.

    Raises:
        UserError: a file cannot be written.
    """
    from nntc.ir import prototxt

    names = prototxt.Names(make_folder(folder), f"{stem}_{tool}")
    graph.name = stem
    feeds = [prototxt.Feed(v.name, os.path.abspath(data)) for v in graph.inputs] if data else []
    network = prototxt.Network(graph, feeds=feeds, model_type=f"{tool.upper()}2UModel")
    return prototxt.save(network, names.test_fp32, names.fp32_weights)
