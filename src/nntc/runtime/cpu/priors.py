"""Paddle's density prior boxes and box coder."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import BoxCoderParam, CpuOp, DensityPriorBoxParam
from nntc.runtime.cpu import arith
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.DENSITY_PRIOR_BOX,
    "Paddle density_prior_box: boxes and variances (h, w, priors, 4); one density a fixed size",
    "feature:any image:any fixed_ratios:f32 fixed_sizes:f32 variances:f32",
    "boxes:f32 variances:f32",
)
def density_prior_box(call: Call[DensityPriorBoxParam]) -> list[Output]:
    param = call.param
    call.rank(0, 4)
    call.rank(1, 4)
    h, w = call.inputs[0].shape[2:]
    image_h, image_w = call.inputs[1].shape[2:]
    ratios, sizes, variances = (call.inputs[i].reshape(-1) for i in range(2, 5))
    count = param.densities_size
    densities = list(param.densities[: max(count, 0)])
    call.require(
        0 <= count <= 10 and count == len(sizes) and all(d > 0 for d in densities),
        f"densities {densities} for {len(sizes)} fixed sizes",
    )
    call.require(len(variances) == 4, f"{len(variances)} variances, needs 4")
    call.require(min(h, w, image_h, image_w) >= 1, "an input is empty")
    step_w, step_h = f32(param.step_w), f32(param.step_h)
    if step_w == 0 or step_h == 0:
        step_w, step_h = f32(image_w // w), f32(image_h // h)
    call.require(0 < step_w < 2**20 and 0 < step_h < 2**20, f"steps {step_w} and {step_h}")
    average = int(float(step_w + step_h) * 0.5)
    each = sum(len(ratios) * d * d for d in densities)
    shape = call.room(0, (h, w, each, 4))
    roots = np.sqrt(ratios)
    center_x = arith.to_int((np.arange(w, dtype=np.float32) + f32(param.offset)) * step_w)
    center_y = arith.to_int((np.arange(h, dtype=np.float32) + f32(param.offset)) * step_h)
    boxes = np.zeros(shape, np.float32)
    at = 0
    for size, density in zip(sizes, densities, strict=True):
        shift = average // density
        for root in roots:
            half_w, half_h = float(size * root) / 2.0, float(size / root) / 2.0
            x = (center_x - average / 2.0 + shift / 2.0).astype(np.float32)
            y = (center_y - average / 2.0 + shift / 2.0).astype(np.float32)
            for i in range(density):
                for j in range(density):
                    cx = (x + f32(j * shift)).astype(np.float64)[None, :]
                    cy = (y + f32(i * shift)).astype(np.float64)[:, None]
                    boxes[:, :, at, 0] = np.maximum((cx - half_w) / image_w, 0)
                    boxes[:, :, at, 1] = np.maximum((cy - half_h) / image_h, 0)
                    boxes[:, :, at, 2] = np.minimum((cx + half_w) / image_w, 1)
                    boxes[:, :, at, 3] = np.minimum((cy + half_h) / image_h, 1)
                    at += 1
    if param.clip:
        boxes = np.clip(boxes, 0, 1)
    return [boxes, np.broadcast_to(variances, shape).copy()]


@layer(
    CpuOp.BOX_CODER,
    "Paddle box_coder, encode_center_size or decode_center_size; decoding takes the priors of "
    "axis 0 or 1 of the targets",
    "priors:f32 prior_variances:f32 targets:f32",
    "boxes:f32",
)
def box_coder(call: Call[BoxCoderParam]) -> list[Output]:
    param = call.param
    priors, variances, targets = call.inputs
    call.rank(0, 2)
    call.require(priors.shape[1] == 4, f"priors {priors.shape}, needs 4 coordinates")
    call.require(variances.size >= priors.size, "fewer prior variances than priors")
    variances = variances.reshape(-1)[: priors.size].reshape(priors.shape)
    call.require(0 <= param.code_type_len <= 32, f"code_type of {param.code_type_len} letters")
    one = f32(0 if param.box_normalized else 1)
    size = priors[:, 2:] - priors[:, :2] + one
    center = priors[:, :2] + size / f32(2)
    if param.code_type[: param.code_type_len] == b"encode_center_size":
        call.rank(2, 2)
        call.require(targets.shape[1] == 4, f"targets {targets.shape}, needs 4 coordinates")
        call.room(0, (len(targets), *priors.shape))
        target_center = (targets[:, None, 2:] + targets[:, None, :2]) / f32(2)
        target_size = targets[:, None, 2:] - targets[:, None, :2] + one
        places = (target_center - center) / size
        scales = arith.log(np.abs(target_size / size))
        return [np.concatenate([places, scales], -1) / variances]
    call.rank(2, 3)
    along = 1 if param.axis == 0 else 0
    call.require(
        targets.shape[2] == 4 and targets.shape[along] <= len(priors),
        f"targets {targets.shape} for {len(priors)} priors along axis {along}",
    )
    call.room(0, targets.shape)
    used = math.prod(targets.shape[along : along + 1])
    center, size, variances = (
        a[:used][None] if along else a[:used][:, None] for a in (center, size, variances)
    )
    new_center = variances[..., :2] * targets[..., :2] * size + center
    new_size = arith.exp(variances[..., 2:] * targets[..., 2:]) * size
    half = new_size / f32(2)
    return [np.concatenate([new_center - half, new_center + half - one], -1)]
