"""How good outputs are: ``cosine``, ``sqnr``, ``top1``, or a function of the user's."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from nntc.core.errors import UserError
from nntc.core.files import read_bytes
from nntc.report.accuracy.rows import decibel

Arrays = Mapping[str, np.ndarray]
MetricFunction = Callable[[dict[str, np.ndarray], dict[str, np.ndarray], int], float]


@dataclass(frozen=True)
class Metric:
    """A number for the outputs of one sample; the more, the better.

    Attributes:
        function: (outputs of A, outputs of B under A's names, the sample's number) → number.
        own: written by the user. Then A's outputs are judged, too: ``function(a, a, number)``.
    """

    name: str
    function: MetricFunction
    own: bool = False

    def __call__(self, a: Arrays, b: Arrays, index: int) -> float:
        """The number.

        Raises:
            UserError: the user's function fails or gives something else.
        """
        if not self.own:
            return self.function(dict(a), dict(b), index)
        try:
            return _finite(self.function(dict(a), dict(b), index))
        except UserError as err:
            raise UserError([f"metric {self.name}: {text}" for text in err.problems]) from None
        except Exception as err:
            frame = traceback.extract_tb(err.__traceback__)[-1]
            raise UserError(
                f"metric {self.name}: sample {index}: {type(err).__name__}: {err} "
                f"({Path(frame.filename).name}, line {frame.lineno})"
            ) from None


def _finite(result: object) -> float:
    try:
        number = float(result)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError(f"gives {type(result).__name__}, a number is needed") from None
    if not math.isfinite(number):
        raise UserError(f"gives {number}, a finite number is needed")
    return number


def output_sqnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB, see :class:`nntc.report.accuracy.rows.Row`."""
    x = a.astype(np.float64).reshape(-1)
    error = b.astype(np.float64).reshape(-1) - x
    if not np.isfinite(error).all():
        return -math.inf
    return decibel(float(x @ x), float(error @ error))


def output_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two arrays as vectors; 1 for two that are zero; 0 for NaN."""
    x, y = (v.astype(np.float64).reshape(-1) for v in (a, b))
    lengths = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    if not lengths:
        return float(not x.any() and not y.any())
    cosine = float(x @ y) / lengths
    return cosine if math.isfinite(cosine) else 0.0


def classes(array: np.ndarray) -> np.ndarray | None:
    """[N, classes] of an output that may be a classifier's, such as [N, classes, 1, 1]; or None."""
    if array.ndim < 2 or array.shape[1] < 2 or math.prod(array.shape[2:]) != 1:
        return None
    return array.reshape(array.shape[:2])


def _mean_cosine(a: Arrays, b: Arrays, index: int) -> float:
    return float(np.mean([output_cosine(a[name], b[name]) for name in a]))


def _mean_sqnr(a: Arrays, b: Arrays, index: int) -> float:
    # An output that is equal counts as good as float32 can tell.
    return float(np.mean([min(output_sqnr(a[name], b[name]), 150.0) for name in a]))


def _top1(a: Arrays, b: Arrays, index: int) -> float:
    pairs = [(x, classes(b[name])) for name in a if (x := classes(a[name])) is not None]
    if not pairs:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in a.items())
        raise UserError(f"metric top1: no output of shape [N, classes], only {shapes}")
    same = [x.argmax(1) == y.argmax(1) for x, y in pairs if y is not None]
    return float(np.mean(np.concatenate(same)))


BUILT_IN: dict[str, MetricFunction] = {
    "cosine": _mean_cosine,
    "sqnr": _mean_sqnr,
    "top1": _top1,
}


def open_metric(text: str) -> Metric:
    """A built-in metric, or ``FILE.py:function``, which is executed: it is the user's own.

    Raises:
        UserError: unknown; or the file cannot be read or run, or has no such function.
    """
    if text in BUILT_IN:
        return Metric(text, BUILT_IN[text])
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        known = ", ".join(BUILT_IN)
        raise UserError(f"metric {text}: is unknown; there are {known}, and FILE.py:function")
    source = read_bytes(file)
    module = ModuleType("nntc_metric")
    module.__file__ = file
    # Dataclasses and the like look their module up.
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except Exception as err:
        raise UserError(f"metric {text}: {file} fails: {type(err).__name__}: {err}") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"metric {text}: {file} has no function {name}")
    return Metric(text, function, own=True)  # type: ignore[arg-type]
