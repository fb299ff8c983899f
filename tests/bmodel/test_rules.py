"""Each rule of a sound model, broken once; all problems are listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nntc import bmodel
from nntc.bmodel import BModel, Coeff, CommandGroup, Location, Stage, SubNet, SubNetMode
from nntc.core.errors import BModelError
from tests.bmodel.samples import CTX, full_model, simple_stage, tensor

Break = Callable[[BModel], None]


def stage_of(model: BModel, net: int = 0, index: int = 0) -> Stage:
    return model.nets[net].stages[index]


def change(net: int, **values: object) -> Break:
    def apply(model: BModel) -> None:
        for name, value in values.items():
            setattr(stage_of(model, net), name, value)

    return apply


def change_tensor(**values: object) -> Break:
    def apply(model: BModel) -> None:
        for name, value in values.items():
            setattr(stage_of(model).inputs[0], name, value)

    return apply


def change_subnet(net: int, index: int, **values: object) -> Break:
    def apply(model: BModel) -> None:
        for name, value in values.items():
            setattr(stage_of(model, net).subnets[index], name, value)

    return apply


def change_model(**values: object) -> Break:
    def apply(model: BModel) -> None:
        for name, value in values.items():
            setattr(model, name, value)

    return apply


def twice(model: BModel) -> None:
    model.nets.append(model.nets[0])


def rename_second_stage(model: BModel) -> None:
    stage_of(model, 0, 1).outputs[0].name = "z"


MANY = bytes(128 * 65536)
CASES: dict[str, tuple[Break, str]] = {
    "chip": (change_model(chip="BM1684X"), "chip 'BM1684X': only BM1684"),
    "no net": (change_model(nets=[]), "the model has no net"),
    "zero byte": (change_model(time="a\0b"), "time holds a zero byte"),
    "same net": (twice, "net name 'two stages' is there 2 times"),
    "no stage": (lambda m: setattr(m.nets[0], "stages", []), "net 'two stages': has no stage"),
    "stages differ": (rename_second_stage, "stage 1: tensor names, types or dynamic flag differ"),
    "no subnet": (change(0, subnets=[]), "net 'two stages' stage 0: has no subnet"),
    "no output": (change(0, outputs=[]), "has no output"),
    "no name": (change_tensor(name=""), "stage 0: input has no name"),
    "context": (change(0, ctx_addr=2**40 - 4096), "context 0xfffffff000..0x10000007000 is not"),
    "context low": (change(3, ctx_addr=0x1000), "context 0x1000..0x3000 is not within"),
    "outside": (change_tensor(device_addr=CTX + 0x7FFC), "768 bytes at 0x105108ffc are not within"),
    "too many dims": (change_tensor(shape=(1,) * 9), r"shape \[1, 1.*\]: at most 8 dimensions"),
    "huge dim": (change_tensor(shape=(2**31,)), "of 0..2147483647"),
    "scale": (change_tensor(scale=float("nan")), "scale nan is not finite"),
    "host buffer": (change(1, cpu_mem_size=419), "20 elements at 420 of the host buffer of 419"),
    "coeff address": (change(0, coeff=Coeff(0x1000, b"abc")), "coefficients 0x1000.0x3 are not"),
    "check code": (
        change(0, coeff=Coeff(data=b"abc", check_code=b"\1" * 32)),
        "check_code 0101.* is not the SHA-256 of the 3 bytes",
    ),
    "location": (
        change(0, coeff=Coeff(data=b"abc", locations=[Location("w", 1, 3)])),
        "coefficient 'w' 1.3 leaves the 3 bytes",
    ),
    "ids": (change_subnet(1, 2, id=-1), r"subnet ids \[0, 1, -1\] are neither"),
    "next": (change_subnet(1, 0, next_ids=(3,)), "subnet 0: next subnet 3 is none of 3"),
    "circle": (change_subnet(1, 2, next_ids=(1,)), r"subnets \[1, 2\] follow one another"),
    "no layer": (change_subnet(1, 1, cpu=None), "subnet 1: runs on the CPU, but has no CPU layer"),
    "nowhere": (
        change_subnet(1, 2, inputs=[tensor("ghost", (4,), 0)]),
        "subnet 2: input 'ghost' comes from nowhere",
    ),
    "switch": (change_subnet(2, 0, next_ids=(1,)), "2 inputs and 1 next subnets"),
    "merge": (
        change_subnet(2, 3, merge_from=((0, 2),)),
        "merge lists 1 choices, of inputs up",
    ),
    "ir": (change_subnet(3, 0, ir_offset=5), "IR 5.60 of 64 bytes"),
    "part of a command": (
        change_subnet(0, 0, groups=[CommandGroup(b"", b"x" * 129)]),
        "command group 0: 129 bytes of GDMA commands",
    ),
    "too many commands": (
        change_subnet(0, 0, groups=[CommandGroup(MANY, b"")]),
        "65536 TIU commands, at most 65535",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_broken_rule(name: str) -> None:
    apply, message = CASES[name]
    model = full_model()
    apply(model)
    with pytest.raises(BModelError, match=message) as err:
        bmodel.encode(model)
    assert all("\n" not in line for line in err.value.problems)


def test_all_problems_at_once() -> None:
    model = full_model()
    for name in ("same net", "scale", "circle", "ir"):
        CASES[name][0](model)
    with pytest.raises(BModelError) as err:
        bmodel.encode(model)
    text = "\n".join(err.value.problems)
    for word in ("2 times", "scale nan", "follow one another", "IR 5+60"):
        assert word in text


def test_sound_models_have_no_problem() -> None:
    """A coefficient may be a CPU layer's input; ids may all be absent."""
    model = full_model()
    stage = simple_stage()
    constant = tensor("w", (4,), -0x1000)
    y = stage.outputs[0]
    stage.subnets.append(SubNet(SubNetMode.TPU, [], inputs=[constant, y], outputs=[y]))
    model.nets[0].stages = [stage]
    bmodel.encode(model)
