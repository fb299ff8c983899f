"""Integers at the borders become fp32 by name."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph
from nntc.ir.verify import verify
from nntc.passes.borders import float_borders, is_quantised
from tests.passes.build import Net


def integers(zero: int = 0) -> Graph:
    net = Net()
    x = net.input(1, 3, 4, dtype=DType.I8)
    x.scale, x.zero = net.const(np.float32(0.25)), zero
    y = net(ops.Lut(), x, np.arange(256, dtype=np.uint8)[::-1].copy(), name="y")
    y.scale = net.const(np.float32(0.5))
    return net.done(y, net(ops.MaxPool((2,), (2,), (0, 0), (1,)), y, name="z"))


def test_input_and_output_become_float() -> None:
    x = np.arange(-6, 6, dtype=np.int8).reshape(1, 3, 4)
    wanted = interpret.run(integers(), {"x": x})
    graph = float_borders(integers(), ["x"], ["y"])
    verify(graph)
    assert [(v.name, v.dtype) for v in graph.inputs] == [("x", DType.F32)]
    assert [(v.name, v.dtype) for v in graph.outputs] == [("y", DType.F32), ("z", DType.U8)]
    found = interpret.run(graph, {"x": x.astype(np.float32) * np.float32(0.25)})
    np.testing.assert_array_equal(found["z"], wanted["z"])
    np.testing.assert_array_equal(found["y"], wanted["y"] * np.float32(0.5))


def test_zeros_are_kept() -> None:
    graph = float_borders(integers(3), ["x"], ["y"])
    real = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    fixed = (np.rint(real / np.float32(0.25)) + 3).astype(np.int8)
    wanted = interpret.run(integers(3), {"x": fixed})["z"]
    np.testing.assert_array_equal(interpret.run(graph, {"x": real})["z"], wanted)


def test_nothing_named_nothing_done() -> None:
    graph = float_borders(integers(), [], [])
    assert [n.op.name for n in graph.nodes] == ["Lut", "MaxPool"]
    assert is_quantised(graph)


def test_unknown_names_and_missing_scales() -> None:
    with pytest.raises(UserError) as caught:
        float_borders(integers(), ["X"], ["y", "z"])
    assert caught.value.problems == [
        "input_as_fp32: no input is called X; there are x",
        "output_as_fp32: z is u8[1x3x2] without a scale",
    ]
