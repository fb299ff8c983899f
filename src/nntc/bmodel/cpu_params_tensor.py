"""Parameter structs of CPU layers that index, sort, sample and compute on tensors."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.bmodel.cpu_enums import (
    MAX_DIMS,
    BinaryFn,
    CpuDType,
    CpuOp,
    DataFormat,
    DeformMode,
    EmbeddingMode,
    GridMode,
    GridPadding,
    ResizeMethod,
    ScatterFn,
    TopKReturn,
    UnaryFn,
)
from nntc.bmodel.cpu_struct import CpuParam, P, bool_, float_, int64_, int_, ints, param


@param(CpuOp.GATHER, CpuOp.GATHER_PT)
@dataclass(frozen=True)
class GatherParam(CpuParam):
    axis: int = int_()


@param(CpuOp.ARGSORT)
@dataclass(frozen=True)
class ArgSortParam(CpuParam):
    axis: int = int_()
    is_ascend: bool = bool_(True)


@param(CpuOp.GATHERND, CpuOp.GATHERND_TF)
@dataclass(frozen=True)
class GatherNdParam(CpuParam):
    """``indice_is_int`` matters to GATHERND only, ``batch_dims`` to GATHERND_TF only."""

    indice_is_int: int = int_()
    batch_dims: int = int_()


@param(CpuOp.WHERE)
@dataclass(frozen=True)
class WhereParam(CpuParam):
    """WHERE has no parameter; bytes that are there are ignored, as the runtime does."""

    @classmethod
    def unpack(cls: type[P], data: bytes) -> P:
        return cls()


@param(CpuOp.ADAPTIVE_AVG_POOL, CpuOp.ADAPTIVE_MAX_POOL, CpuOp.ADAPTIVE_AVG_POOL_3D)
@dataclass(frozen=True)
class AdaptivePoolParam(CpuParam):
    output_shape: tuple[int, ...] = ints(3)


@param(CpuOp.TOPK, CpuOp.TOPK_ASCENDING)
@dataclass(frozen=True)
class TopKParam(CpuParam):
    """``descending`` is not read by the runtime: TOPK and TOPK_ASCENDING are two ops."""

    k: int = int_(-1)
    axis: int = int_(-1)
    sorted: bool = bool_(True)
    descending: bool = bool_(True)
    values_used_only: bool = bool_()


@param(CpuOp.RESIZE_INTERPOLATION)
@dataclass(frozen=True)
class ResizeInterpolationParam(CpuParam):
    align_corners: int = int_()
    half_pixel_centers: int = int_()
    method: int = int_(ResizeMethod.BILINEAR)
    ifmt: int = int_(DataFormat.NCHW)
    ofmt: int = int_(DataFormat.NCHW)
    oh: int = int_()
    ow: int = int_()


@param(CpuOp.SORT_PER_DIM)
@dataclass(frozen=True)
class SortPerDimParam(CpuParam):
    dim: int = int_()
    is_argsort: bool = bool_()
    stable: bool = bool_()
    descending: bool = bool_()


@param(CpuOp.WHERE_SQUEEZE_GATHER)
@dataclass(frozen=True)
class WhereSqueezeGatherParam(CpuParam):
    axes: tuple[int, ...] = ints(MAX_DIMS)


@param(CpuOp.MASKED_SELECT)
@dataclass(frozen=True)
class MaskedSelectParam(CpuParam):
    bcast_from_begin: bool = bool_()


@param(CpuOp.UNARY)
@dataclass(frozen=True)
class UnaryParam(CpuParam):
    unary_op: int = int_(UnaryFn.SIN)


@param(CpuOp.BINARY)
@dataclass(frozen=True)
class BinaryParam(CpuParam):
    op: int = int_(BinaryFn.MOD)
    dtype: int = int_(CpuDType.F32)


@param(CpuOp.EMBEDDING)
@dataclass(frozen=True)
class EmbeddingParam(CpuParam):
    """The member is a pointer that has no meaning in a file; write 0."""

    padding_idx: int = int64_()


@param(CpuOp.TOPK_MX)
@dataclass(frozen=True)
class TopKMxParam(CpuParam):
    k: int = int_(1)
    axis: int = int_(-1)
    ret_type: int = int_(TopKReturn.INDICES)
    is_ascend: int = int_()
    dtype: int = int_(CpuDType.F32)


@param(CpuOp.INDEX_PUT)
@dataclass(frozen=True)
class IndexPutParam(CpuParam):
    """Mode 1 (one index tensor over axis 0) is the only one the runtime has."""

    mode: int = int_(1)
    accumulate: int = int_()


@param(CpuOp.SCATTER_ND)
@dataclass(frozen=True)
class ScatterNdParam(CpuParam):
    dim: int = int_()
    shape: tuple[int, ...] = ints(MAX_DIMS)


@param(CpuOp.RANDOM_UNIFORM)
@dataclass(frozen=True)
class RandomUniformParam(CpuParam):
    dim: int = int_()
    shape: tuple[int, ...] = ints(MAX_DIMS)
    lower: float = float_()
    upper: float = float_(1.0)
    seed: int = int64_()


@param(CpuOp.RANDOM_UNIFORM_INT)
@dataclass(frozen=True)
class RandomUniformIntParam(CpuParam):
    dim: int = int_()
    shape: tuple[int, ...] = ints(MAX_DIMS)
    seed: int = int64_()


@param(CpuOp.AFFINE_GRID)
@dataclass(frozen=True)
class AffineGridParam(CpuParam):
    align_corners: bool = bool_()
    n: int = int_()
    h: int = int_()
    w: int = int_()


@param(CpuOp.GRID_SAMPLER)
@dataclass(frozen=True)
class GridSamplerParam(CpuParam):
    mode: int = int_(GridMode.BILINEAR)
    padding_mode: int = int_(GridPadding.ZEROS)
    align_corners: bool = bool_()


@param(CpuOp.AFFINE_GRID_SAMPLER)
@dataclass(frozen=True)
class AffineGridSamplerParam(CpuParam):
    """An AffineGridParam followed by a GridSamplerParam."""

    generator_align_corners: bool = bool_()
    n: int = int_()
    h: int = int_()
    w: int = int_()
    mode: int = int_(GridMode.BILINEAR)
    padding_mode: int = int_(GridPadding.ZEROS)
    align_corners: bool = bool_()


@param(CpuOp.PYTORCH_INDEX)
@dataclass(frozen=True)
class PytorchIndexParam(CpuParam):
    start: int = int_()
    end: int = int_()


@param(CpuOp.EMBEDDING_BAG)
@dataclass(frozen=True)
class EmbeddingBagParam(CpuParam):
    num_embeddings: int = int_()
    embedding_dim: int = int_()
    mode: int = int_(EmbeddingMode.SUM)


@param(CpuOp.DEFORM_GATHER)
@dataclass(frozen=True)
class DeformGatherParam(CpuParam):
    modulated: bool = bool_()
    deform_groups: int = int_(1)
    kh: int = int_()
    kw: int = int_()
    pad_t: int = int_()
    pad_b: int = int_()
    pad_l: int = int_()
    pad_r: int = int_()
    stride_h: int = int_(1)
    stride_w: int = int_(1)
    dilation_h: int = int_(1)
    dilation_w: int = int_(1)
    mode: int = int_(DeformMode.MXNET)


@param(CpuOp.PADDLE_DEFORM_CONV)
@dataclass(frozen=True)
class PaddleDeformConvParam(CpuParam):
    modulated: bool = bool_()
    groups: int = int_(1)
    deform_groups: int = int_(1)
    kh: int = int_()
    kw: int = int_()
    pad: tuple[int, ...] = ints(2)
    stride: tuple[int, ...] = ints(2)
    dilation: tuple[int, ...] = ints(2)
    im2col_step: int = int_(1)


@param(CpuOp.REVERSE_SEQUENCE)
@dataclass(frozen=True)
class ReverseSequenceParam(CpuParam):
    seq_dim: int = int_()
    batch_dim: int = int_()


@param(CpuOp.FULL_INDEX)
@dataclass(frozen=True)
class FullIndexParam(CpuParam):
    """``info``: per axis five ints: an IndexType and a union of four.

    SLICE: bit mask of absent (1 begin, 2 end, 4 step), begin, end, step. TENSOR: input number,
    whether that input is a bool mask, 0, 0. INTEGER and BOOL: value, 0, 0, 0.
    """

    count: int = int_()
    info: tuple[int, ...] = ints(5 * MAX_DIMS)
    dtype: int = int_(CpuDType.F32)


@param(CpuOp.TENSOR_SCATTER)
@dataclass(frozen=True)
class TensorScatterParam(CpuParam):
    input_dtype: int = int_(CpuDType.F32)
    scatter_op: int = int_(ScatterFn.ASSIGN)


@param(CpuOp.REPEAT_INTERLEAVE)
@dataclass(frozen=True)
class RepeatInterleaveParam(CpuParam):
    dim: int = int_()


@param(CpuOp.DEBUG)
@dataclass(frozen=True)
class DebugParam(CpuParam):
    tensor_id: int = int_()
    tensor_dtype: int = int_(CpuDType.F32)
    from_layer_id: int = int_(-1)
    from_layer_type: int = int_()
