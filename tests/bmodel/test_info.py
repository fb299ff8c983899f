"""The text of ``tpu_model --info``."""

from __future__ import annotations

from nntc.bmodel import info, memory_use
from tests.bmodel.samples import full_model, simple_model


def test_text_of_a_simple_model() -> None:
    assert info(simple_model()) == (
        "bmodel version: B.2.2\n"
        "chip: BM1684\n"
        "create time: Thu Jan  1 00:00:00 1970\n"
        "\n"
        "kernel_module: not found!\n"
        "cpuop_module: not found!\n"
        "==========================================\n"
        "net 0: [plain]  static\n"
        "------------\n"
        "stage 0, core num: 1\n"
        "input: x, [1, 3, 8, 8], float32, scale: 1, zero point: 0\n"
        "output: y, [1, 10], float32, scale: 1, zero point: 0\n"
        "\n"
        "\n"
        "device mem size: 35072 (weight: 256, instruct: 1280, runtime: 33536)\n"
        "host mem size: 0 (weight: 0, runtime: 0)\n"
    )


def test_other_lines() -> None:
    model = full_model()
    model.device_num = 2
    model.nets[0].addr_mode = 1
    lines = info(model).splitlines()
    for line in (
        "bmodel version: B.2.2+test",
        "chip: BM1684,  device num: 2",
        "kernel_module name: kernel.so",
        "kernel_module size: 11",
        "cpuop_module md5: d41d8cd98f00b204e9800998ecf8427e",
        "net 0: [two stages]  static",
        "addr mode: 1",
        "stage 1, core num: 1",
        "subnet number: 3",
        "output: y, [3, 5], int8, scale: 0.1, zero point: -3",
        "net 3: [dynamic]  dynamic",
        "input: x, [max:8, max:16], float32, scale: 1, zero point: 0",
        "output: y, [8, 16], float32, scale: 1, zero point: 0",
        "host mem size: 2052 (weight: 4, runtime: 2048)",
    ):
        assert line in lines


def test_memory_of_several_nets() -> None:
    """Coefficients count once when equal; nets of one subnet share a context."""
    use = memory_use(full_model())
    assert use.weight == 256 + 700
    assert use.instruct == 128 * (10 + 10 + 6 + 4) + 4 * 60
    largest = 4 * 3 * 8 * 8 * 4
    assert use.runtime == 0x8000 + 0x5000 + 0x5000 + largest
    assert use.device == use.weight + use.instruct + use.runtime
