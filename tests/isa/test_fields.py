"""Command layouts: every bit owned once, packing loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nntc.core.errors import InstructionError
from nntc.isa.fields import COMMAND_BITS, GDMA, TIU, CommandLayout

LAYOUTS = [TIU, GDMA]
COMMANDS = st.binary(min_size=128, max_size=128)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
def test_every_bit_belongs_to_exactly_one_field(layout: CommandLayout) -> None:
    owners = [0] * COMMAND_BITS
    for field in layout.fields:
        for bit in range(field.low, field.low + field.width):
            owners[bit] += 1
    assert owners == [1] * COMMAND_BITS
    assert len(layout.by_name) == len(layout.fields)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
@given(data=COMMANDS)
def test_any_command_survives_unpack_and_pack(layout: CommandLayout, data: bytes) -> None:
    assert layout.pack(layout.unpack(data)) == data


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
@given(commands=st.lists(COMMANDS, max_size=4))
def test_streams_unpack_like_single_commands(layout: CommandLayout, commands: list[bytes]) -> None:
    assert layout.unpack_stream(b"".join(commands)) == [layout.unpack(c) for c in commands]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
def test_each_field_reaches_its_own_bits_and_both_ends(layout: CommandLayout) -> None:
    for field in layout.fields:
        for value in (field.minimum, field.maximum):
            data = layout.pack({field.name: value})
            assert layout.unpack(data)[field.name] == value
            outside = int.from_bytes(data, "little") & ~(field.mask << field.low)
            assert outside == 0


def test_pack_lists_every_bad_value() -> None:
    with pytest.raises(InstructionError) as caught:
        TIU.pack({"res0_c": 4096, "opd0_n_str": -1, "opd0_h_str": 1 << 31, "colour": 1})
    assert caught.value.problems == [
        "TIU command: res0_c = 4096 does not fit 0..4095 (12 bits)",
        "TIU command: opd0_n_str = -1 does not fit 0..524287 (19 bits)",
        "TIU command: opd0_h_str = 2147483648 does not fit -2147483648..2147483647 (32 bits)",
        "TIU command: unknown field colour",
    ]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(InstructionError, match="GDMA command: 127 bytes, a command has 128"):
        GDMA.unpack(bytes(127))
    with pytest.raises(InstructionError, match="TIU stream: 200 bytes is no multiple of 128"):
        TIU.unpack_stream(bytes(200))
