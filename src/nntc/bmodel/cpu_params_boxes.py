"""Parameter structs of CPU layers that make, pool and select boxes."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.bmodel.cpu_enums import BoxFormat, CodeType, CpuOp, ResizeMethod
from nntc.bmodel.cpu_struct import CpuParam, bool_, chars, float_, floats, int_, ints, param


@param(CpuOp.SSD_DETECT_OUT, CpuOp.ANAKIN_DETECT_OUT)
@dataclass(frozen=True)
class SsdDetectOutParam(CpuParam):
    """The class and prior counts are taken from the input shapes, not from here."""

    num_classes: int = int_()
    share_location: bool = bool_(True)
    background_label_id: int = int_()
    nms_threshold: float = float_()
    top_k: int = int_(-1)
    code_type: int = int_(CodeType.CENTER_SIZE)
    keep_top_k: int = int_(-1)
    confidence_threshold: float = float_()
    num_priors: int = int_()
    num_loc_classes: int = int_(1)
    variance_encoded_in_target: bool = bool_()
    eta: float = float_(1.0)
    objectness_score: float = float_()


@param(CpuOp.RPN)
@dataclass(frozen=True)
class RpnParam(CpuParam):
    feat_stride: int = int_()
    min_size: int = int_()
    pre_nms_top_n: int = int_()
    post_nms_top_n: int = int_()
    nms_thresh: float = float_()
    score_thresh: float = float_()
    base_size: int = int_()
    scales_num: int = int_()
    ratios_num: int = int_()
    anchor_scales: tuple[int, ...] = ints(5)
    ratios: tuple[float, ...] = floats(5)


@param(CpuOp.ROI_POOLING)
@dataclass(frozen=True)
class RoiPoolingParam(CpuParam):
    pooled_height: int = int_()
    pooled_width: int = int_()
    spatial_scale: float = float_(1.0)


@param(CpuOp.ROIALIGN)
@dataclass(frozen=True)
class RoiAlignParam(CpuParam):
    pooled_height: int = int_()
    pooled_width: int = int_()
    spatial_scale: float = float_(1.0)
    sampling_ratio: int = int_()
    position_sensitive: int = int_()


@param(CpuOp.BOXNMS)
@dataclass(frozen=True)
class BoxNmsParam(CpuParam):
    overlap_thresh: float = float_()
    valid_thresh: float = float_()
    topk: int = int_(-1)
    coord_start: int = int_()
    score_index: int = int_()
    id_index: int = int_(-1)
    background_id: int = int_(-1)
    force_suppress: int = int_()
    in_format: int = int_(BoxFormat.CORNER)
    out_format: int = int_(BoxFormat.CORNER)


@param(CpuOp.YOLO)
@dataclass(frozen=True)
class YoloParam(CpuParam):
    classes: int = int_()
    num: int = int_(3)


@param(CpuOp.CROP_AND_RESIZE)
@dataclass(frozen=True)
class CropAndResizeParam(CpuParam):
    method: int = int_(ResizeMethod.BILINEAR)
    extrapolation_value: float = float_()
    crop_h: int = int_()
    crop_w: int = int_()


@param(CpuOp.NMS)
@dataclass(frozen=True)
class NmsParam(CpuParam):
    iou_threshold: float = float_()
    score_threshold: float = float_()
    max_output_size: int = int_()


@param(CpuOp.YOLOV3_DETECT_OUT)
@dataclass(frozen=True)
class YoloV3DetectOutParam(CpuParam):
    num_inputs: int = int_()
    num_classes: int = int_()
    num_boxes: int = int_()
    confidence_threshold: float = float_()
    nms_threshold: float = float_()
    mask_group_size: int = int_()
    biases: tuple[float, ...] = floats(18)
    anchors_scale: tuple[float, ...] = floats(3)
    mask: tuple[float, ...] = floats(9)


@param(CpuOp.TF_NMS_V5)
@dataclass(frozen=True)
class TfNmsV5Param(CpuParam):
    iou_threshold: float = float_()
    score_threshold: float = float_()
    soft_nms_sigma: float = float_()
    pad_to_max_output_size: bool = bool_()
    max_output_size: int = int_()


@param(CpuOp.GENERATE_PROPOSALS)
@dataclass(frozen=True)
class GenerateProposalsParam(CpuParam):
    spatial_scale: float = float_(1.0)
    rpn_pre_nms_top_n: int = int_()
    rpn_post_nms_top_n: int = int_()
    rpn_nms_thresh: float = float_()
    rpn_min_size: float = float_()
    angle_bound_on: bool = bool_()
    angle_bound_lo: int = int_()
    angle_bound_hi: int = int_()
    clip_angle_thresh: float = float_()
    legacy_plus_one: bool = bool_()


@param(CpuOp.BBOX_TRANSFORM)
@dataclass(frozen=True)
class BboxTransformParam(CpuParam):
    weights: tuple[float, ...] = floats(4)
    apply_scale: bool = bool_()
    rotated: bool = bool_()
    angle_bound_on: bool = bool_()
    angle_bound_lo: int = int_()
    angle_bound_hi: int = int_()
    clip_angle_thresh: float = float_()
    legacy_plus_one: bool = bool_()


@param(CpuOp.BOX_WITH_NMS_LIMIT)
@dataclass(frozen=True)
class BoxWithNmsLimitParam(CpuParam):
    score_thresh: float = float_()
    nms: float = float_()
    detections_per_im: int = int_()
    soft_nms_enabled: bool = bool_()
    soft_nms_method: int = int_()
    soft_nms_sigma: float = float_()
    soft_nms_min_score_thres: float = float_()
    rotated: bool = bool_()
    cls_agnostic_bbox_reg: bool = bool_()
    input_boxes_include_bg_cls: bool = bool_()
    output_classes_include_bg_cls: bool = bool_()
    legacy_plus_one: bool = bool_()


@param(CpuOp.COLLECT_RPN_PROPOSALS)
@dataclass(frozen=True)
class CollectRpnProposalsParam(CpuParam):
    rpn_max_level: int = int_()
    rpn_min_level: int = int_()
    rpn_post_nms_top_n: int = int_()


@param(CpuOp.DISTRIBUTE_FPN_PROPOSALS)
@dataclass(frozen=True)
class DistributeFpnProposalsParam(CpuParam):
    roi_canonical_scale: int = int_()
    roi_canonical_level: int = int_()
    roi_max_level: int = int_()
    roi_min_level: int = int_()
    legacy_plus_one: bool = bool_()


@param(CpuOp.PYTORCH_ROI_ALIGN)
@dataclass(frozen=True)
class PytorchRoiAlignParam(CpuParam):
    pooled_height: int = int_()
    pooled_width: int = int_()
    spatial_scale: float = float_(1.0)
    sampling_ratio: int = int_()
    align: bool = bool_()


@param(CpuOp.DISTRIBUTE_FPN_ROI_ALIGN_CONCAT)
@dataclass(frozen=True)
class DistributeFpnRoiAlignConcatParam(CpuParam):
    """A DistributeFpnProposalsParam, then four PytorchRoiAlignParam, as raw struct bytes."""

    dfp_bytes: bytes = chars(20)
    roi_align_bytes: bytes = chars(80)

    @property
    def dfp(self) -> DistributeFpnProposalsParam:
        return DistributeFpnProposalsParam.unpack(self.dfp_bytes)

    @property
    def roi_aligns(self) -> list[PytorchRoiAlignParam]:
        data = self.roi_align_bytes.ljust(80, b"\0")
        return [PytorchRoiAlignParam.unpack(data[i : i + 20]) for i in range(0, 80, 20)]

    @classmethod
    def make(
        cls, dfp: DistributeFpnProposalsParam, aligns: list[PytorchRoiAlignParam]
    ) -> DistributeFpnRoiAlignConcatParam:
        return cls(dfp.pack(), b"".join(a.pack() for a in aligns))


@param(CpuOp.ONNX_NMS)
@dataclass(frozen=True)
class OnnxNmsParam(CpuParam):
    center_point_box: int = int_()
    max_output_size: int = int_()


@param(CpuOp.DEFORM_PSROI_POOLING)
@dataclass(frozen=True)
class DeformPsroiPoolingParam(CpuParam):
    spatial_scale: float = float_(1.0)
    output_dim: int = int_()
    group_size: int = int_(1)
    pooled_size: int = int_()
    part_size: int = int_()
    sample_per_part: int = int_(1)
    trans_std: float = float_()
    no_trans: bool = bool_()


@param(CpuOp.PADDLE_YOLO_BOX)
@dataclass(frozen=True)
class PaddleYoloBoxParam(CpuParam):
    """``anchors_size`` counts numbers (two per anchor)."""

    anchors: tuple[int, ...] = ints(100)
    conf_thresh: float = float_()
    class_num: int = int_()
    downsample_ratio: int = int_()
    anchors_size: int = int_()
    iou_aware: bool = bool_()
    clip_bbox: bool = bool_()
    iou_aware_factor: float = float_()
    scale: float = float_(1.0)


@param(CpuOp.MULTICLASS_NMS)
@dataclass(frozen=True)
class MulticlassNmsParam(CpuParam):
    score_threshold: float = float_()
    nms_threshold: float = float_()
    nms_eta: float = float_(1.0)
    keep_top_k: int = int_(-1)
    nms_top_k: int = int_(-1)
    background_label: int = int_()
    normalized: bool = bool_(True)
    has_output_nms_num: bool = bool_()
    has_batch: bool = bool_()


@param(CpuOp.MATRIX_NMS)
@dataclass(frozen=True)
class MatrixNmsParam(CpuParam):
    score_threshold: float = float_()
    nms_top_k: int = int_(-1)
    keep_top_k: int = int_(-1)
    normalized: bool = bool_(True)
    background_label: int = int_()
    post_threshold: float = float_()
    use_gaussian: bool = bool_()
    gaussian_sigma: float = float_()
    has_output_nms_num: bool = bool_()


@param(CpuOp.DENSITY_PRIOR_BOX)
@dataclass(frozen=True)
class DensityPriorBoxParam(CpuParam):
    clip: bool = bool_()
    flatten_to_2d: bool = bool_()
    offset: float = float_(0.5)
    step_h: float = float_()
    step_w: float = float_()
    densities_size: int = int_()
    densities: tuple[int, ...] = ints(10)


@param(CpuOp.BOX_CODER)
@dataclass(frozen=True)
class BoxCoderParam(CpuParam):
    """``code_type`` is the text encode_center_size or decode_center_size."""

    axis: int = int_()
    box_normalized: bool = bool_(True)
    code_type_len: int = int_()
    code_type: bytes = chars(32)
