"""Readers of the operators, one file per family. Importing a file registers its readers."""

from __future__ import annotations

import importlib
import pkgutil


def register_all() -> None:
    """Import every file of this folder."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
