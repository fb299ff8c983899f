"""Preprocessing in the forms of the historical tools: ``transform_op`` and auto_cali's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nntc.core.errors import Problems, UserError
from nntc.data import steps as s
from nntc.data.preprocess import Preprocess

_FIELDS = (
    *("op", "resize_side", "resize_h", "resize_w", "crop_fraction", "crop_h", "crop_w"),
    *("padding", "mean_value", "mean_file", "scale", "div", "bgr2rgb"),
)
_OPS = ("RESIZE", "CROP", "STAND", "NONE")


def from_transform_ops(
    ops: Sequence[Mapping[str, Any]], values_in_net_order: bool = False, gray: bool = False
) -> Preprocess:
    """The ``transform_op`` entries of a prototxt's ``transform_param``, in their order.

    Pictures are read as OpenCV does (blue first, upright, its bilinear resize); ``bgr2rgb`` swaps.
    STAND is ``(x - mean) * scale / div``.

    Args:
        ops: fields of each entry, such as ``{"op": "STAND", "mean_value": [104, 117, 123]}``.
        values_in_net_order: what is not documented is whether the swap comes before STAND. False:
            STAND comes first, its numbers are for blue, green, red, as in the chip maker's ResNet
            sample. True: they are in the order of the network's channels.
        gray: pictures of one channel.

    Raises:
        UserError: names every field that is unknown or wrong.
    """
    problems = Problems()
    geometry: list[s.Step] = []
    arithmetic: list[s.Arithmetic] = []
    swap = False
    for number, op in enumerate(ops):
        where = f"transform_op {number}"
        for key in op:
            if key not in _FIELDS:
                problems.add(f"{where}: unknown field {key!r}")
        for key in ("padding", "mean_file"):
            if op.get(key):
                problems.add(f"{where}: {key} is not supported")
        kind = op.get("op", "NONE")
        kind = _OPS[kind] if isinstance(kind, int) and 0 <= kind < len(_OPS) else str(kind).upper()
        swap |= _true(op.get("bgr2rgb", False))
        try:
            if kind == "RESIZE":
                geometry.append(_resize(op))
            elif kind == "CROP":
                geometry.append(_crop(op))
            elif kind == "STAND":
                arithmetic += _stand(op)
            elif kind != "NONE":
                raise ValueError(f"unknown op {kind}; there are {', '.join(_OPS)}")
        except (ValueError, TypeError) as err:
            problems.add(f"{where}: {err}")
    problems.raise_if_any()
    if swap and not values_in_net_order:
        arithmetic = [type(step)(step.values[::-1]) for step in arithmetic]
    order = "gray" if gray else "rgb" if swap else "bgr"
    return Preprocess((*geometry, *arithmetic), order=order, interpolation="cv2", exif="apply")


def from_cali_text(text: str, values_in_net_order: bool = False) -> Preprocess:
    """auto_cali's ``resize_h=256,resize_w=256;mean_value=a:b:c,scale=d,bgr2rgb=True``.

    Steps are separated by semicolons; blanks and line ends do not matter.

    Raises:
        UserError: names every fault.
    """
    problems = Problems()
    ops: list[dict[str, Any]] = []
    for part in "".join(text.split()).split(";"):
        op: dict[str, Any] = {}
        for pair in filter(None, part.split(",")):
            key, equals, value = pair.partition("=")
            if not equals:
                problems.add(f"{pair!r} is no key=value")
            op[key] = value.split(":") if key in ("mean_value", "scale", "div") else value
        if "op" not in op:
            resizes = any(key.startswith("resize") for key in op)
            crops = any(key.startswith("crop") for key in op)
            stands = any(key in op for key in ("mean_value", "scale", "div"))
            if resizes + crops + stands > 1:
                problems.add(f"{part!r} mixes steps; separate them by ';'")
            op["op"] = "RESIZE" if resizes else "CROP" if crops else "STAND" if stands else "NONE"
        if len(op) > 1:
            ops.append(op)
    if not ops and not len(problems):
        problems.add("it is empty; write for example 'resize_h=224,resize_w=224;scale=0.017'")
    result = None
    with problems.collect():
        result = from_transform_ops(ops, values_in_net_order)
    if len(problems) or result is None:
        raise UserError([f"preprocessing {text!r}: {problem}" for problem in problems])
    return result


def _true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "yes")


def _resize(op: Mapping[str, Any]) -> s.Step:
    side, height, width = (str(op.get(key) or 0) for key in ("resize_side", "resize_h", "resize_w"))
    if side != "0":
        return s.PARSERS["resize"](side)
    return s.PARSERS["resize"](f"{height}x{width}")


def _crop(op: Mapping[str, Any]) -> s.Step:
    share, height, width = (str(op.get(key) or 0) for key in ("crop_fraction", "crop_h", "crop_w"))
    if height == width == "0" and share != "0":
        return s.PARSERS["crop"](str(float(share)))
    return s.PARSERS["crop"](f"{height}x{width}")


def _stand(op: Mapping[str, Any]) -> list[s.Arithmetic]:
    found: list[s.Arithmetic] = []
    for key, name in (("mean_value", "mean"), ("scale", "scale"), ("div", "div")):
        value = op.get(key)
        if value is None or value == []:
            continue
        several = value if isinstance(value, list | tuple) else [value]
        step = s.PARSERS[name](":".join(map(str, several)))
        assert isinstance(step, s.Arithmetic)
        found.append(step)
    return found
