"""Samples from picture files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nntc.core.errors import UserError
from nntc.data.decode import CorruptSampleError, pillow, read_picture
from nntc.data.listing import Listing
from nntc.data.preprocess import Preprocess
from nntc.data.samples import Sample, Shape, describe, relative


class PictureSource:
    """Pictures, decoded and preprocessed when they are read."""

    kind = "pictures"

    def __init__(
        self,
        listing: Listing,
        inputs: Mapping[str, Shape],
        preprocess: Preprocess | None,
        where: str,
    ) -> None:
        """Raises: UserError: pictures cannot feed these inputs, or no preprocessing is given."""
        pillow()  # missing, it is missed now and not for every picture
        (name, shape), self._preprocess = the_input(inputs, preprocess, where, "pictures")
        self._name, self._shape = name, (1, *shape[1:])
        self._listing = listing
        self.labels = listing.noted()
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._listing.files)

    def name(self, index: int) -> str:
        return str(self._listing.files[index])

    def read(self, index: int) -> Sample:
        array = self._preprocess.picture(read_picture(self._listing.files[index]))
        if array.shape != self._shape:
            raise UserError(
                f"input {self._name} of shape {list(self._shape)}: preprocessing gives "
                f"{list(array.shape)}; end it with a resize, letterbox or crop to the input's size"
            )
        return {self._name: array}

    def content(self) -> Iterator[bytes]:
        for file in self._listing.files:
            yield relative(file, self._listing.folder).encode(errors="surrogateescape")
            try:
                yield read_picture(file)
            except CorruptSampleError as err:
                yield str(err).encode()


def the_input(
    inputs: Mapping[str, Shape], preprocess: Preprocess | None, where: str, what: str
) -> tuple[tuple[str, Shape], Preprocess]:
    """The one input that pictures feed, and the preprocessing, which has to be given.

    Raises:
        UserError: names everything that does not fit.
    """
    found: list[str] = []
    if len(inputs) != 1:
        found.append(
            f"{where}: {what} feed one input, the network has {len(inputs)}: {describe(inputs)}; "
            "use .npz files with an array for each"
        )
    name, shape = next(iter(inputs.items()), ("", ()))
    if preprocess is None:
        found.append(
            f"{where}: {what} need preprocessing, the one that the network was trained with; "
            f"for example {example(shape)!r}"
        )
    elif len(inputs) == 1:
        found += [f"{where}: {problem}" for problem in preprocess.problems(name, shape)]
    if found or preprocess is None:
        raise UserError(found)
    return (name, shape), preprocess


def example(shape: Shape) -> str:
    """A preprocessing that suits an input of *shape*, to copy and correct."""
    nhwc = len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)
    layout = "nhwc" if nhwc else "nchw"
    if len(shape) != 4:
        shape = (1, 3, 224, 224)
    channels, height, width = (shape[3], *shape[1:3]) if nhwc else shape[1:]
    if channels == 1:
        return f"resize={height}x{width},div=255,order=gray,layout={layout}"
    if (height, width) == (224, 224):
        return (
            "resize=256,crop=224,mean=123.675:116.28:103.53,div=58.395:57.12:57.375,order=rgb,"
            f"layout={layout}"
        )
    return f"resize={height}x{width},mean=127.5,div=127.5,order=rgb,layout={layout}"
