"""Resampling and detection against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.interpret import evaluate
from tests.ir.twin import cases, check, onnx_run, random, same

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)
SIZES = ((12, 10), (3, 4), (7, 11), (1, 1), (6, 5), (9, 5))


def check_resize(x: np.ndarray, out: tuple[int, ...], by: str, **attributes: Any) -> None:
    """Compare the last axes resized to *out*, which is given by sizes or by scales."""
    sizes = (*x.shape[: x.ndim - len(out)], *out)
    scales = [np.float32(o) / np.float32(i) for o, i in zip(sizes, x.shape, strict=True)]
    op = ops.Resize(sizes, tuple(scales), **attributes)
    names = {"coordinate": "coordinate_transformation_mode", "cubic_a": "cubic_coeff_a"}
    twin = {names.get(k, k): int(v) if v is True else v for k, v in attributes.items()}
    roi = twin.pop("roi", None)
    roi = None if roi is None else np.array(roi, np.float32)
    if by == "sizes":
        extra = [roi, None, np.array(sizes, np.int64)]
    else:
        extra = [roi, np.array(scales, np.float32)]
    check(op, [x], "Resize", twin, extra=extra, tolerance=2e-5)


@cases(
    coordinate=COORDINATES,
    rule=("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    sizes=SIZES,
)
def test_resize_nearest(case: dict) -> None:
    check_resize(
        random((1, 2, 6, 5)),
        case["sizes"],
        "sizes",
        mode="nearest",
        coordinate=case["coordinate"],
        nearest_mode=case["rule"],
    )


@cases(coordinate=COORDINATES, mode=("linear", "cubic"), sizes=SIZES, by=("sizes", "scales"))
def test_resize_smooth(case: dict) -> None:
    x = random((2, 3, 6, 5))
    check_resize(x, case["sizes"], case["by"], mode=case["mode"], coordinate=case["coordinate"])


@cases(coordinate=COORDINATES, sizes=SIZES, outside=(False, True), a=(-0.75, -0.5))
def test_resize_cubic(case: dict) -> None:
    check_resize(
        random((1, 2, 6, 5)),
        case["sizes"],
        "sizes",
        mode="cubic",
        coordinate=case["coordinate"],
        exclude_outside=case["outside"],
        cubic_a=case["a"],
    )


@cases(mode=("linear", "cubic"), sizes=((3, 4), (2, 2), (9, 3), (12, 10)), outside=(False, True))
def test_resize_antialias(case: dict) -> None:
    check_resize(
        random((1, 2, 6, 5)),
        case["sizes"],
        "sizes",
        mode=case["mode"],
        antialias=True,
        exclude_outside=case["outside"],
    )


@cases(rank=(3, 5), mode=("nearest", "linear"))
def test_resize_ranks(case: dict) -> None:
    x = random((2, 3, 4, 5, 3)[-case["rank"] :])
    out = tuple(2 * d for d in x.shape[-min(case["rank"], 3) :])
    check_resize(x, out, "scales", mode=case["mode"])


def test_resize_every_axis() -> None:
    check_resize(random((2, 3, 4, 3)), (4, 5, 3, 7), "sizes", mode="nearest")
    x = random((2, 3, 4, 3))
    y = evaluate(ops.Resize((4, 3, 4, 3), (2, 1, 1, 1), "linear"), [x])[0]
    z = evaluate(ops.Resize((3, 4, 3, 4), (1, 1, 1, 2), "linear"), [x.transpose(1, 2, 3, 0)])[0]
    same(y, z.transpose(3, 0, 1, 2))


@cases(mode=("nearest", "linear", "cubic"), roi=((0.2, 0.1, 0.8, 0.7), (-0.2, 0.3, 1.4, 0.9)))
def test_resize_crop(case: dict) -> None:
    y1, x1, y2, x2 = case["roi"]
    check_resize(
        random((1, 2, 6, 5)),
        (4, 7),
        "sizes",
        mode=case["mode"],
        coordinate="tf_crop_and_resize",
        extrapolation_value=7.0,
        roi=(0, 0, y1, x1, 1, 1, y2, x2),
    )


@cases(dtype=(np.uint8, np.int8, np.int32), sizes=((12, 10), (4, 3)))
def test_resize_integers(case: dict) -> None:
    x, sizes = random((1, 2, 6, 5), case["dtype"], -100, 100), (1, 2, *case["sizes"])
    check_resize(x, case["sizes"], "sizes", mode="nearest")
    scales = tuple(o / i for o, i in zip(sizes, x.shape, strict=True))
    y = evaluate(ops.Resize(sizes, scales, "linear"), [x])[0]
    twin = [x, None, None, np.array(sizes, np.int64)]
    expected = onnx_run("Resize", twin, {"mode": "linear"})[0]
    # Cut toward zero: a rounding error of the sum next to an integer may show.
    wrong = y.astype(int) - expected
    assert np.abs(wrong).max() <= 1
    assert np.count_nonzero(wrong) <= 1


GRID = {2: ((2, 3, 5, 6), (2, 4, 7, 2)), 3: ((2, 3, 4, 5, 6), (2, 3, 4, 2, 3))}


@cases(
    axes=(2, 3),
    mode=("nearest", "linear", "cubic"),
    padding=("zeros", "border", "reflection"),
    align=(0, 1),
)
def test_grid_sample(case: dict) -> None:
    if case["axes"] == 3 and case["mode"] == "cubic":
        return  # not defined
    x, grid = (random(shape) for shape in GRID[case["axes"]])
    grid = grid * np.float32(0.6)
    attributes = {
        "mode": case["mode"],
        "padding_mode": case["padding"],
        "align_corners": case["align"],
    }
    op = ops.GridSample(case["mode"], case["padding"], case["align"])
    check(op, [x, grid], "GridSample", attributes, tolerance=2e-5)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_far_away(padding: str) -> None:
    x = random((1, 1, 4, 4))
    grid = np.array([1e30, -1e30, np.inf, np.nan], np.float32).reshape(1, 2, 1, 2)
    assert evaluate(ops.GridSample("linear", padding), [x, grid])[0].shape == (1, 1, 2, 1)


def boxes_in(height: int, width: int, count: int) -> np.ndarray:
    first = random((count, 2), low=-2, high=0.7 * min(height, width))
    size = random((count, 2), low=0.3, high=0.6 * max(height, width))
    return np.concatenate([first, first + size], 1)


@cases(
    mode=("avg", "max"),
    coordinate=("half_pixel", "output_half_pixel"),
    ratio=(0, 1, 2),
    scale=(1.0, 0.5),
    out=((1, 1), (3, 2)),
)
def test_roi_align(case: dict) -> None:
    x, rois = random((2, 3, 10, 12)), boxes_in(10, 12, 6)
    images = np.array([0, 1, 1, 0, 0, 1], np.int64)
    attributes = {
        "output_height": case["out"][0],
        "output_width": case["out"][1],
        "sampling_ratio": case["ratio"],
        "spatial_scale": case["scale"],
        "mode": case["mode"],
    }
    op = ops.RoiAlign(**attributes, coordinate=case["coordinate"])
    attributes["coordinate_transformation_mode"] = case["coordinate"]
    check(op, [x, rois, images], "RoiAlign", attributes, tolerance=1e-5, opset=16)


def test_roi_align_refuses_bad_boxes() -> None:
    x, images = random((1, 1, 4, 4)), np.zeros(1, np.int64)
    for box in ([0, 0, 1e9, 1], [np.nan, 0, 1, 1]):
        with pytest.raises(ModelError, match="box starts at"):
            evaluate(ops.RoiAlign(), [x, np.array([box], np.float32), images])
    with pytest.raises(ModelError, match="image 3 is outside"):
        evaluate(ops.RoiAlign(), [x, np.zeros((1, 4), np.float32), images + 3])


@cases(center=(0, 1), limit=(0, 1, 4, 99), iou=(0.0, 0.3, 1.0), score=(None, 0.0, 1.5))
def test_non_max_suppression(case: dict) -> None:
    boxes = random((2, 20, 4), low=0, high=5)
    scores = np.round(random((2, 3, 20)))  # many equal ones
    thresholds = [np.array([case["limit"]], np.int64), np.array([case["iou"]], np.float32)]
    if case["score"] is not None:
        thresholds.append(np.array([case["score"]], np.float32))
    attributes = {"center_point_box": case["center"]}
    expected = onnx_run("NonMaxSuppression", [boxes, scores, *thresholds], attributes)[0]
    score = -np.inf if case["score"] is None else case["score"]
    op = ops.NonMaxSuppression(case["center"], case["limit"], case["iou"], score)
    y = evaluate(op, [boxes, scores])[0]
    assert len(y) == 2 * 3 * min(case["limit"], 20)
    same(y[: len(expected)], expected)
    assert (y[len(expected) :] == -1).all()
