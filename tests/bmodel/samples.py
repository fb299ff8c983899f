"""Models made by hand, that use every field of the format."""

from __future__ import annotations

from nntc.bmodel import (
    CHIP,
    BDataType,
    BModel,
    Coeff,
    CommandGroup,
    CpuConst,
    CpuLayer,
    Location,
    MemType,
    Module,
    Net,
    Stage,
    StoreMode,
    SubNet,
    SubNetMode,
    Tensor,
)
from nntc.bmodel.cpu_ops import CpuOp, TopKParam
from nntc.isa.chip import CONTEXT_BASE

CTX = CONTEXT_BASE + 0x1000


def commands(seed: int, count: int) -> bytes:
    """Bytes of *count* commands; this package does not look into them."""
    return bytes((seed + 7 * i) % 256 for i in range(128 * count))


def tensor(name: str, shape: tuple[int, ...], offset: int, **more: object) -> Tensor:
    return Tensor(name, BDataType.FLOAT32, shape, device_addr=CTX + offset, **more)  # type: ignore[arg-type]


def simple_stage(batch: int = 1, seed: int = 0) -> Stage:
    """One TPU subnet of two command groups, with coefficients."""
    x = tensor("x", (batch, 3, 8, 8), 0, hidden=1)
    y = tensor("y", (batch, 10), 0x4000, hidden=2)
    groups = [
        CommandGroup(commands(seed, 3), commands(seed + 1, 4)),
        CommandGroup(commands(seed + 2, 1), commands(seed + 3, 2)),
    ]
    return Stage(
        inputs=[x],
        outputs=[y],
        ctx_addr=CTX,
        ctx_size=0x8000,
        ctx_sizes=(0x8000,),
        coeff=Coeff(
            data=bytes(range(256)) * (seed % 5 + 1), locations=[Location("conv.weight", 0, 128)]
        ),
        subnets=[SubNet(SubNetMode.TPU, groups, inputs=[x], outputs=[y])],
        core_num=1,
    )


def simple_model() -> BModel:
    return BModel(CHIP, [Net("plain", [simple_stage()])])


def cpu_stage() -> Stage:
    """TPU, CPU (TopK with a constant), TPU."""
    x = tensor("x", (4, 3, 8, 8), 0)
    both = MemType.TPU | MemType.CPU
    feature = tensor("feature", (4, 100), 0x2000, mem_type=both)
    values = tensor("values", (4, 5), 0x3000, mem_type=both, cpu_addr=400)
    indices = Tensor(
        "indices",
        BDataType.INT32,
        (4, 5),
        device_addr=CTX + 0x3400,
        mem_type=MemType.CPU,
        cpu_addr=420,
    )
    y = Tensor(
        "y",
        BDataType.INT8,
        (3, 5),
        StoreMode.N4,
        CTX + 0x4000,
        scale=0.1,
        zero_point=-3,
        pad_h=0x20003,
        index=1,
    )
    layer = CpuLayer(
        CpuOp.TOPK, TopKParam(5, 1).pack(), [CpuConst("k", b"\5\0\0\0"), CpuConst("e", b"")]
    )
    return Stage(
        inputs=[x],
        outputs=[indices, y],
        ctx_addr=CTX,
        ctx_size=0x5000,
        coeff=Coeff(data=b"weights" * 100),
        subnets=[
            SubNet(
                SubNetMode.TPU,
                [CommandGroup(commands(9, 2), commands(8, 2))],
                inputs=[x],
                outputs=[feature],
                id=0,
                next_ids=(1,),
            ),
            SubNet(
                SubNetMode.CPU,
                cpu=layer,
                inputs=[feature],
                outputs=[values, indices],
                id=1,
                next_ids=(2,),
            ),
            SubNet(
                SubNetMode.TPU,
                [CommandGroup(b"", commands(9, 2))],
                inputs=[values],
                outputs=[y],
                id=2,
                next_ids=(-1,),
            ),
        ],
        cpu_mem_size=512,
    )


def branch_stage() -> Stage:
    """Switch into two branches and merge."""
    x, condition = tensor("x", (1, 16), 0), tensor("c", (1,), 0x1000)
    a, b, y = (tensor(n, (1, 16), 0x2000 + 0x1000 * i) for i, n in enumerate("aby"))
    group = CommandGroup(commands(1, 1), commands(2, 1))
    return Stage(
        inputs=[x, condition],
        outputs=[y],
        ctx_addr=CTX,
        ctx_size=0x5000,
        subnets=[
            SubNet(
                SubNetMode.SWITCH,
                inputs=[x, condition],
                id=0,
                next_ids=(1, 2),
                switch_from=(0,),
                switch_branch=(1,),
            ),
            SubNet(SubNetMode.TPU, [group], inputs=[x], outputs=[a], id=1, next_ids=(3,)),
            SubNet(SubNetMode.TPU, [group], inputs=[x], outputs=[b], id=2, next_ids=(3,)),
            SubNet(SubNetMode.MERGE, inputs=[a, b], outputs=[y], id=3, merge_from=((0, 1),)),
        ],
    )


def dynamic_stage() -> Stage:
    x, y = tensor("x", (8, 16), 0), tensor("y", (8, 16), 0x1000)
    return Stage(
        inputs=[x],
        outputs=[y],
        ctx_addr=CTX,
        ctx_size=0x2000,
        subnets=[
            SubNet(
                SubNetMode.TPU,
                inputs=[x],
                outputs=[y],
                is_dynamic=True,
                ir_offset=4,
                ir_length=60,
            )
        ],
        is_dynamic=True,
        n_dynamic=True,
        ir=bytes(range(64)),
    )


def full_model() -> BModel:
    """Four nets: two stages, CPU layers, branches, dynamic; modules; every kind of field."""
    return BModel(
        CHIP,
        [
            Net("two stages", [simple_stage(1), simple_stage(4, seed=50)]),
            Net("cpu", [cpu_stage()]),
            Net("branches", [branch_stage()]),
            Net("dynamic", [dynamic_stage()]),
        ],
        time="Sat Jan  2 03:04:05 2021\n",
        version="2.2+test",
        kernel_module=Module("kernel.so", b"\x7fELF kernel"),
        cpuop_module=Module("cpuop.so", b""),
    )
