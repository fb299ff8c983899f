"""The BM1684 as data: constants, memory layouts, command fields and instruction forms."""

from nntc.isa import gdma, tiu
from nntc.isa.chip import Direction, Engine, Fmt, Prec
from nntc.isa.forms import Form, FormTable, Instruction

TABLES: dict[Engine, FormTable] = {Engine.TIU: tiu.FORMS, Engine.GDMA: gdma.FORMS}
"""The forms of each engine."""


def decode(engine: Engine, data: bytes) -> Instruction:
    """An instruction from its 128 bytes."""
    return TABLES[engine].decode(data)


def form(mnemonic: str) -> Form:
    """The form of that name, of either engine."""
    for table in TABLES.values():
        if mnemonic in table.by_name:
            return table.by_name[mnemonic]
    raise KeyError(mnemonic)


__all__ = [
    "TABLES",
    "Direction",
    "Engine",
    "Fmt",
    "Form",
    "FormTable",
    "Instruction",
    "Prec",
    "decode",
    "form",
]
