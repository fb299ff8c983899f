"""Recorded commands: every golden vector decodes to the form that its file is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nntc.isa import Engine, Instruction, decode
from nntc.isa.text import parse_instruction, print_instruction

_FAMILIES = {
    "conv": "conv",
    "dw": "depthwise",
    "avg": "depthwise",
    "max": "maxpool",
    "mm": "matmul",
    "mmt": "matmul",
    "wino": "wino",
}
_RULES = (
    (r"(conv|dw|avg|max|mm|mmt|wino)_(f32|i8)", lambda m: f"{_FAMILIES[m[1]]}.{m[2]}"),
    (r"ar_fix_shift16", lambda m: "ar.shift.fix"),
    (r"ar_fix_(\w+)", lambda m: f"ar.{m[1]}.fix"),
    (r"ar_fp32_(\w+?)(_hwshift)?", lambda m: f"ar.{m[1]}.f32"),
    (r"ar_int32_fill", lambda m: "ar.or.i32"),
    (r"ar_int32_(\w+)", lambda m: f"ar.{m[1]}.i32"),
    (r"lut_index(8|32)", lambda m: f"lut.i{m[1]}"),
    (r"mdcmp_cmp", lambda m: "compare.max_only"),
    (r"mdcmp_select", lambda m: "compare.select"),
    (r"mdcmp_cmp_select", lambda m: "compare.max_select"),
    (r"mdlinear_(add|sub)_sqr", lambda m: f"linear.{m[1]}_square"),
    (r"mdlinear_mac", lambda m: "linear.mac"),
    (r"mdscalar_(\w+)", lambda m: f"scalar.{m[1]}"),
    (r"mdsfu_f2i", lambda m: "sfu.f32_to_i32"),
    (r"mdsfu_(\w+)", lambda m: f"sfu.{m[1]}"),
    (r"vc_(and|or|xor)", lambda m: f"vector.{m[1]}.i32"),
    (r"vc_(\w+)", lambda m: f"vector.{m[1]}.f32"),
    (r"gdma_(acc|mask|shift)", lambda m: "copy.*"),
    (r"gdma_common_mode", lambda m: "linear.s2s"),
    (r"gdma_convert_(\w{3})_.*", lambda m: f"convert.{m[1]}"),
    (r"gdma_cwtrans_l2l_\d+", lambda m: "transpose_cw.l2l"),
    (r"gdma_fill_(local|system)_\d+", lambda m: f"fill.{m[1]}"),
    (r"gdma_matrix_acc_(\w{3})", lambda m: f"matrix.{m[1]}"),
    (r"gdma_matrix_(\w{3})_\d+_tr0", lambda m: f"matrix.{m[1]}"),
    (r"gdma_matrix_(\w{3})_\d+_tr1", lambda m: f"matrix_t.{m[1]}"),
    (r"gdma_(\w{3})_\d+_copy_.*", lambda m: f"copy.{m[1]}"),
    (r"gdma_(\w{3})_\d+_nctrans_.*", lambda m: f"transpose_nc.{m[1]}"),
)


def expected_form(name: str) -> str:
    """The mnemonic that a vector file's name stands for."""
    for pattern, mnemonic in _RULES:
        if match := re.fullmatch(pattern, name):
            return mnemonic(match)
    raise AssertionError(f"{name}: no rule")


def recorded(folder: Path) -> Iterator[tuple[str, Instruction, bytes]]:
    for path in sorted(folder.glob("isa/part*/vectors/*.npz")):
        with np.load(path) as z:
            engines = z["engine"] if "engine" in z.files else np.zeros(len(z["cmd"]), np.uint8)
            for engine, command in zip(engines, z["cmd"], strict=True):
                data = command.tobytes()
                yield path.stem, decode(Engine(int(engine)), data), data


def test_every_vector_decodes_to_its_form(shared_dir: Path) -> None:
    wrong: set[tuple[str, str]] = set()
    count = 0
    for name, found, _ in recorded(shared_dir):
        wanted = expected_form(name)
        same = (
            found.mnemonic.startswith(wanted[:-1])
            if wanted.endswith("*")
            else (found.mnemonic == wanted)
        )
        if not same:
            wrong.add((name, found.mnemonic))
        count += 1
    assert not wrong
    assert count > 3000


def test_every_vector_prints_and_parses(shared_dir: Path) -> None:
    for name, found, data in recorded(shared_dir):
        assert parse_instruction(print_instruction(found)).encode() == data, name
