"""From a graph to a BModel: the table of contents of the backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nntc.backend import group as groups
from nntc.backend import matmul, moves, pipeline
from nntc.backend.assembler import Assembler
from nntc.backend.fixed_ops import LUT_BYTES, Int8Lut
from nntc.backend.grouping import Unit, form_units
from nntc.backend.legalize import Finding, Legal, examine, legalize
from nntc.backend.memory import PAGE, Coefficients, Placement, allocate, memory_root
from nntc.backend.options import CompileOptions, CompileResult, Where
from nntc.backend.plan import Step, Storage, Transfer
from nntc.backend.stream import Stream
from nntc.backend.subnets import Interface, Part, cpu_step, split, subnets
from nntc.bmodel import CHIP, BModel, Coeff, CommandGroup, Net, Stage
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.isa.chip import CONTEXT_BASE
from nntc.isa.layout import align_up

Progress = Callable[[str, int, int], None]


def compile_graph(
    graph: Graph, options: CompileOptions | None = None, progress: Progress | None = None
) -> CompileResult:
    """Compile a graph with static shapes for the BM1684.

    Args:
        progress: called with (stage, done, total).

    Raises:
        UnsupportedError: everything the chip cannot do, one line each.
    """
    chosen = options or CompileOptions()
    report = progress or (lambda stage, done, total: None)
    _check_interface(graph)
    report("legalise", 0, 1)
    legal = legalize(graph)
    report("group", 0, 1)
    units = form_units(legal.graph, separate=chosen.opt == 0)
    coefficients = Coefficients()
    placement = Placement(coefficients)
    for value in (*legal.graph.inputs, *legal.graph.outputs):
        placement.of(value).pinned = True
    if chosen.keep_values:
        _keep_values(units, legal)
    parts = split(units)
    for index, part in enumerate(parts):
        report("plan", index, len(parts))
        part.steps = [*_tables(part, placement), *_plan(part, placement)]
    context = align_up(CONTEXT_BASE + coefficients.size, PAGE)
    steps = [step for part in parts for step in part.steps]
    births = _lifetimes(steps, placement.storages, chosen.keep_values)
    context_size = allocate(placement.storages, births, context)
    tiu = gdma = 0
    for index, part in enumerate(parts):
        report("schedule", index, len(parts))
        if part.cpu is not None:
            continue
        stream = Stream()
        pipeline.run(part.steps, Assembler(stream))
        part.groups = [CommandGroup(*g.encode()) for g in stream.finish()]
        counts = stream.counts()
        tiu, gdma = tiu + counts[0], gdma + counts[1]
    interface = Interface(graph, legal.graph, placement, chosen.scales, chosen.zeros)
    chain = subnets(parts, interface)
    stage = Stage(
        inputs=interface.tensors(legal.graph.inputs),
        outputs=interface.tensors(legal.graph.outputs),
        ctx_addr=context,
        ctx_size=max(context_size, PAGE),
        coeff=Coeff(CONTEXT_BASE, coefficients.blob()) if coefficients.size else None,
        subnets=chain,
    )
    model = BModel(CHIP, [Net(chosen.net_name or graph.name, [stage])])
    statistics = {
        "operators": len(graph.nodes),
        "groups": sum(len(p.units) for p in parts),
        "cpu_layers": sum(p.cpu is not None for p in parts),
        "steps": len(steps),
        "tiu_instructions": tiu,
        "gdma_instructions": gdma,
        "coefficient_bytes": coefficients.size,
        "context_bytes": context_size,
    }
    return CompileResult(model, _value_map(legal, placement), statistics)


def check(graph: Graph) -> list[Finding]:
    """Where every operator of a graph would run, and why not on the TPU if elsewhere."""
    _check_interface(graph)
    legal, findings = examine(graph)
    if all(f.place != "refused" for f in findings):
        form_units(legal.graph)
    return findings


def _check_interface(graph: Graph) -> None:
    names = [v.name for v in graph.outputs]
    double = sorted({n for n in names if names.count(n) > 1})
    if double:
        raise UnsupportedError(f"outputs {', '.join(double)}: the same tensor is an output twice")
    given = sorted({v.name for v in graph.inputs}.intersection(names))
    if given:
        # The runtime finds tensors by name: one name cannot be in two places.
        raise UnsupportedError(f"outputs {', '.join(given)}: are inputs, too; leave them out")
    empty = [v for v in (*graph.inputs, *graph.outputs) if v.type.size == 0]
    if empty:
        raise UnsupportedError([f"{v.name}: {v.type} has no elements" for v in empty])


def _keep_values(units: list[Unit], legal: Legal) -> None:
    """Store what groups compute for values of the source graph."""
    wanted = {id(memory_root(v)) for v in legal.values.values()}
    for unit in units:
        if unit.group is not None:
            unit.group.outputs = [
                k.out
                for k in unit.group.kernels
                if k.out in unit.group.outputs or id(k.out) in wanted
            ]


def _plan(part: Part, placement: Placement) -> list[Step]:
    if part.cpu is not None:
        return [cpu_step(part.cpu, placement)]
    steps: list[Step] = []
    for unit in part.units:
        node = unit.nodes[0]
        if unit.group is not None:
            steps += groups.plan(unit.group, placement)
        elif isinstance(node.op, ops.MatMul):
            steps += matmul.plan(node, placement)
        else:
            steps += moves.plan(node, placement)
    return steps


def _tables(part: Part, placement: Placement) -> list[Step]:
    """A step that puts the part's look-up tables into L2."""
    tables = {
        node.op.offset: node.op.table for node in part.nodes() if isinstance(node.op, Int8Lut)
    }
    if not tables:
        return []
    first, last = min(tables), max(tables)
    rows = (last - first) // LUT_BYTES + 1
    words = np.zeros((rows, 256), np.uint32)
    for offset, table in tables.items():
        words[(offset - first) // LUT_BYTES] = np.frombuffer(table, np.uint8)
    storage = placement.coefficients.add(words, "tables")

    def emit(asm: Assembler) -> None:
        asm.copy_to_l2(first, storage.address, rows, 256)

    return [Step("tables", stores=[Transfer(emit, None, reads=(storage,))])]


def _lifetimes(steps: list[Step], storages: list[Storage], forever: bool) -> dict[Storage, int]:
    """First write of every storage; its last use goes into ``dies``."""
    births: dict[Storage, int] = {}
    for index, step in enumerate(steps):
        for transfer in (*step.loads, *step.stores):
            for storage in (*transfer.reads, *transfer.writes):
                births.setdefault(storage, index)
                storage.dies = max(storage.dies, index)
    for storage in storages:
        births.setdefault(storage, 0)
        storage.dies = max(storage.dies, 0)
        storage.pinned |= forever
    return births


def _value_map(legal: Legal, placement: Placement) -> dict[str, Where]:
    """Values of the source graph that have a place in the context area."""
    found: dict[str, Where] = {}
    for name, value in legal.values.items():
        root = memory_root(value)
        if root.is_constant or not placement.known(root):
            continue
        storage = placement.of(value)
        if storage.dies >= 0:
            packed = legal.packed.get(name)
            found[name] = Where(storage.address, value.dtype, value.shape, packed)
    return found
