"""Reads the container: the protobuf message, and where its external data lies."""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from nntc.core import files
from nntc.core.errors import ModelError, UserError


def read_model(
    source: str | os.PathLike[str] | bytes | ModelProto,
) -> tuple[ModelProto, Path | None, str]:
    """The model message, the folder its external data is relative to, and a name for messages.

    Args:
        source: a path, the bytes of a file, or a message that is already parsed.

    Raises:
        ModelError: not an ONNX model.
        UserError: the file cannot be read.
    """
    if isinstance(source, ModelProto):
        model, folder, name = source, None, "model"
    elif isinstance(source, bytes):
        model, folder, name = _parse(source, "model"), None, "model"
    else:
        path = Path(source)
        model = _parse(files.read_bytes(path), str(path))
        folder, name = path.resolve().parent, str(path)
    _check(model, name)
    return model, folder, name


def _parse(data: bytes, name: str) -> ModelProto:
    if not data:
        raise ModelError(f"{name}: the file is empty")
    try:
        return ModelProto.FromString(data)
    except DecodeError:
        raise ModelError(
            f"{name}: not an ONNX model, or cut short ({len(data)} bytes do not parse)"
        ) from None


def _check(model: ModelProto, name: str) -> None:
    if not model.HasField("graph"):
        raise ModelError(f"{name}: not an ONNX model (it holds no graph)")
    if not model.graph.output:
        raise ModelError(f"{name}: the model's graph has no outputs")
    if not model.opset_import and model.ir_version >= 3:
        raise ModelError(f"{name}: the model names no operator set (opset_import)")


class ExternalData:
    """Opens tensors that lie in files beside the model; nothing outside its folder is read.

    Args:
        folder: the model's folder, None if the model did not come from a file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, location: str, offset: int, length: int | None) -> bytes:
        """Part of the file *location*.

        Args:
            offset: first byte.
            length: number of bytes, None for all up to the end.

        Raises:
            ModelError: no folder is known, the path leads out of it, or the file is too short.
            UserError: the file is missing or cannot be read.
        """
        if self._folder is None:
            raise ModelError(
                f"its data lies in the file '{location}'; give the model as a path, so that the "
                "file can be found"
            )
        path = self._inside(location)
        try:
            size = path.stat().st_size
            end = size if length is None else offset + length
            if not 0 <= offset <= end <= size:
                raise ModelError(
                    f"its data is bytes {offset} to {end} of '{path}', which has {size}"
                )
            with path.open("rb") as stream:
                stream.seek(offset)
                return stream.read(end - offset)
        except OSError as err:
            reason = err.strerror or type(err).__name__
            raise UserError(f"its data file '{path}' cannot be read: {reason}") from None

    def _inside(self, location: str) -> Path:
        assert self._folder is not None
        relative = Path(location.replace("\\", "/"))
        try:
            path = (self._folder / relative).resolve()
        except (OSError, ValueError, RuntimeError):
            path = None
        # Also a symbolic link may lead outside; resolve() has followed it.
        if (
            not location
            or path is None
            or relative.is_absolute()
            or not path.is_relative_to(self._folder)
        ):
            raise ModelError(
                f"its data file '{location}' is not inside the model's folder '{self._folder}'; "
                "copy it there"
            )
        return path
