"""Spaces and views against NumPy's broadcasting; data movements against NumPy's functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nntc.backend import moves
from nntc.backend.space import Box, View, choose_space, flat_space, image_space
from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Op
from nntc.isa.layout import Shape4

Shape = tuple[int, ...]


def indices(view: View, shape: Shape4) -> np.ndarray:
    """Element index of every position of a box of *shape*; broadcast where the view is 1."""
    index = np.full(shape, view.offset)
    for axis, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        steps = np.arange(shape[axis]) * (stride if size != 1 else 0)
        index = index + steps.reshape([-1 if a == axis else 1 for a in range(4)])
    return index


def random_shape(rng: np.random.Generator, rank: int) -> Shape:
    return tuple(int(s) for s in rng.choice([1, 2, 3, 5, 8, 66], rank))


def test_views_address_what_broadcasting_reads() -> None:
    """The same position of all views belongs to one element of the broadcast shape."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        shape = random_shape(rng, int(rng.integers(0, 6)))
        if math.prod(shape) > 30_000:
            continue
        tensors = [shape]
        for _ in range(int(rng.integers(0, 3))):
            cut = int(rng.integers(0, len(shape) + 1))
            tensors.append(tuple(s if rng.random() < 0.6 else 1 for s in shape[cut:]))
        space = choose_space(shape, tensors)
        if space is None:
            continue
        found += 1
        views = [space.view(tensor) for tensor in tensors]
        whole = views[0]
        assert whole is not None
        box = space.shape4
        places = indices(whole, box)
        inside = places < math.prod(shape)  # a flat space's last lane may run over
        assert sorted(places[inside]) == list(range(math.prod(shape)))
        for tensor, view in zip(tensors, views, strict=True):
            assert view is not None
            wanted = np.broadcast_to(np.arange(math.prod(tensor)).reshape(tensor), shape)
            got = indices(view, box)
            np.testing.assert_array_equal(got[inside], wanted.reshape(-1)[places[inside]])
    assert found > 200


def test_reduced_axes_lie_within_a_lane() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(300):
        shape = random_shape(rng, int(rng.integers(1, 6)))
        first = int(rng.integers(0, len(shape)))
        last = int(rng.integers(first, len(shape)))
        axes = [a for a in range(first, last + 1) if shape[a] != 1]
        if not axes:
            continue
        reduced = tuple(1 if a in axes else s for a, s in enumerate(shape))
        space = choose_space(shape, [shape, reduced], axes)
        assert space is not None
        slots = space.slots_of(axes)
        assert slots is not None
        assert slots <= {2, 3}
        assert space.view(reduced) is not None
        found += 1
    assert found > 100


def test_mixed_axes_have_no_slots() -> None:
    space = choose_space((2, 3, 4), [(2, 3, 4)])
    assert space is not None
    assert space.slots_of([1]) is None
    assert space.slots_of([0, 1, 2]) == {1, 3}
    assert space.slots_of([]) == set()


def test_more_runs_than_dimensions_have_no_space() -> None:
    shapes = [(2, 3, 4, 5, 6), (2, 1, 4, 1, 6)]
    assert choose_space(shapes[0], shapes) is None


def test_irregular_tensors_have_no_view() -> None:
    space = flat_space((4, 6), 24)
    assert space.view((4, 6)) is not None
    assert space.view((4, 1)) is None
    assert space.view((6,)) is None


def test_image_spaces_keep_the_axes() -> None:
    space = image_space((2, 70, 5, 9))
    assert space.view((2, 70, 5, 9)) == View(Shape4(2, 70, 5, 9), (3150, 45, 9, 1))
    assert space.view((70, 1, 1)) == View(Shape4(1, 70, 1, 1), (0, 1, 0, 0))
    assert space.view((9,)) == View(Shape4(1, 1, 1, 9), (0, 0, 0, 1))
    line = image_space((2, 70, 9))
    assert line.view((2, 70, 9)) == View(Shape4(2, 70, 1, 9), (630, 9, 0, 1))


def test_a_box_starts_where_the_slice_does() -> None:
    data = np.arange(2 * 70 * 5 * 9).reshape(2, 70, 5, 9)
    view = image_space(data.shape).view(data.shape)
    assert view is not None
    box = Box((1, 2), (64, 70), (2, 4), (3, 9))
    assert view.start(box) == data[1, 64, 2, 3]
    assert box.shape == (1, 6, 2, 6)
    assert box.clip((1, 70, 1, 9)) == Box((0, 1), (64, 70), (0, 1), (3, 9))
    assert box.union(Box.whole((1, 1, 1, 1))) == Box((0, 2), (0, 70), (0, 4), (0, 9))


# -- moves ----------------------------------------------------------------------------------------


def moved(op: Op, *arrays: np.ndarray) -> np.ndarray:
    """What the commands of a data movement make; every command's sizes are checked."""
    graph = Graph()
    values = [graph.input(f"x{i}", DType.of(a), a.shape) for i, a in enumerate(arrays)]
    if isinstance(op, ops.Gather):
        values[1] = graph.constant(arrays[1])
    node = graph.add(op, *values)
    assert moves.is_move(node)
    data = {v: a.reshape(-1).view(np.int32) for v, a in zip(values, arrays, strict=True)}
    target = np.full(node.output.type.size, -1234, np.int32)
    for move in moves.moves(node):
        if 0 in move.shape:
            continue
        for shape, to, to_strides, of, of_strides in moves._commands(move):
            assert len(shape) == 4
            assert max(shape) <= moves.MAX_SIZE
            box = target[to:]
            assert to >= 0
            assert reach(shape, to_strides) < box.size
            written = np.lib.stride_tricks.as_strided(box, shape, [4 * s for s in to_strides])
            if move.source is None:
                written[...] = np.uint32(move.fill).view(np.int32)
                continue
            source = data[move.source][of:]
            assert of >= 0
            assert reach(shape, of_strides) < source.size
            written[...] = np.lib.stride_tricks.as_strided(
                source, shape, [4 * s for s in of_strides]
            )
    return target.view(node.output.dtype.numpy).reshape(node.output.shape)


def reach(shape: Shape, strides: Shape) -> int:
    return sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def random_move(rng: np.random.Generator, x: np.ndarray) -> tuple[Op, list[np.ndarray]]:
    rank = x.ndim
    kind = rng.integers(6)
    if kind == 0:
        return ops.Transpose(tuple(int(p) for p in rng.permutation(rank))), [x]
    if kind == 1:
        bounds = [sorted(rng.integers(0, s, 2).tolist()) for s in x.shape]
        steps = tuple(int(s) for s in rng.choice([1, 1, 2, 3, -1, -2], rank))
        pairs = [
            (a, b + 1) if s > 0 else (b, a - 1) for (a, b), s in zip(bounds, steps, strict=True)
        ]
        starts, ends = zip(*pairs, strict=True)
        return ops.Slice(starts, ends, steps), [x]
    if kind == 2:
        pads = tuple(int(p) for p in rng.integers(0, 3, 2 * rank))
        return ops.Pad(pads, "constant", 2.5), [x]
    if kind == 3:
        return ops.Tile(tuple(int(r) for r in rng.integers(1, 4, rank))), [x]
    if kind == 4:
        axis = int(rng.integers(rank))
        other = rng.integers(-99, 99, x.shape).astype(x.dtype)
        return ops.Concat(axis), [x, other, x]
    axis = int(rng.integers(rank))
    size = x.shape[axis]
    index = rng.integers(-size, size, int(rng.integers(1, 9)))
    if rng.random() < 0.5:
        index = np.sort(np.repeat(index, 2)) % size
    return ops.Gather(axis), [x, index.astype(np.int64)]


@pytest.mark.parametrize("most", [65535, 7, 2])
def test_moves_are_numpys(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small limit of sizes every command is cut."""
    monkeypatch.setattr(moves, "MAX_SIZE", most)
    rng = np.random.default_rng(3)
    for _ in range(150):
        shape = tuple(int(s) for s in rng.integers(1, 8, int(rng.integers(1, 7))))
        if math.prod(shape) > 4000:
            continue
        x = rng.integers(-99, 99, shape).astype(np.float32)
        op, arrays = random_move(rng, x)
        np.testing.assert_array_equal(moved(op, *arrays), op.compute(*arrays)[0], err_msg=str(op))


def test_a_transpose_of_an_image_is_one_command() -> None:
    graph = Graph()
    x = graph.input("x", DType.F32, (2, 3, 40, 50))
    node = graph.add(ops.Transpose((0, 2, 3, 1)), x)
    (move,) = moves.moves(node)
    assert len(list(moves._commands(move))) == 1


def test_runs_of_known_indices_are_one_copy_each() -> None:
    graph = Graph()
    x = graph.input("x", DType.F32, (10, 4))
    index = graph.constant(np.array([0, 1, 2, 3, 9, 9, 9, 4, 6, 8]))
    assert len(moves.moves(graph.add(ops.Gather(0), x, index))) == 3
