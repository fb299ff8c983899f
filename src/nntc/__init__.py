"""nntc: compiler, bit-exact simulator and runtime for the Sophon BM1684 TPU."""

__version__ = "0.1.0"
