"""Run a CPU layer on arrays or on the runtime's host buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.errors import UserError
from nntc.runtime.cpu import user
from nntc.runtime.cpu.registry import Output, Padded, Shape, as_words, execute


def run(
    op_type: int,
    param: bytes,
    inputs: Sequence[np.ndarray],
    output_shapes: Sequence[Sequence[int]] | None = None,
    *,
    name: str = "",
) -> list[np.ndarray]:
    """Compute a CPU layer.

    Args:
        op_type: the layer type of the BModel (a :class:`nntc.bmodel.cpu_ops.CpuOp` or a user's).
        param: the bytes of its parameter struct.
        inputs: arrays of 32-bit elements; int32 arrays give their bits, constants are inputs too.
        output_shapes: the shapes declared for the outputs. Their number decides which optional
            outputs are made, their sizes are the room there is; without them the layer's usual
            outputs are made.
        name: the layer in messages.

    Returns:
        The outputs in their actual shapes, as f32 words: ``.view(np.int32)`` where the layer
        writes int32 (see :func:`nntc.runtime.cpu.signature`).

    Raises:
        UserError: unknown layer, or parameter and inputs that do not fit it.
    """
    made = _outputs(op_type, param, inputs, output_shapes, _name(op_type, name))
    return [
        out.data[: _count(out.shape)].reshape(out.shape) if isinstance(out, Padded) else out
        for out in (_as_f32(out) for out in made)
    ]


def run_into(
    op_type: int,
    param: bytes,
    inputs: Sequence[np.ndarray],
    buffers: Sequence[np.ndarray],
    output_shapes: Sequence[Sequence[int]],
    *,
    name: str = "",
) -> list[Shape]:
    """Compute a CPU layer into host buffers, as the maker's runtime does.

    Args:
        buffers: one f32 array an output, of at least as many elements as its declared shape;
            elements that the layer does not write stay as they are.
        output_shapes: see :func:`run`.

    Returns:
        The actual shapes.

    Raises:
        UserError: see :func:`run`; the buffers are then unchanged.
    """
    what = _name(op_type, name)
    made = [_as_f32(out) for out in _outputs(op_type, param, inputs, output_shapes, what)]
    shapes: list[Shape] = []
    for index, (out, buffer) in enumerate(zip(made, buffers, strict=True)):
        size = out.data.size if isinstance(out, Padded) else out.size
        if buffer.dtype != np.float32 or not buffer.flags.c_contiguous or size > buffer.size:
            raise UserError(
                f"{what}: output {index} of {size} elements does not fit a buffer of "
                f"{buffer.size} {buffer.dtype}"
            )
    for out, buffer in zip(made, buffers, strict=True):
        words, shape = (out.data, out.shape) if isinstance(out, Padded) else (out, out.shape)
        buffer.reshape(-1)[: words.size] = words.reshape(-1)
        shapes.append(shape)
    return shapes


def _name(op_type: int, name: str) -> str:
    if name:
        return name
    known = op_type in CpuOp.__members__.values()
    return f"CPU layer {CpuOp(op_type).name if known else op_type}"


def _outputs(
    op_type: int,
    param: bytes,
    inputs: Sequence[np.ndarray],
    output_shapes: Sequence[Sequence[int]] | None,
    name: str,
) -> list[Output]:
    if not user.is_user(op_type):
        return execute(op_type, param, inputs, output_shapes, name)
    found, body = user.find(op_type, param, name)
    words = [as_words(a, f"{name}: input {i}") for i, a in enumerate(inputs)]
    try:
        given = list(found.run(body, words))
    except UserError:
        raise
    except Exception as err:
        # The user's own code: its error is shown as a problem of that layer.
        raise UserError(f"{name}: {type(err).__name__}: {err}") from err
    outputs = [as_words(np.asarray(a), f"{name}: output {i}") for i, a in enumerate(given)]
    if output_shapes is not None and len(outputs) != len(output_shapes):
        raise UserError(f"{name}: gives {len(outputs)} outputs, {len(output_shapes)} are declared")
    return list(outputs)


def _as_f32(out: Output) -> Output:
    if isinstance(out, Padded):
        return Padded(np.ascontiguousarray(out.data).view(np.float32), out.shape)
    return np.asarray(out, order="C").view(np.float32)


def _count(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))
