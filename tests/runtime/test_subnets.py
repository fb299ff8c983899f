"""Subnets: order, branches, CPU layers, and where values lie."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nntc.bmodel import (
    BDataType,
    Coeff,
    CpuLayer,
    StoreMode,
    SubNet,
    SubNetMode,
)
from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.errors import BModelError, DeviceError, UserError
from nntc.isa.chip import CONTEXT_BASE
from nntc.runtime import Engine
from tests.runtime.fake import PAGE, FakeDevice, elementwise, f32, model, put, tensor, tpu

X = np.array([[3.0, -1.0, 7.0, 5.0]], np.float32)


def test_two_tpu_subnets_run_in_order() -> None:
    a, b, c = tensor("a", 0), tensor("b", 1), tensor("c", 2)
    device = FakeDevice({0: elementwise(a, b, lambda x: x + 1), 1: elementwise(b, c, np.square)})
    engine = Engine(model([a], [c], [tpu([a], [b]), tpu([b], [c])]), device)
    np.testing.assert_array_equal(engine(X)["c"], (X + 1) ** 2)
    assert device.ran == [0, 1]


def test_ids_and_successors_rule_the_order() -> None:
    a, b, c = tensor("a", 0), tensor("b", 1), tensor("c", 2)
    device = FakeDevice({0: elementwise(a, b, lambda x: x + 1), 1: elementwise(b, c, np.square)})
    subnets = [tpu([a], [b], id=0, next_ids=(1,)), tpu([b], [c], id=1, next_ids=(-1,))]
    engine = Engine(model([a], [c], subnets), device)
    np.testing.assert_array_equal(engine(X)["c"], (X + 1) ** 2)


def test_a_circle_of_subnets_is_refused() -> None:
    a, b = tensor("a", 0), tensor("b", 1)
    device = FakeDevice({0: elementwise(a, b, np.abs)})
    engine = Engine(model([a], [b], [tpu([a], [b], id=0, next_ids=(0,))]), device)
    with pytest.raises(BModelError, match="circle"):
        engine(X)


def topk(x: object, values: object, indices: object) -> SubNet:
    """The CPU layer TOPK with k = 2 on the last axis."""
    param = bytes.fromhex("020000000100000001010000")
    return SubNet(
        SubNetMode.CPU,
        cpu=CpuLayer(CpuOp.TOPK, param),
        inputs=[x],  # type: ignore[list-item]
        outputs=[values, indices],  # type: ignore[list-item]
    )


def test_tpu_cpu_tpu_chain() -> None:
    a, b = tensor("a", 0), tensor("b", 1)
    top, index = tensor("top", 2, (1, 2)), tensor("index", 3, (1, 2), dtype=BDataType.INT32)
    out = tensor("out", 4, (1, 2))
    device = FakeDevice(
        {0: elementwise(a, b, np.negative), 2: elementwise(top, out, lambda x: x * 10)}
    )
    subnets = [tpu([a], [b]), topk(b, top, index), tpu([top], [out])]
    engine = Engine(model([a], [out, index], subnets), device)
    result = engine(X)
    np.testing.assert_array_equal(result["out"], [[10.0, -30.0]])
    assert result["index"].tolist() == [[1, 0]]
    assert result["index"].dtype == np.int32


def test_cpu_layers_refuse_narrow_tensors() -> None:
    a = tensor("a", 0, dtype=BDataType.INT8)
    top, index = tensor("top", 2, (1, 2)), tensor("index", 3, (1, 2), dtype=BDataType.INT32)
    engine = Engine(model([a], [top], [topk(a, top, index)]), FakeDevice({}))
    with pytest.raises(BModelError, match=r"tensor a of a CPU layer is int8"):
        engine(X.astype(np.int8))


def test_an_unknown_cpu_layer_is_named() -> None:
    a, b = tensor("a", 0), tensor("b", 1)
    layer = SubNet(SubNetMode.CPU, cpu=CpuLayer(4321), inputs=[a], outputs=[b])
    with pytest.raises(UserError, match="4321"):
        Engine(model([a], [b], [layer]), FakeDevice({}))(X)


@pytest.mark.parametrize(("condition", "factor"), [(0.0, 2), (1.0, 3)])
def test_switch_and_merge(condition: float, factor: int) -> None:
    a, cond = tensor("a", 0), tensor("cond", 1, (1,))
    twice, thrice, out = tensor("twice", 2), tensor("thrice", 3), tensor("out", 4)
    subnets = [
        SubNet(SubNetMode.SWITCH, inputs=[a, cond], id=0, next_ids=(1, 2)),
        tpu([a], [twice], id=1, next_ids=(3,)),
        tpu([a], [thrice], id=2, next_ids=(3,)),
        SubNet(
            SubNetMode.MERGE,
            inputs=[twice, thrice],
            outputs=[out],
            merge_from=((0, 1),),
            id=3,
            next_ids=(-1,),
        ),
    ]
    device = FakeDevice(
        {1: elementwise(a, twice, lambda x: 2 * x), 2: elementwise(a, thrice, lambda x: 3 * x)}
    )
    engine = Engine(model([a, cond], [out], subnets), device)
    result = engine([X, np.array([condition], np.float32)])
    np.testing.assert_array_equal(result["out"], factor * X)


def test_a_tensor_that_nothing_wrote_is_named() -> None:
    a, b, lost = tensor("a", 0), tensor("b", 1), tensor("lost", 2)
    engine = Engine(model([a], [b], [tpu([lost], [b])]), FakeDevice({}))
    with pytest.raises(BModelError, match="tensor lost, which nothing wrote"):
        engine(X)


def test_a_cpu_layer_reads_coefficients() -> None:
    weights = np.array([[1, 9, 4, 2]], np.float32)
    fixed = tensor("fixed", 0)
    top, index = tensor("top", 2, (1, 2)), tensor("index", 3, (1, 2), dtype=BDataType.INT32)
    a = tensor("a", 4)
    net = model([a], [top], [topk(fixed, top, index)])
    stage = net.nets[0].stages[0]
    stage.coeff = Coeff(CONTEXT_BASE, weights.tobytes())
    stage.ctx_addr = CONTEXT_BASE + PAGE
    np.testing.assert_array_equal(Engine(net, FakeDevice({}))(X)["top"], [[9, 4]])


@pytest.mark.parametrize("batch", [1, 3, 4, 5])
def test_interleaved_storage_goes_in_and_out(batch: int) -> None:
    fields = {"dtype": BDataType.INT8, "store_mode": StoreMode.N4}
    shape = (batch, 2, 3)
    a, b = tensor("a", 0, shape, **fields), tensor("b", 1, shape, **fields)
    seen: list[np.ndarray] = []

    def action(context: object) -> None:
        seen.append(context.read(a.device_addr, a.stored_bytes))  # type: ignore[attr-defined]
        elementwise(a, b, np.negative)(context)  # type: ignore[arg-type]

    x = np.arange(batch * 6, dtype=np.int8).reshape(shape)
    engine = Engine(model([a], [b], [tpu([a], [b])]), FakeDevice({0: action}))
    np.testing.assert_array_equal(engine(x)["b"], -x)
    # Element (n, c, w) lies at ((n/4 * 6 + c*3 + w) * 4 + n%4.
    stored = seen[0].view(np.int8)
    assert stored.size == -(-batch // 4) * 24
    for n in range(batch):
        for rest in range(6):
            assert stored[(n // 4 * 6 + rest) * 4 + n % 4] == x.reshape(batch, 6)[n, rest]


def test_rows_of_zeros_around_an_input() -> None:
    a, b = tensor("a", 0, (1, 1, 2, 2), pad_h=1 << 16 | 2), tensor("b", 1, (1, 1, 5, 2))
    whole = tensor("a", 0, (1, 1, 5, 2))
    device = FakeDevice({0: lambda context: put(context, b, f32(context, whole))})
    x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    result = Engine(model([a], [b], [tpu([a], [b])]), device)(x)["b"]
    assert result[0, 0].tolist() == [[0, 0], [1, 2], [3, 4], [0, 0], [0, 0]]


def test_contexts_are_reused_and_limited() -> None:
    a, b = tensor("a", 0), tensor("b", 1)
    running, most = [0], [0]
    lock, gate = threading.Lock(), threading.Event()

    def action(context: object) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        gate.wait(0.02)
        elementwise(a, b, lambda x: x + 1)(context)  # type: ignore[arg-type]
        with lock:
            running[0] -= 1

    device = FakeDevice({0: action}, contexts=2)
    engine = Engine(model([a], [b], [tpu([a], [b])]), device)
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        for _ in range(5):
            results[number] = engine(X + number)["b"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in results.items():
        np.testing.assert_array_equal(result, X + number + 1)
    assert len(results) == 8
    assert device.made == most[0] == 2


def test_a_failed_run_does_not_leave_its_memory_to_the_next() -> None:
    a, b = tensor("a", 0), tensor("b", 1)

    def action(context: object) -> None:
        raise DeviceError("broken")

    device = FakeDevice({0: action})
    engine = Engine(model([a], [b], [tpu([a], [b])]), device)
    for _ in range(2):
        with pytest.raises(DeviceError, match="broken"):
            engine(X)
    assert device.made == 2


def test_bad_stages_are_refused_before_anything_is_allocated() -> None:
    a, far = tensor("a", 0), tensor("far", 100)
    net = model([a], [far], [tpu([a], [far])])
    net.nets[0].stages[0].is_dynamic = True
    device = FakeDevice({})
    with pytest.raises(BModelError) as caught:
        Engine(net, device)(X)
    text = str(caught.value)
    assert "is dynamic" in text
    assert "tensor far" in text
    assert device.made == 0
    net = model([a], [a], [])
    net.nets[0].stages[0].ctx_size = 1 << 50
    with pytest.raises(BModelError, match=r"no subnet\n.*1125899906842624 bytes"):
        Engine(net, device)(X)


def test_a_closed_engine_refuses() -> None:
    a, b = tensor("a", 0), tensor("b", 1)
    device = FakeDevice({0: elementwise(a, b, np.abs)})
    with Engine(model([a], [b], [tpu([a], [b])]), device) as engine:
        engine(X)
    with pytest.raises(DeviceError, match="closed"):
        engine(X)
