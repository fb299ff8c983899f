"""Prices commands with the chip maker's cycle functions; runs in a process of its own.

Usage: judge_cycles.py SHARED_FOLDER < [[engine, command as hex], …] (JSON) > [cycles, …]
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

_SCALAR = {2: 0, 3: 1, 0: 2, 12: 3}
_SPECIAL = {17: 3, 15: 4, 16: 5, 14: 6, 13: 7}


def exported(call: Callable[..., int], f: dict[str, int]) -> int | None:
    """The answer of the function of this operation, where one is known by its arguments."""
    kind, eu, at = f["tsk_typ"], f["tsk_eu_typ"], f["res0_addr"]
    shape = [f[f"res0_{d}"] for d in "nchw"]
    # For a copy the function answers half of what the ruler and this project count.
    if kind == 3 and f["opt_opd0_prec"] in (2, 4) and eu != 19:
        return call("atomic_tensor_arithmetic_get_cycle", *shape, at, eu)
    if kind == 6:
        return call("atomic_table_lookup_get_cycle", *shape, at)
    if kind == 8:
        return call("atomic_md_scalar_get_cycle", *shape, _SCALAR[eu], at)
    if kind == 9:
        return call("atomic_md_sfu_get_cycle", *shape, _SPECIAL[eu], f["opd1_n"], at)
    if kind == 10:
        return call("atomic_md_linear_get_cycle", *shape, at)
    if kind == 13:
        return call("atomic_md_cmp_get_cycle", *shape, 1 if eu == 22 else 2, at)
    if kind == 14:
        return call("atomic_vec_corr_get_cycle", *shape, at, eu)
    return None


def main() -> None:
    path = Path(sys.argv[1]) / "judge" / "timing.py"
    spec = importlib.util.spec_from_file_location("timing", path)
    assert spec
    assert spec.loader
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    found = []
    for engine, text in json.load(sys.stdin):
        data = bytes.fromhex(text)
        if engine == 0:
            fields = judge.isa.unpack(data)
            answer = exported(judge.call, fields)
            found.append(int(judge.tiu(fields)) if answer is None else answer)
        else:
            found.append(int(judge.gdma(judge.F.unpack(judge.F.DMA_FIELDS, data))))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
