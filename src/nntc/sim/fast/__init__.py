"""The fast engine: every command planned once into a call of a compiled kernel, same bits."""

from __future__ import annotations

from collections.abc import Callable

from nntc.isa.forms import Instruction
from nntc.sim.fast import arith, conv, dma, fixed, mm, pool, special
from nntc.sim.fast.context import Context, Step

PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    **conv.PLANNERS,
    **pool.PLANNERS,
    **mm.PLANNERS,
    **arith.PLANNERS,
    **fixed.PLANNERS,
    **special.PLANNERS,
    **dma.PLANNERS,
}


def plan(instruction: Instruction, context: Context) -> Step:
    """The call that executes one instruction on the context's memory."""
    planner = PLANNERS.get(instruction.mnemonic)
    if planner is None:
        return context.reference(instruction)
    return planner(instruction, context)
