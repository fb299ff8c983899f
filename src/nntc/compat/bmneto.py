"""The historical ``bmneto``: ONNX models become BModels or, with --mode GenUmodel, UModels."""

from __future__ import annotations

from nntc.compat.front import FRONT_ENDS

_FRONT = FRONT_ENDS["bmneto"]
compile, main = _FRONT.compile, _FRONT.main

__all__ = ["compile", "main"]

if __name__ == "__main__":
    raise SystemExit(main())
