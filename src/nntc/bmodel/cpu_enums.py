"""Op ids and enumerations of the CPU layers (see :mod:`nntc.bmodel.cpu_ops`)."""

from __future__ import annotations

from enum import IntEnum

MAX_DIMS = 8


class CpuOp(IntEnum):
    """Layer type stored in ``CpuParam.op_type``; ids from 10000 up are custom layers."""

    SSD_DETECT_OUT = 0
    ANAKIN_DETECT_OUT = 1
    RPN = 2
    USER_DEFINED = 3
    ROI_POOLING = 4
    ROIALIGN = 5
    BOXNMS = 6
    YOLO = 7
    CROP_AND_RESIZE = 8
    GATHER = 9
    NMS = 10
    ARGSORT = 11
    GATHERND = 12
    YOLOV3_DETECT_OUT = 13
    WHERE = 14
    ADAPTIVE_AVG_POOL = 15
    ADAPTIVE_MAX_POOL = 16
    TOPK = 17
    RESIZE_INTERPOLATION = 18
    GATHERND_TF = 19
    SORT_PER_DIM = 20
    WHERE_SQUEEZE_GATHER = 21
    MASKED_SELECT = 22
    UNARY = 23
    EMBEDDING = 24
    TOPK_MX = 25
    INDEX_PUT = 26
    SCATTER_ND = 27
    RANDOM_UNIFORM = 28
    GATHER_PT = 29
    BINARY = 30
    TF_NMS_V5 = 31
    GENERATE_PROPOSALS = 32
    BBOX_TRANSFORM = 33
    BOX_WITH_NMS_LIMIT = 34
    COLLECT_RPN_PROPOSALS = 35
    DISTRIBUTE_FPN_PROPOSALS = 36
    DISTRIBUTE_FPN_ROI_ALIGN_CONCAT = 37
    PYTORCH_ROI_ALIGN = 38
    AFFINE_GRID = 39
    GRID_SAMPLER = 40
    AFFINE_GRID_SAMPLER = 41
    RANDOM_UNIFORM_INT = 42
    TOPK_ASCENDING = 43
    PYTORCH_INDEX = 44
    EMBEDDING_BAG = 45
    ONNX_NMS = 46
    DEFORM_GATHER = 47
    DEFORM_PSROI_POOLING = 48
    PADDLE_YOLO_BOX = 49
    MULTICLASS_NMS = 50
    PADDLE_DEFORM_CONV = 51
    MATRIX_NMS = 52
    REVERSE_SEQUENCE = 53
    FULL_INDEX = 54
    ADAPTIVE_AVG_POOL_3D = 55
    TENSOR_SCATTER = 56
    REPEAT_INTERLEAVE = 57
    DENSITY_PRIOR_BOX = 58
    BOX_CODER = 59
    DEBUG = 88888


FIRST_CUSTOM_OP = 10000
"""Ids from here on (other than DEBUG) belong to a user's custom library, not to the runtime."""


class CpuDType(IntEnum):
    """Element types as the parameter structs name them."""

    F32 = 0
    F16 = 1
    I8 = 2
    U8 = 3
    I16 = 4
    U16 = 5
    I32 = 6
    U32 = 7
    BF16 = 8


class ScatterFn(IntEnum):
    """Combination of old and new values; 2 is subtraction old - new in the runtime."""

    ASSIGN = 0
    ADD = 1
    SUB = 2
    MAX = 3
    MIN = 4
    MUL = 5


class BoxFormat(IntEnum):
    CORNER = 0
    CENTER = 1


class CodeType(IntEnum):
    """How SSD location predictions are encoded against the prior boxes."""

    CORNER = 1
    CENTER_SIZE = 2
    CORNER_SIZE = 3


class ResizeMethod(IntEnum):
    BILINEAR = 0
    NEAREST = 1
    BILINEAR_PYTORCH = 2
    NEAREST_PYTORCH = 3


class DataFormat(IntEnum):
    NCHW = 0
    NHWC = 1


class TopKReturn(IntEnum):
    INDICES = 0
    VALUE = 1
    BOTH = 2
    MASK = 3


class UnaryFn(IntEnum):
    SIN = 0
    COS = 1
    ISFINITE = 2
    CEIL = 3
    FLOOR = 4
    ROUND = 5


class BinaryFn(IntEnum):
    MOD = 0
    DIV = 1


class EmbeddingMode(IntEnum):
    SUM = 0
    MEAN = 1
    MAX = 2


class GridMode(IntEnum):
    BILINEAR = 0
    NEAREST = 1


class GridPadding(IntEnum):
    ZEROS = 0
    BORDER = 1
    REFLECTION = 2


class DeformMode(IntEnum):
    MXNET = 0
    CAFFE2 = 1
    TORCHVISION = 2


class IndexType(IntEnum):
    NONE = 0
    ELLIPSIS = 1
    INTEGER = 2
    BOOL = 3
    SLICE = 4
    TENSOR = 5
