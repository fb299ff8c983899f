"""The meaning of every instruction in NumPy: clear, slow, sharing nothing with the fast engine."""

from __future__ import annotations

from collections.abc import Callable

from nntc.core.errors import InstructionError
from nntc.isa.forms import Instruction
from nntc.sim.memory import Memory
from nntc.sim.reference import arithmetic, convolution, gdma, matmul, pooling, special
from nntc.sim.reference.address import Access, Log

OPERATIONS: dict[str, Callable[[Instruction, Access], None]] = {
    **convolution.OPERATIONS,
    **pooling.OPERATIONS,
    **matmul.OPERATIONS,
    **arithmetic.OPERATIONS,
    **special.OPERATIONS,
    **gdma.OPERATIONS,
}
"""mnemonic → what the instruction does."""


def execute(instruction: Instruction, memory: Memory, log: Log | None = None) -> None:
    """Run one instruction on *memory*.

    Raises:
        InstructionError: the instruction's form is unknown.
    """
    operation = OPERATIONS.get(instruction.mnemonic)
    if operation is None:
        raise InstructionError(f"{instruction.mnemonic}: this operation is not known")
    operation(instruction, Access(memory, log))
