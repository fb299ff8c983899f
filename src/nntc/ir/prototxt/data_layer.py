"""Data layers: ``transform_param`` and ``data_param``, in Caffe's own fields or as transform_op."""

from __future__ import annotations

from typing import Any

from nntc.core.errors import ModelError
from nntc.core.textformat import Message
from nntc.ir.prototxt.keys import Feed

_OPS = ("RESIZE", "CROP", "STAND", "NONE")
_WHOLE = ("resize_side", "resize_h", "resize_w", "crop_h", "crop_w", "padding")
_BACKENDS = ("LMDB", "1")  # leveldb is 0


def read_feed(message: Message, tops: list[str]) -> Feed:
    """The Data layer *message* with these *tops*.

    Raises:
        ModelError: a field that is unknown or makes no sense, with its line.
    """
    if len(tops) > 2:
        raise ModelError(f"line {message.line}: a Data layer has one top, and one for labels")
    param = message.message("data_param")
    source = param.text("source")
    if not source:
        raise ModelError(f"line {message.line}: the Data layer needs data_param {{ source: ... }}")
    backend = param.text("backend", "LMDB")
    if backend not in _BACKENDS:
        raise ModelError(f"line {param.line}: backend {backend[:40]}: only LMDB is read")
    batch = param.integer("batch_size", 0)
    _all_read(param, "data_param")
    transform = message.message("transform_param")
    gray = transform.flag("force_gray")
    ops = [_op(one) for one in transform.messages("transform_op")]
    plain = _plain(transform)
    if ops and plain:
        raise ModelError(
            f"line {transform.line}: transform_op and Caffe's own fields cannot be mixed"
        )
    _all_read(transform, "transform_param")
    labels = tops[1] if len(tops) > 1 else ""
    return Feed(tops[0], source, batch, "LMDB", tuple(ops or plain), gray, labels)


def _op(message: Message) -> dict[str, Any]:
    """Fields of a transform_op, in the order that they are printed in."""
    kind = message.text("op", "NONE")
    kind = _OPS[int(kind)] if kind in ("0", "1", "2", "3") else kind
    if kind not in _OPS:
        raise ModelError(
            f"line {message.line}: transform_op: op {kind[:40]}; there are {', '.join(_OPS)}"
        )
    op: dict[str, Any] = {"op": kind}
    for name in _WHOLE:
        if name in message:
            op[name] = message.integer(name, 0)
    if "crop_fraction" in message:
        op["crop_fraction"] = message.number("crop_fraction", 0)
    for name in ("mean_value", "scale", "div"):
        if name in message:
            op[name] = message.numbers(name)
    if "mean_file" in message:
        op["mean_file"] = message.text("mean_file")
    if message.flag("bgr2rgb"):
        op["bgr2rgb"] = True
    _all_read(message, "transform_op")
    return op


def _plain(message: Message) -> list[dict[str, Any]]:
    """Caffe's own fields as transform_ops: resize, the middle cropped, (x - mean) * scale."""
    ops: list[dict[str, Any]] = []
    if message.flag("mirror"):
        raise ModelError(f"line {message.line}: mirror: true would flip pictures at random")
    if "mean_file" in message:
        raise ModelError(f"line {message.line}: mean_file is not supported; write mean_value")
    if "resize_param" in message:
        param = message.message("resize_param")
        ops.append(
            {
                "op": "RESIZE",
                "resize_h": param.integer("height", 0),
                "resize_w": param.integer("width", 0),
            }
        )
        for name in ("prob", "resize_mode", "interp_mode"):
            param.texts(name)
        _all_read(param, "resize_param")
    side = message.integer("crop_size", 0)
    if side:
        ops.append({"op": "CROP", "crop_h": side, "crop_w": side})
    means = message.numbers("mean_value")
    scale = message.number("scale", 1)
    if means or scale != 1:
        stand: dict[str, Any] = {"op": "STAND"}
        stand |= {"mean_value": means} if means else {}
        stand |= {"scale": [scale]} if scale != 1 else {}
        ops.append(stand)
    return ops


def _all_read(message: Message, what: str) -> None:
    unread = message.unread()
    if unread:
        line = message.fields[unread[0]][0].line
        raise ModelError(f"line {line}: {what}: unknown field {unread[0][:80]}")
