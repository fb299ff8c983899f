"""The calls that make up the toolchain: load, check, compile. Each reads as its own contents.

``progress`` arguments are functions ``(stage, done, total)``: the stage's name, and how many steps
of it are done out of how many (0: unknown). They are called often and must be cheap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nntc.core.errors import UserError

if TYPE_CHECKING:
    from nntc.backend import CompileResult, Finding
    from nntc.data import Dataset, Preprocess
    from nntc.ir.graph import Graph, Value
    from nntc.quant import Quantized, QuantizeOptions, Statistics
    from nntc.report.accuracy import Comparison
    from nntc.report.accuracy.runners import Runner
    from nntc.report.search import SearchOptions, SearchResult

Progress = Callable[[str, int, int], None]
Shapes = Mapping[str, Sequence[int]] | Sequence[Sequence[int]]
"""Input name → shape, or one shape for each input in order."""

ModelSource = str | os.PathLike[str] | Any
"""A file name, an ``onnx.ModelProto`` or a :class:`nntc.ir.graph.Graph`."""


def load(
    model: ModelSource,
    *,
    weights: str | os.PathLike[str] | None = None,
    shapes: Shapes | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    simplify: bool = True,
    progress: Progress | None = None,
) -> Graph:
    """Read a model into a graph with static shapes.

    Args:
        model: file name (see :data:`nntc.frontends.SUFFIXES`; .umodel; .fp32umodel, .int8umodel
            or the .prototxt beside it), an ``onnx.ModelProto``, or a graph, which is returned as
            it is.
        weights: the file with the weights, for frameworks that keep them apart; default: the file
            of the same name beside the model.
        shapes: shapes of the inputs; needed where the model leaves dimensions open.
        input_names, output_names: cut the model at these tensors.
        simplify: run the passes that make the graph smaller without changing what it computes;
            not on a quantised graph, whose bits are to stay.

    Raises:
        UserError: the file cannot be read, or holds what this toolchain cannot express.
    """
    from nntc import passes
    from nntc.ir.graph import Graph
    from nntc.passes.borders import is_quantised

    if isinstance(model, Graph):
        return model
    tell = progress or _silent
    tell("read", 0, 0)
    graph = _read(model, weights, shapes, input_names, output_names)
    if simplify and not is_quantised(graph):
        tell("simplify", 0, 0)
        graph = passes.simplify(graph)
    return graph


def _read(
    model: ModelSource,
    weights: str | os.PathLike[str] | None,
    shapes: Shapes | None,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> Graph:
    """The graph from a UModel, or from the front end that the file's name calls for."""
    if isinstance(model, (str, os.PathLike)) and Path(model).suffix.lower() == ".umodel":
        if weights or shapes or input_names or output_names:
            raise UserError(
                f"{model}: a UModel has fixed shapes, weights, inputs and outputs; "
                "they are chosen when it is made"
            )
        from nntc.ir import umodel

        return umodel.load(model)
    from nntc import frontends
    from nntc.ir import prototxt

    if isinstance(model, (str, os.PathLike)) and prototxt.is_network(model):
        from nntc.passes.batch import with_input_shapes

        if input_names or output_names:
            raise UserError(f"{model}: inputs and outputs of a UModel are those in its text")
        graph = prototxt.load(model, weights).graph
        return with_input_shapes(graph, shapes) if shapes else graph
    return frontends.load(model, weights, shapes, input_names, output_names)


def check(model: ModelSource, **options: Any) -> list[Finding]:
    """Where each operator of a model would run, and why not on the TPU if elsewhere.

    Args:
        model, options: see :func:`load`.

    Raises:
        UserError: see :func:`load`.
    """
    from nntc import backend

    return backend.check(load(model, **options))


def compile(
    model: ModelSource,
    output: str | os.PathLike[str] | None = None,
    *,
    net_name: str = "",
    opt: int = 2,
    keep_values: bool = False,
    batch: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> CompileResult:
    """Compile a model into a BModel.

    Args:
        model, options: see :func:`load`.
        output: file to write; None: the BModel is only in the result.
        net_name: name of the net in the BModel; default: the file's name without its ending.
        opt: optimisation level, 0 to 2.
        keep_values: give every value a place in memory of its own, so that all can be read and
            compared after a run; needs more memory on the device.
        batch: number of samples that the BModel takes at once; 0: that of the model.

    Raises:
        UserError: the model cannot be read, or the file not written.
        UnsupportedError: lists every node that the chip and its runtime cannot run.
    """
    from nntc import backend, bmodel, passes

    tell = progress or _silent
    if output is not None:
        check_writable(Path(output))
    graph = load(model, progress=tell, **options)
    if batch:
        graph = passes.with_batch(graph, batch)
    if not net_name and isinstance(model, (str, os.PathLike)):
        net_name = Path(model).stem
    chosen = backend.CompileOptions(
        net_name=net_name,
        opt=opt,
        keep_values=keep_values,
        scales=_interface_scales(graph),
        zeros={v.name: v.zero for v in (*graph.inputs, *graph.outputs) if _step(v)},
    )
    result = backend.compile_graph(graph, chosen, tell)
    if output is not None:
        tell("write", 0, 0)
        bmodel.write(result.model, output)
    return result


def compare(
    a: ModelSource,
    b: ModelSource,
    data: str | os.PathLike[str] | Dataset | None = None,
    *,
    preprocess: Preprocess | str | None = None,
    limit: int = 0,
    metric: str | None = None,
    statistics: str | os.PathLike[str] | None = None,
    simulate: bool = False,
    distributions: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """How far B is from A, value by value, on sample data.

    Args:
        a, b: model files or graphs (see :func:`load`), .bmodel files or BModels (run on the
            simulator; their outputs are compared), or recorded outputs: an .npz or .npy with a
            leading axis of samples, or a folder of such files, one for each sample. A is the
            reference.
        data, preprocess: see :func:`nntc.data.open_dataset`; needed unless both are recorded.
        limit: use so many samples, spread evenly over the data; 0: all.
        metric: of the outputs: cosine, sqnr, top1, or ``FILE.py:function``, which is executed:
            function(outputs of A, outputs of B, the sample's number) -> float.
        statistics: file of a calibration of A; its distributions are drawn instead of the data's.
        simulate: compile B, a graph, and run it on the simulator, every value kept in memory.
        distributions: count what :meth:`Comparison.html` draws.
        options: see :func:`load`; for both, where they are read by a front end.

    Raises:
        UserError: a model or the data cannot be read; the models have nothing in common; samples
            do not fit; the metric fails.
    """
    from nntc.data import Dataset, open_dataset
    from nntc.quant import Statistics
    from nntc.quant.calibrate import chosen_positions
    from nntc.report import accuracy
    from nntc.report.accuracy.metrics import open_metric

    tell = progress or _silent
    judge = None if metric is None else open_metric(metric)
    known = None if statistics is None else Statistics.load(statistics)
    first = _runner(a, "A", False, tell, options)
    second = _runner(b, "B", simulate, tell, options)
    if known is not None and first.graph is not None:
        known.check(first.graph)
    if data is None or isinstance(data, Dataset):
        samples = data
    else:
        samples = open_dataset(data, first.inputs or second.inputs, preprocess)
    positions = None if samples is None else chosen_positions(len(samples), limit)
    return accuracy.compare(
        first,
        second,
        samples,
        data="" if samples is None else str(samples.path),
        positions=positions,
        metric=judge,
        statistics=known,
        distributions=distributions,
        progress=tell,
    )


def _runner(
    model: ModelSource, letter: str, simulate: bool, tell: Progress, options: Mapping[str, Any]
) -> Runner:
    """What runs a model that is to be compared."""
    from nntc.bmodel import BModel
    from nntc.report.accuracy.runners import GraphRunner, KeptRunner, NetRunner, RecordedRunner

    title = os.fspath(model) if isinstance(model, (str, os.PathLike)) else letter
    if isinstance(model, BModel):
        return NetRunner(model, title)
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        suffix = path.suffix.lower()
        if suffix == ".bmodel":
            return NetRunner(path, title)
        if suffix in (".npz", ".npy") or path.is_dir():
            return RecordedRunner(path)
        if suffix in (".umodel", ".fp32umodel", ".int8umodel"):
            options = {}
    graph = load(model, progress=tell, **options)
    if not simulate:
        return GraphRunner(graph, title)
    return KeptRunner(compile(graph, keep_values=True, progress=tell), graph, title)


def _interface_scales(graph: Graph) -> dict[str, float]:
    """What a BModel says about inputs and outputs of 8 bits.

    integer = number * scale for an input, number = integer * scale for an output.
    """
    inputs = {v.name: 1 / step for v in graph.inputs if (step := _step(v))}
    outputs = {v.name: step for v in graph.outputs if (step := _step(v))}
    return inputs | outputs


def _step(value: Value) -> float:
    """The one scale of an integer value; 0 if it has none or several."""
    scale = None if value.scale is None else value.scale.data
    return float(scale) if scale is not None and scale.shape == () else 0.0


@dataclass(frozen=True)
class QuantizeResult:
    """What :func:`quantize` made.

    Attributes:
        source: the float graph.
        statistics: of its values.
        quantized: the int8 graph, and a report of what became of each node.
        skipped: samples that could not be read: (name, reason).
        compiled: the BModel; None if none was asked for.
        search: which layers stay in fp32 and why; None if that was not asked for.
    """

    source: Graph
    statistics: Statistics
    quantized: Quantized
    skipped: list[tuple[str, str]]
    compiled: CompileResult | None
    search: SearchResult | None = None


def quantize(
    model: ModelSource,
    data: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    *,
    preprocess: Preprocess | str | None = None,
    options: QuantizeOptions | None = None,
    statistics: Statistics | str | os.PathLike[str] | None = None,
    save_statistics: str | os.PathLike[str] | None = None,
    limit: int = 0,
    resume: str | os.PathLike[str] | None = None,
    scheduler: str = "",
    umodel: str | os.PathLike[str] | None = None,
    net_name: str = "",
    opt: int = 2,
    batch: int = 0,
    search: SearchOptions | None = None,
    progress: Progress | None = None,
    **model_options: Any,
) -> QuantizeResult:
    """Quantise a float model with sample data: calibrate, quantise, compile.

    Args:
        model, model_options: see :func:`load`.
        data: samples: a folder of pictures or arrays, .npz, .npy, LMDB (:mod:`nntc.data`).
        output: BModel to write; None: none is made.
        preprocess: how pictures become inputs.
        statistics: of an earlier calibration, instead of calibrating.
        save_statistics: file to keep the statistics in.
        limit: calibrate with so many samples; 0: all.
        resume: file that keeps the state of a calibration that may be stopped.
        scheduler: address of a Dask cluster that calibrates.
        umodel: path of the int8 UModel to write: .umodel, or .int8umodel for the historical names.
        net_name, opt: see :func:`compile`.
        batch: number of samples that BModel and UModel take at once; 0: that of the model.
        search: find the layers that have to stay in fp32 (:mod:`nntc.report.search`).

    Raises:
        SearchError: no set of layers that the search tried keeps the drop.
        UserError: the model, the data or a name in the options does not fit, or a file cannot be
            written.
        UnsupportedError: lists every node that the chip and its runtime cannot run.
    """
    from nntc import data as datasets
    from nntc import passes, quant
    from nntc.passes.borders import is_quantised

    tell = progress or _silent
    for path in (output, umodel, save_statistics):
        if path is not None:
            check_writable(Path(path))
    search = None if search is None else search.opened()
    whole = load(model, progress=tell, **model_options)
    if is_quantised(whole):
        raise UserError(f"{whole.name}: is quantised already")
    graph = passes.one_sample(whole)  # samples come one by one
    chosen = None if preprocess is None else datasets.Preprocess.of(preprocess)
    dataset = _opened(data, graph, chosen)
    judging = None if search is None or search.data is None else _opened(search.data, graph, chosen)
    if options is not None:
        quant.check_options(options, graph)
    if statistics is None:
        known = calibrate(
            graph, dataset, limit=limit, resume=resume, scheduler=scheduler, progress=tell
        )
    elif isinstance(statistics, quant.Statistics):
        known = statistics
    else:
        known = quant.Statistics.load(statistics, graph)
    if save_statistics is not None:
        known.save(save_statistics)
    wanted = batch or (passes.batch_of(whole) if whole is not graph else 0)
    found = None
    if search is None:
        made = quant.quantize(graph, known, dataset, options, tell)
    else:
        from nntc.report.search import search as find

        def recalibrate(part: Dataset) -> Statistics:
            if statistics is not None:
                return known
            return calibrate(graph, part, limit=limit, scheduler=scheduler, progress=tell)

        found = find(
            graph, known, dataset, options or quant.QuantizeOptions(), search,
            samples=judging, recalibrate=recalibrate, opt=opt, batch=wanted, progress=tell,
        )  # fmt: skip
        made = found.quantized
    result = passes.with_batch(made.graph, wanted) if wanted else made.graph
    if umodel is not None:
        _save_umodel(result, Path(umodel))
    compiled = None
    if output is not None:
        if not net_name and isinstance(model, (str, os.PathLike)):
            net_name = Path(model).stem
        compiled = compile(result, output, net_name=net_name, opt=opt, progress=tell)
    return QuantizeResult(graph, known, made, list(dataset.skipped), compiled, found)


def _opened(
    data: str | os.PathLike[str] | Dataset, graph: Graph, preprocess: Preprocess | None
) -> Dataset:
    """Samples for a graph."""
    from nntc.data import Dataset, open_dataset

    if isinstance(data, Dataset):
        return data
    return open_dataset(data, {v.name: v.shape for v in graph.inputs}, preprocess)


def _save_umodel(graph: Graph, path: Path) -> None:
    """Write a quantised graph in the form that the file's name asks for."""
    from nntc.ir import prototxt, umodel

    if path.suffix != ".int8umodel":
        umodel.save(graph, path)
        return
    text = prototxt.Names.of(path).unique_top("deploy", "int8")
    prototxt.save(prototxt.Network(graph), text, path)


def calibrate(
    graph: Graph,
    dataset: Dataset,
    *,
    limit: int = 0,
    resume: str | os.PathLike[str] | None = None,
    scheduler: str = "",
    progress: Progress | None = None,
) -> Statistics:
    """What the values of a float graph are on a dataset, counted here or on a Dask cluster.

    Args:
        limit, resume, scheduler: see :func:`quantize`.

    Raises:
        UserError: no sample can be read, samples do not fit, or the cluster cannot be reached.
    """
    from nntc import quant

    if not scheduler:
        return quant.calibrate(graph, dataset, limit=limit, resume=resume, progress=progress)
    if resume is not None:
        raise UserError("a calibration on a cluster keeps no state: leave --resume out")
    from nntc.quant import distributed

    return distributed.calibrate(graph, dataset, scheduler, limit=limit, progress=progress)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def check_writable(path: Path) -> None:
    """Refuse at once what would fail after minutes of work.

    Raises:
        UserError: a file cannot be written at *path*.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, a file name is needed")
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: cannot be written: no permission in the folder {path.parent}")
