"""The BM1684 code generator: graph → tiles → instruction streams → BModel."""

from nntc.backend.driver import check, compile_graph
from nntc.backend.legalize import Finding
from nntc.backend.options import CompileOptions, CompileResult, Where

__all__ = ["CompileOptions", "CompileResult", "Finding", "Where", "check", "compile_graph"]
