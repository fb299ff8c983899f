"""nntc: compiler, bit-exact simulator and runtime for the Sophon BM1684 TPU.

``nntc.compile``, ``nntc.load``, ``nntc.check`` and ``nntc.Engine`` are the whole of everyday use;
they are imported on first use, so that ``import nntc`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nntc.api import check, compile, load
    from nntc.runtime import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "__version__", "check", "compile", "load"]

_LAZY = {
    "Engine": "nntc.runtime",
    "check": "nntc.api",
    "compile": "nntc.api",
    "load": "nntc.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nntc' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
