"""Ways to run a network of the zoo: its framework or OpenCV, compiled on a device, or both side by
side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tests.models.zoo import NETWORKS

Arrays = Mapping[str, np.ndarray]


class Runner(Protocol):
    """Runs the network of that name."""

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]: ...


class OnnxRuntime:
    """The reference for ONNX.

    Without the layout optimisations of its highest level: they put its result for one page of
    text 1.1e-4 away from the one computed in float64, instead of 3e-5.
    """

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._sessions: dict[str, Any] = {}

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]:
        session = self.session(network)
        results = session.run(None, dict(inputs))
        return {info.name: a for info, a in zip(session.get_outputs(), results, strict=True)}

    def session(self, network: str) -> Any:
        import onnxruntime

        if network not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.graph_optimization_level = level
            path = NETWORKS[network].path(self._shared)
            self._sessions[network] = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[network]


class OpenCV:
    """The reference for frameworks that are hard to install: OpenCV reads their files, too."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._nets: dict[str, tuple[Any, dict[str, str]]] = {}

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]:
        if network not in self._nets:
            self._nets[network] = self._open(network)
        net, layers = self._nets[network]
        for name, array in inputs.items():
            net.setInput(array, name)
        results = net.forward(list(layers.values()))
        return {k: _found_rows(a) for k, a in zip(layers, results, strict=True)}

    def _open(self, network: str) -> tuple[Any, dict[str, str]]:
        """The network, and the layers of the outputs."""
        import cv2

        found = NETWORKS[network]
        path = found.path(self._shared)
        if found.twin:
            path = self._shared / "models" / found.twin
        function, ending = {
            ".cfg": ("readNetFromDarknet", ".weights"),
            ".prototxt": ("readNetFromCaffe", ".caffemodel"),
        }[path.suffix]
        net = getattr(cv2.dnn, function)(str(path), str(path.with_suffix(ending)))
        if found.layers:
            return net, dict(found.layers)
        return net, {name: name for name in net.getUnconnectedOutLayersNames()}


def _found_rows(array: np.ndarray) -> np.ndarray:
    """Without the empty rows that OpenCV appends to the boxes it has found."""
    if array.ndim != 4 or array.shape[:2] != (1, 1) or array.shape[3] != 7:
        return array
    return array[:, :, array[0, 0, :, 2] > 0]


class Interpreted:
    """The graph as it was read, in NumPy: where nothing else reads the files."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._graphs: dict[tuple[Any, ...], Any] = {}

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]:
        from nntc import api
        from nntc.ir import interpret

        shapes = {name: array.shape for name, array in inputs.items()}
        key = (network, *shapes.items())
        if key not in self._graphs:
            path = NETWORKS[network].path(self._shared)
            self._graphs[key] = api.load(path, shapes=shapes, simplify=False)
        return interpret.run(self._graphs[key], dict(inputs))


class Reference:
    """The reference that a network's framework has."""

    def __init__(self, shared: Path) -> None:
        opencv = OpenCV(shared)
        self._runners: dict[str, Runner] = {
            "onnx": OnnxRuntime(shared),
            "darknet": opencv,
            "caffe": opencv,
            "mxnet": Interpreted(shared),
        }

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]:
        return self._runners[NETWORKS[network].framework](network, inputs)


class Compiled:
    """Compiled for the shapes of the inputs, once for each; run on the simulator by default."""

    KEPT = 24
    """Engines that stay loaded."""

    def __init__(self, shared: Path, device: str = "simulator", **options: Any) -> None:
        self._shared = shared
        self._device = device
        self._options = options
        self._engines: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]:
        return self.engine(network, inputs)(inputs)

    def engine(self, network: str, inputs: Arrays) -> Any:
        from nntc.runtime import Engine

        key = (network, *((name, array.shape) for name, array in inputs.items()))
        if key in self._engines:
            self._engines.move_to_end(key)
            return self._engines[key]
        model = compile_network(self._shared, network, inputs)
        engine = self._engines[key] = Engine(model, self._device, **self._options)
        if len(self._engines) > self.KEPT:
            self._engines.popitem(last=False)[1].close()
        return engine


def compile_network(shared: Path, network: str, inputs: Arrays) -> Any:
    """The BModel for inputs of these shapes."""
    from nntc import api

    shapes = {name: array.shape for name, array in inputs.items()}
    return api.compile(NETWORKS[network].path(shared), shapes=shapes).model


# -- comparing ----------------------------------------------------------------------------------


@dataclass
class _Output:
    """One output over all runs."""

    low: float = float("inf")
    high: float = float("-inf")
    gap: float = 0.0
    cosine: float = 1.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        a, b = (array.astype(np.float64).ravel() for array in (expected, found))
        self.low, self.high = min(self.low, float(a.min())), max(self.high, float(a.max()))
        gap = float(np.abs(a - b).max())
        self.gap = max(self.gap, float("inf") if np.isnan(gap) else gap)
        length = float(np.linalg.norm(a) * np.linalg.norm(b))
        cosine = float(a @ b) / length if length else float(np.array_equal(a, b))
        self.cosine = min(self.cosine, -1.0 if np.isnan(cosine) else cosine)

    @property
    def error(self) -> float:
        """The largest difference as a part of the range; where there is none, of the size."""
        span = self.high - self.low or abs(self.high)
        return self.gap / span if span else self.gap


class Agreement:
    """How close the results of a network are to a reference, over all runs.

    Args:
        is_loose: the reference is known to differ somewhat.

    Attributes:
        runs: how many were compared.
    """

    def __init__(self, is_loose: bool = False) -> None:
        self.runs = 0
        self._limits = (0.99999, 5e-3) if is_loose else (0.999999, 1e-4)
        self._outputs: dict[str, _Output] = {}

    def add(self, expected: Arrays, found: Arrays) -> None:
        assert sorted(expected) == sorted(found)
        self.runs += 1
        for name, array in expected.items():
            assert array.shape == found[name].shape, f"{name}: {found[name].shape}"
            self._outputs.setdefault(name, _Output()).add(array, found[name])

    @property
    def cosine(self) -> float:
        """The worst of all outputs and runs."""
        return min(output.cosine for output in self._outputs.values())

    @property
    def error(self) -> float:
        """The worst output's largest difference, as a part of its range over all runs."""
        return max(output.error for output in self._outputs.values())

    @property
    def holds(self) -> bool:
        """Whether it is within what float32 must reach."""
        cosine, error = self._limits
        return self.cosine >= cosine and self.error <= error

    def __str__(self) -> str:
        return f"1 - cosine {1 - self.cosine:.1e}, error {self.error:.1e} of the range"


class SideBySide:
    """Gives the results of one runner and compares each with another's on the same inputs."""

    def __init__(self, runner: Runner, reference: Runner) -> None:
        self._runner = runner
        self._reference = reference
        self.agreement: dict[str, Agreement] = {}

    def __call__(self, network: str, inputs: Arrays, /) -> dict[str, np.ndarray]:
        found = self._runner(network, inputs)
        empty = Agreement(NETWORKS[network].is_loose)
        agreement = self.agreement.setdefault(network, empty)
        agreement.add(self._reference(network, inputs), found)
        return found
