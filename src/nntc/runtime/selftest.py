"""A BModel so small that it shows at once whether a device works: ``sum = a + b``.

Its commands are written by hand as text; the compiler has no part in it.
"""

from __future__ import annotations

import numpy as np

from nntc.bmodel import BDataType, BModel, CommandGroup, Net, Stage, SubNet, SubNetMode, Tensor
from nntc.core.errors import DeviceError
from nntc.isa import Engine
from nntc.isa.chip import CONTEXT_BASE
from nntc.isa.layout import align_up
from nntc.isa.text import parse_stream
from nntc.runtime.device import Device

PAGE = 4096
SHAPE = (1, 3, 4, 5)


def assemble(text: str) -> CommandGroup:
    """A command group from its listing."""
    streams: dict[Engine, list[bytes]] = {engine: [] for engine in Engine}
    for instruction in parse_stream(text):
        streams[instruction.engine].append(instruction.encode())
    return CommandGroup(b"".join(streams[Engine.TIU]), b"".join(streams[Engine.GDMA]))


def add_stage(shape: tuple[int, int, int, int] = SHAPE) -> Stage:
    """``sum = a + b`` in fp32, for at most 64 channels."""
    n, c, h, w = shape
    slot = align_up(h * w, 32)
    system, local = f"({c * h * w},{h * w},{w},1)", f"({slot},{slot},{w},1)"
    box = f"[{n},{c},{h},{w}]"
    page = align_up(n * c * h * w * 4, PAGE)
    a, b, total = (CONTEXT_BASE + index * page for index in range(3))
    group = assemble(f"""
        copy.s2l #1 dst=L0:0x0{box}{local} src=@{a:#x}{box}{system}
        copy.s2l #2 dst=L0:0x10000{box}{local} src=@{b:#x}{box}{system}
        scalar.add #1 <g2 res0=L0:0x20000{box} opd0=L0:0x0 opd1=L0:0x10000
        copy.l2s #3 <t1 dst=@{total:#x}{box}{system} src=L0:0x20000{box}{local}
    """)
    tensors = [
        Tensor(name, BDataType.FLOAT32, shape, device_addr=address)
        for name, address in (("a", a), ("b", b), ("sum", total))
    ]
    subnet = SubNet(SubNetMode.TPU, [group], inputs=tensors[:2], outputs=tensors[2:])
    return Stage(
        tensors[:2], tensors[2:], ctx_addr=CONTEXT_BASE, ctx_size=3 * page, subnets=[subnet]
    )


def add_model(*shapes: tuple[int, int, int, int]) -> BModel:
    """A net with one stage of :func:`add_stage` for each shape."""
    return BModel("BM1684", [Net("add", [add_stage(shape) for shape in shapes or (SHAPE,)])])


def try_device(device: Device) -> None:
    """Run the net on a device.

    Raises:
        DeviceError: the sum is wrong, or the device fails.
    """
    generator = np.random.default_rng(1)
    a, b = (generator.standard_normal(SHAPE).astype(np.float32) for _ in range(2))
    session = device.load(add_model())
    try:
        (total,) = session.launch(0, 0, [a, b])
    finally:
        session.close()
    if not np.array_equal(total, a + b):
        raise DeviceError(f"device {device.name}: a sum of two tensors comes out wrong")
