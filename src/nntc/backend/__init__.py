"""The BM1684 code generator: graph → tiles → instruction streams → BModel."""

from nntc.backend.driver import compile_graph
from nntc.backend.options import CompileOptions, CompileResult, Where

__all__ = ["CompileOptions", "CompileResult", "Where", "compile_graph"]
