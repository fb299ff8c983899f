"""Samples from the historical LMDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from nntc.core.errors import UserError
from nntc.data.datum import Datum, DatumError, decode_datum
from nntc.data.decode import CorruptSampleError
from nntc.data.lmdb_file import LmdbReader
from nntc.data.pictures import the_input
from nntc.data.preprocess import Preprocess
from nntc.data.samples import Sample, Shape, describe, sample_shape


class LmdbSource:
    """Records, given as stored or, with preprocessing, treated as pictures.

    Stored arrays are planes [1, C, H, W] or [C, H, W]; three of them in blue, green, red order,
    as OpenCV reads pictures and the historical tools store them. ``order=rgb`` reverses them.
    """

    kind = "lmdb"

    def __init__(
        self, path: Path, inputs: Mapping[str, Shape], preprocess: Preprocess | None
    ) -> None:
        """Raises: UserError: damaged, or records cannot feed these inputs."""
        where = str(path)
        if len(inputs) != 1:
            raise UserError(
                f"{where}: records of an LMDB feed one input, the network has {len(inputs)}: "
                f"{describe(inputs)}; use .npz files with an array for each"
            )
        ((self._input, shape),) = inputs.items()
        self._shape = tuple(shape)
        if preprocess is not None:
            the_input(inputs, preprocess, where, "records")
        self._preprocess = preprocess
        self._reader = LmdbReader(path)
        self._path = path
        self.labels: dict[int, int] = {}
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._reader)

    def name(self, index: int) -> str:
        key = self._reader.entries[index][0].decode("utf-8", "backslashreplace").strip()
        return f"{self._path}: record {key}"

    def read(self, index: int) -> Sample:
        try:
            datum = decode_datum(self._reader.value(index))
        except DatumError as err:
            raise CorruptSampleError(f"no record of an array: {err}") from None
        if datum.label is not None:
            self.labels[index] = datum.label
        array = self._array(datum)
        shape = sample_shape(array.shape, self._shape)
        if shape is None:
            hint = "" if self._preprocess else "; it can be changed by preprocessing"
            raise UserError(
                f"shape {list(array.shape)} does not fit input {self._input} of shape "
                f"{list(self._shape)}{hint}"
            )
        return {self._input: array.reshape(shape)}

    def content(self) -> Iterator[bytes]:
        for index, (key, _) in enumerate(self._reader.entries):
            yield key
            yield self._reader.value(index)

    def _array(self, datum: Datum) -> np.ndarray:
        if datum.encoded is not None:
            if self._preprocess is None:
                raise UserError("is a picture file: preprocessing is needed")
            return self._preprocess.picture(datum.encoded)
        assert datum.array is not None
        if self._preprocess is None:
            return datum.array
        return self._preprocess.apply(self._pixels(datum.array, self._preprocess.order))

    def _pixels(self, array: np.ndarray, order: str) -> np.ndarray:
        """[H, W, C] of stored planes, in *order*."""
        planes = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
        if planes.ndim != 3 or planes.shape[0] not in (1, 3) or not planes.size:
            raise UserError(
                f"shape {list(array.shape)} is no picture; preprocessing needs [1, C, H, W] or "
                "[C, H, W] of 1 or 3 channels"
            )
        if planes.dtype != np.uint8:
            planes = planes.astype(np.float32)
        pixels = np.moveaxis(planes, 0, 2)
        if pixels.shape[2] == 1:
            return pixels
        if order == "bgr":
            return pixels
        if order == "rgb":
            return pixels[:, :, ::-1]
        if order == "gray":
            raise UserError("three stored channels cannot be made gray; use order=bgr or rgb")
        raise UserError(
            "the order of the stored channels has to be said: order=bgr leaves them as they are, "
            "order=rgb reverses them"
        )
