"""Convolutions and matrix products."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, count, reads
from nntc.frontends.caffe.layers.windows import kernel, sizes
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value

_PARAM = "convolution_param"


def _axes(c: Call) -> int:
    """Number of spatial axes.

    Raises:
        ModelError: the bottom has no room for them.
        RefusedError: channels are not axis 1.
    """
    rank = len(c.x().shape)
    if not 3 <= rank <= 5:
        raise ModelError(f"the bottom has shape {list(c.x().shape)}, rank 3 to 5 is needed")
    if c.axis("axis", 1, rank) != 1:
        raise RefusedError(f"axis {c.param.text('axis')}: channels must be axis 1")
    return rank - 2


@reads(
    "Convolution",
    "ConvolutionDepthwise",
    "DepthwiseConvolution",
    "CuDNNConvolution",
    param=_PARAM,
    becomes="Conv of each bottom; one group for each channel in the depthwise types",
    limits="axis 1",
)
def convolution(c: Call) -> list[Value]:
    axes = _axes(c)
    results: list[Value] = []
    size = kernel(c.param, axes)
    filters = c.positive("num_output", 0)
    op_sizes = [sizes(c.param, "stride", axes, 1, 1), sizes(c.param, "pad", axes, 0, 0)]
    dilation = sizes(c.param, "dilation", axes, 1, 1)
    has_bias = c.param.flag("bias_term", True)
    for x in c.xs:
        group = _group(c, x, filters, "Depthwise" in c.kind)
        shape = (filters, x.shape[1] // group, *size)
        operands = [x, c.b.const(c.blob(0, shape, "weights"))]
        if has_bias:
            operands.append(c.b.const(c.blob(1, (filters,), "biases")))
        strides, pads = op_sizes
        op = ops.Conv(strides, (*pads, *pads), dilation, group)
        results.append(c.b.op(op, *operands))
    return results


def _group(c: Call, x: Value, filters: int, depthwise: bool) -> int:
    group = c.positive("group", 1)
    if depthwise:
        group = x.shape[1]
    if x.shape[1] % group or filters % group:
        raise ModelError(f"group {group} divides not both {x.shape[1]} channels and {filters}")
    return group


@reads(
    "Deconvolution",
    "DeconvolutionDepthwise",
    param=_PARAM,
    becomes="ConvTranspose of each bottom",
    limits="axis 1",
)
def deconvolution(c: Call) -> list[Value]:
    axes = _axes(c)
    size = kernel(c.param, axes)
    filters = c.positive("num_output", 0)
    strides, pads = sizes(c.param, "stride", axes, 1, 1), sizes(c.param, "pad", axes, 0, 0)
    dilation = sizes(c.param, "dilation", axes, 1, 1)
    has_bias = c.param.flag("bias_term", True)
    results: list[Value] = []
    for x in c.xs:
        group = _group(c, x, filters, "Depthwise" in c.kind)
        shape = (x.shape[1], filters // group, *size)
        operands = [x, c.b.const(c.blob(0, shape, "weights"))]
        if has_bias:
            operands.append(c.b.const(c.blob(1, (filters,), "biases")))
        op = ops.ConvTranspose(strides, (*pads, *pads), dilation, group, (0,) * axes)
        results.append(c.b.op(op, *operands))
    return results


@reads("InnerProduct", param="inner_product_param", becomes="Reshape, MatMul")
def inner_product(c: Call) -> Value:
    x = c.x()
    axis = c.axis("axis", 1, len(x.shape))
    outputs = c.positive("num_output", 0)
    inputs = count(x.shape[axis:])
    transposed = c.param.flag("transpose")
    weights = c.blob(0, (inputs, outputs) if transposed else (outputs, inputs), "weights")
    operands = [c.b.reshape(x, (count(x.shape[:axis]), inputs)), c.b.const(weights)]
    if c.param.flag("bias_term", True):
        operands.append(c.b.const(c.blob(1, (outputs,), "biases")))
    y = c.b.op(ops.MatMul(False, not transposed), *operands)
    return c.b.reshape(y, (*x.shape[:axis], outputs))


@reads(
    "Embed",
    param="embed_param",
    becomes="Gather, Add",
    limits="indices are floats, as in Caffe",
)
def embed(c: Call) -> Value:
    from nntc.core.dtype import DType

    entries, outputs = c.positive("input_dim", 0), c.positive("num_output", 0)
    table = c.blob(0, (entries, outputs), "weights")
    if c.param.flag("bias_term", True):
        table = table + c.blob(1, (outputs,), "biases")
    return c.b.gather(c.b.const(table), c.b.cast(c.x(), DType.I32), 0)


@reads("Parameter", param="parameter_param", becomes="a constant")
def parameter(c: Call) -> Value:
    """Learned numbers as a top."""
    shape = tuple(c.param.message("shape").integers("dim"))
    return c.b.const(c.blob(0, shape, "numbers"))
