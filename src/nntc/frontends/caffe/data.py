"""Layers that feed the network: the shapes of their tops."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.caffe.net import Layer
from nntc.frontends.caffe.text import Message

_SOURCES = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "HDF5Data": "hdf5_data_param",
    "WindowData": "window_data_param",
    "AnnotatedData": "data_param",
}

Shape = tuple[int, ...]


def data_shapes(layer: Layer) -> list[Shape | None]:
    """The shape of each top as far as the layer says; None where it lies in the data.

    Raises:
        ModelError: the options make no sense.
    """
    message, tops = layer.message, len(layer.tops)
    if layer.kind == "Input":
        shapes: list[Shape | None] = [
            tuple(m.integers("dim")) for m in message.message("input_param").messages("shape")
        ]
        if len(shapes) == 1:
            shapes *= tops
        if shapes and len(shapes) != tops:
            raise ModelError(f"{layer}: {len(shapes)} shapes for {tops} tops")
        return shapes or [None] * tops
    if layer.kind == "MemoryData":
        param = message.message("memory_data_param")
        dims = [param.integer(k, 0) for k in ("batch_size", "channels", "height", "width")]
        return [tuple(dims), (dims[0],), *[None] * tops][:tops]
    param = message.message(_SOURCES[layer.kind])
    transform = message.message("transform_param")
    batch = max(param.integer("batch_size", 1), 1)
    return [_picture(batch, transform, param), (batch,), *[None] * tops][:tops]


def _picture(batch: int, transform: Message, param: Message) -> Shape | None:
    """Known if pictures are cropped or scaled to one size."""
    size = transform.integer("crop_size", param.integer("crop_size", 0))
    height, width = param.integer("new_height", 0), param.integer("new_width", 0)
    resize = transform.message("resize_param")
    height, width = resize.integer("height", height), resize.integer("width", width)
    if size > 0:
        height = width = size
    if height <= 0 or width <= 0:
        return None
    return (batch, 1 if transform.flag("force_gray") else 3, height, width)
