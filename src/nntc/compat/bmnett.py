"""The historical ``bmnett``: TensorFlow models become BModels, or UModels (--mode GenUmodel)."""

from __future__ import annotations

from nntc.compat.front import FRONT_ENDS

_FRONT = FRONT_ENDS["bmnett"]
compile, main = _FRONT.compile, _FRONT.main

__all__ = ["compile", "main"]

if __name__ == "__main__":
    raise SystemExit(main())
