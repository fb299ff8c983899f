"""The simulator: what every instruction does, to the bit, and the two engines that run them.

>>> memory = Memory()
>>> _ = memory.map(0x1_0510_0000, 4096)
>>> Simulator(memory).run(Program([(b"", b"")]))
"""

from nntc.sim.machine import ENGINES, Simulator
from nntc.sim.memory import Memory, Segment
from nntc.sim.program import ORDERS, Command, Group, Program

__all__ = ["ENGINES", "ORDERS", "Command", "Group", "Memory", "Program", "Segment", "Simulator"]
