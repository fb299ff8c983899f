"""Containers: damaged files, external data, formats of tensors, sizes."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from nntc.core.errors import ModelError, UnsupportedError, UserError
from nntc.frontends.onnx import load
from tests.frontends.models import convolutional, info, model, node, rng_array


def test_a_path_bytes_or_a_message(tmp_path: Path) -> None:
    proto = convolutional()
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    sizes = {len(load(s).nodes) for s in (path, str(path), path.read_bytes(), proto)}
    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"not a model at all, just text", "not an ONNX model"),
        (b"\x08\x07", "holds no graph"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=words) as err:
        load(path)
    assert len(err.value.problems) == 1
    assert str(path) in str(err.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load(path)


def test_nan_weights_are_named() -> None:
    weights = {"w": np.array([1, np.nan], np.float32), "v": np.array([np.inf, 1], np.float32)}
    nodes = [node("Add", ["x", "w"], ["a"]), node("Add", ["a", "v"], ["y"])]
    with pytest.raises(ModelError) as err:
        load(model(nodes, {"x": [2]}, ["y"], weights))
    assert err.value.problems == [
        "model: tensor 'w' holds NaN in 1 of 2 elements, every result that uses it would be NaN; "
        "repair or export the model again"
    ]


# -- external data ------------------------------------------------------------------------------


def with_external(folder: Path, location: str = "weights.bin", **changes: str) -> Path:
    w = rng_array(2, 3)
    (folder / "weights.bin").write_bytes(b"\0" * 16 + w.tobytes())
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 2]}, ["y"], {"w": w})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": "16", "length": "24", **changes}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data(tmp_path: Path) -> None:
    graph = load(with_external(tmp_path))
    np.testing.assert_array_equal(graph.constants()[0].data, rng_array(2, 3))


def test_external_data_as_the_onnx_package_writes_it(tmp_path: Path) -> None:
    proto = convolutional()
    path = tmp_path / "net.onnx"
    onnx.save_model(proto, str(path), save_as_external_data=True, size_threshold=0)
    assert len(load(path).nodes) == len(load(convolutional()).nodes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"location": "missing.bin"}, "No such file"),
        ({"location": "../weights.bin"}, "not inside"),
        ({"location": "/etc/passwd"}, "not inside"),
        ({"location": "..\\weights.bin"}, "not inside"),
        ({"location": ""}, "not inside"),
        ({"location": "sub/../../net.onnx"}, "not inside"),
        ({"length": "20"}, "needs 24 bytes"),
        ({"offset": "-8"}, "which has 40"),
        ({"offset": "32"}, "which has 40"),
        ({"offset": "99999999999999999999"}, "which has 40"),
        ({"offset": "many"}, "not a number"),
    ],
)
def test_bad_external_data_is_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0" * 40)
    path = with_external(folder, **changes)
    with pytest.raises(UserError, match=words) as err:
        load(path)
    assert "tensor 'w'" in str(err.value)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 40)
    path = with_external(folder, location="link.bin")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="not inside"):
        load(path)


def test_external_data_needs_a_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give the model as a path"):
        load(with_external(tmp_path).read_bytes())


# -- tensors ------------------------------------------------------------------------------------

VALUES = np.array([0.0, 1.0, -2.5, 1.5, -0.5, 6.0], np.float32)
INTS = np.array([0, 1, -2, 7, -8, 3])


def loaded(tensor: TensorProto) -> np.ndarray:
    tensor.name = "w"
    proto = model(
        [node("Identity", ["w"], ["y"]), node("Relu", ["x"], ["z"])], {"x": [1]}, ["y", "z"]
    )
    proto.graph.initializer.append(tensor)
    data = load(proto).outputs[0].data
    assert data is not None
    return data


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.FLOAT8E4M3FN,
        TensorProto.FLOAT8E4M3FNUZ,
        TensorProto.FLOAT8E5M2,
        TensorProto.FLOAT8E5M2FNUZ,
        TensorProto.FLOAT4E2M1,
    ],
)
def test_float_formats(kind: int, raw: bool) -> None:
    values = VALUES[[0, 1, 3, 4]] if kind == TensorProto.FLOAT4E2M1 else VALUES
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if raw:
        tensor = numpy_helper.from_array(values.astype(dtype))
        assert tensor.raw_data
    else:
        tensor = helper.make_tensor("w", kind, values.shape, values.tolist())
        assert not tensor.raw_data
    data = loaded(tensor)
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, values)


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2]
)
def test_every_code_of_small_floats(kind: int) -> None:
    codes = np.arange(256, dtype=np.uint8)
    wanted = codes.view(helper.tensor_dtype_to_np_dtype(kind)).astype(np.float32)
    # NaN codes are refused in weights.
    keep = ~np.isnan(wanted)
    tensor = TensorProto(data_type=kind, dims=[int(keep.sum())], raw_data=codes[keep].tobytes())
    np.testing.assert_array_equal(loaded(tensor), wanted[keep])


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.INT4, np.int8),
        (TensorProto.UINT4, np.uint8),
        (TensorProto.INT8, np.int8),
        (TensorProto.UINT8, np.uint8),
        (TensorProto.INT16, np.int16),
        (TensorProto.INT32, np.int32),
        (TensorProto.UINT32, np.uint32),
        (TensorProto.INT64, np.int64),
        (TensorProto.UINT64, np.uint64),
        (TensorProto.BOOL, np.bool_),
    ],
)
def test_integer_formats(kind: int, dtype: type, raw: bool) -> None:
    signed = np.dtype(dtype).kind == "i"
    values = INTS if signed else np.array([0, 1, 1, 0, 1])
    packed = values.astype(helper.tensor_dtype_to_np_dtype(kind))
    tensor = (
        numpy_helper.from_array(packed)
        if raw
        else helper.make_tensor("w", kind, values.shape, values.tolist())
    )
    data = loaded(tensor)
    assert data.dtype == dtype
    np.testing.assert_array_equal(data, values.astype(dtype))


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_weights(flat: bool) -> None:
    values = numpy_helper.from_array(np.array([1.5, -2], np.float32), "w")
    index = np.array([1, 5]) if flat else np.array([[0, 1], [1, 2]])
    proto = model([node("Add", ["x", "w"], ["y"])], {"x": [2, 3]}, ["y"])
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(index, "i"), [2, 3])
    proto.graph.sparse_initializer.append(sparse)
    data = load(proto).constants()[0].data
    np.testing.assert_array_equal(data, [[0, 1.5, 0], [0, 0, -2]])
    proto.graph.sparse_initializer[0].dims[:] = [1, 2]
    with pytest.raises(ModelError, match="outside its shape"):
        load(proto)


def test_strings_are_refused() -> None:
    proto = model([node("Concat", ["w", "w"], ["y"], axis=0)], {"x": [1]}, ["y"])
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.STRING, [1], [b"text"]))
    with pytest.raises(UnsupportedError, match="string"):
        load(proto)


# -- sizes --------------------------------------------------------------------------------------


def huge() -> list[ModelProto]:
    """Small files that declare much."""
    big = np.array([1 << 20, 1 << 20], np.int64)
    weights = {"big": big, "one": np.float32(1), "n": np.int64(1 << 40), "s": np.int64(1)}
    inputs = {"x": [1]}
    tensor = TensorProto(name="w", data_type=1, dims=[1 << 31, 1 << 31], raw_data=b"\0" * 8)
    declared = model([node("Add", ["x", "w"], ["y"])], inputs, ["y"])
    declared.graph.initializer.append(tensor)
    zero = np.int64(0)
    return [
        declared,
        model([node("ConstantOfShape", ["big"], ["y"])], inputs, ["y"], weights),
        model([node("Expand", ["x", "big"], ["y"])], inputs, ["y"], weights),
        model([node("Expand", ["one", "big"], ["y"])], inputs, ["y"], weights),
        model(
            [node("Tile", ["x", "t"], ["y"])], inputs, ["y"], {"t": np.array([1 << 40], np.int64)}
        ),
        model([node("Range", ["z", "n", "s"], ["y"])], inputs, ["y"], {**weights, "z": zero}),
        model([node("HannWindow", ["n"], ["y"])], inputs, ["y"], weights),
        model(
            [node("OneHot", ["x", "n", "v"], ["y"])],
            inputs,
            ["y"],
            {**weights, "v": np.zeros(2, np.float32)},
        ),
        model(
            [node("Pad", ["x", "p"], ["y"])], inputs, ["y"], {"p": np.array([0, 1 << 40], np.int64)}
        ),
        model([node("Relu", ["x"], ["y"])], {"x": [1 << 40]}, ["y"]),
    ]


def test_huge_sizes_are_refused_before_anything_is_allocated() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for proto in huge():
        with pytest.raises(UserError, match=r"limit|larger"):
            load(proto)
    # Kilobytes: nothing near the declared sizes was touched.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_costly_evaluation_of_constants_is_left_to_run_time() -> None:
    """A pool over a constant, whose kernel is far larger than the constant."""
    size = 1 << 30
    pool = node(
        "AveragePool", ["w"], ["p"], kernel_shape=[size], pads=[size - 1, 0], count_include_pad=1
    )
    weights = {"w": rng_array(1, 1, 4)}
    proto = model([pool, node("Add", ["x", "p"], ["y"])], {"x": [1]}, ["y"], weights)
    assert [n.op.name for n in load(proto).nodes] == ["AveragePool", "Binary"]


def test_messages_are_single_lines_of_bounded_length() -> None:
    name = "a\nb" * 1000
    with pytest.raises(UserError) as err:
        load(model([node("Nothing", ["x"], ["y"], name=name)], [info("x", [1])], ["y"]))
    for line in err.value.problems:
        assert "\n" not in line
        assert len(line) < 1000
