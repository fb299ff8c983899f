"""The simulator as a device."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from nntc.bmodel import BDataType, BModel, Coeff, Net, Stage, SubNet, SubNetMode, Tensor
from nntc.core.errors import BModelError, InstructionError, UserError
from nntc.isa.chip import CONTEXT_BASE
from nntc.runtime import Engine, open_device
from nntc.runtime.selftest import PAGE, SHAPE, add_model, add_stage, assemble, try_device

LARGE = (2, 64, 3, 7)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_sum(engine: str) -> None:
    try_device(open_device("simulator", engine=engine))


def test_two_nets_and_two_stages_from_many_threads() -> None:
    model = add_model(SHAPE, LARGE)
    model.nets.append(dataclasses.replace(model.nets[0], name="again"))
    failures: list[object] = []
    with Engine(model, contexts=2) as engine:

        def work(seed: int) -> None:
            generator = np.random.default_rng(seed)
            for turn in range(10):
                shape = (SHAPE, LARGE)[(seed + turn) % 2]
                net = engine.net(("add", "again")[turn % 2])
                a, b = (generator.standard_normal(shape).astype(np.float32) for _ in range(2))
                if not np.array_equal(net(a=a, b=b)["sum"], a + b):
                    failures.append((seed, turn))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def weights_stage(blob: bytes, check_code: bytes = b"", write_back: bool = False) -> Stage:
    """``y = x + w`` with w in coefficient memory."""
    x, y = CONTEXT_BASE + PAGE, CONTEXT_BASE + 2 * PAGE
    box, row, lane = "[1,3,4,5]", "(60,20,5,1)", "(32,32,5,1)"
    target = CONTEXT_BASE if write_back else y
    group = assemble(f"""
        copy.s2l #1 dst=L0:0x0{box}{lane} src=@{x:#x}{box}{row}
        copy.s2l #2 dst=L0:0x10000{box}{lane} src=@{CONTEXT_BASE:#x}{box}{row}
        scalar.add #1 <g2 res0=L0:0x20000{box} opd0=L0:0x0 opd1=L0:0x10000
        copy.l2s #3 <t1 dst=@{target:#x}{box}{row} src=L0:0x20000{box}{lane}
    """)
    tensors = [
        Tensor(name, BDataType.FLOAT32, SHAPE, device_addr=address)
        for name, address in (("x", x), ("y", y))
    ]
    subnet = SubNet(SubNetMode.TPU, [group], inputs=tensors[:1], outputs=tensors[1:])
    return Stage(
        *(tensors[:1], tensors[1:]),
        ctx_addr=CONTEXT_BASE + PAGE,
        ctx_size=2 * PAGE,
        coeff=Coeff(CONTEXT_BASE, blob, check_code),
        subnets=[subnet],
    )


W1, W2 = (np.full(SHAPE, value, np.float32) for value in (1, 2))


def nets(*stages: Stage) -> BModel:
    return BModel("BM1684", [Net(f"net{index}", [stage]) for index, stage in enumerate(stages)])


def test_coefficients_of_each_net() -> None:
    engine = Engine(nets(*(weights_stage(w.tobytes()) for w in (W1, W2, W1))))
    for name, expected in (("net0", W1), ("net1", W2), ("net2", W1)):
        np.testing.assert_array_equal(engine.net(name)(W1)["y"], W1 + expected)


def test_one_check_code_for_two_blobs_is_refused() -> None:
    engine = Engine(nets(*(weights_stage(w.tobytes(), b"c" * 32) for w in (W1, W2))))
    engine.net("net0")(W1)
    with pytest.raises(BModelError, match="carry one check code"):
        engine.net("net1")(W1)


def test_a_command_that_writes_coefficients_is_refused() -> None:
    engine = Engine(nets(weights_stage(W1.tobytes(), write_back=True)))
    with pytest.raises(InstructionError, match=r"copy\.l2s"):
        engine(W1)


def test_addresses_outside_of_the_stage_are_refused() -> None:
    stage = add_stage()
    stage.subnets[0].groups = [
        assemble("copy.s2l #1 dst=L0:0x0[1,3,4,5](32,32,5,1) src=@0x200000000[1,3,4,5](60,20,5,1)")
    ]
    with pytest.raises(InstructionError, match=r"copy\.s2l"):
        Engine(nets(stage))(a=W1, b=W1)


def test_options() -> None:
    with pytest.raises(UserError, match="engine 'quick' is unknown"):
        open_device("simulator", engine="quick")
    with pytest.raises(UserError, match="contexts = 0"):
        open_device("simulator", contexts=0)
    device = open_device("simulator", engine="reference")
    with pytest.raises(UserError, match="options go with the name"):
        Engine(add_model(), device, engine="fast")
    assert repr(Engine(add_model(), device)) == "Engine(add)"
