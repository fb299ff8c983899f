"""Window attributes that convolutions and pools share: kernel, strides, pads and auto_pad."""

from __future__ import annotations

from collections.abc import Sequence

from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Call

_AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


class Windows:
    """Attributes of a window operator; lists have one entry per spatial axis.

    Args:
        size: spatial shape of the operand.
        kernel: kernel shape if the weights give it; else the attribute is needed.

    Raises:
        ModelError: lists of wrong length, or values that make no window.
    """

    def __init__(self, c: Call, size: Sequence[int], kernel: Sequence[int] | None = None) -> None:
        rank = len(size)
        if rank < 1:
            raise ModelError(f"the operand has rank {rank + 2}, at least 3 is needed")
        if kernel is None:
            c.need("kernel_shape")
        given = c.ints("kernel_shape")
        self.size = tuple(size)
        self.kernel = tuple(given or kernel or ())
        if kernel is not None and self.kernel != tuple(kernel):
            raise ModelError(
                f"attribute 'kernel_shape' is {list(self.kernel)}, the weights have {list(kernel)}"
            )
        self.strides = c.ints("strides") or (1,) * rank
        self.dilations = c.ints("dilations") or (1,) * rank
        self.auto = c.choice("auto_pad", "NOTSET", _AUTO)
        self.pads = c.ints("pads") or (0,) * (2 * rank)
        for what, values, count in (
            ("kernel_shape", self.kernel, rank),
            ("strides", self.strides, rank),
            ("dilations", self.dilations, rank),
            ("pads", self.pads, 2 * rank),
        ):
            if len(values) != count:
                raise ModelError(f"attribute '{what}' has {len(values)} entries, not {count}")
            if what != "pads" and min(values) < 1:
                raise ModelError(f"attribute '{what}' {list(values)} has an entry below 1")
        if self.auto == "VALID":
            self.pads = (0,) * (2 * rank)
        elif self.auto != "NOTSET":
            self.pads = self._same()

    @property
    def extents(self) -> tuple[int, ...]:
        """Span of the dilated kernel."""
        pairs = zip(self.kernel, self.dilations, strict=True)
        return tuple(d * (k - 1) + 1 for k, d in pairs)

    def _same(self) -> tuple[int, ...]:
        """Pads that give ceil(size / stride) windows."""
        need = [
            max((-(-size // stride) - 1) * stride + extent - size, 0)
            for size, stride, extent in zip(self.size, self.strides, self.extents, strict=True)
        ]
        return self.spread(need)

    def spread(self, total: Sequence[int]) -> tuple[int, ...]:
        """Pads in front and behind; of an odd sum SAME_LOWER puts the larger half in front."""
        half = [n // 2 for n in total]
        rest = [n - h for n, h in zip(total, half, strict=True)]
        return (*rest, *half) if self.auto == "SAME_LOWER" else (*half, *rest)
