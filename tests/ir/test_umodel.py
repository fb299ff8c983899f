"""UModel files: round trip, determinism, and damaged files."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from nntc.core.errors import ModelError, UserError
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.ir.interpret import run
from nntc.ir.text import parse_graph
from nntc.ir.umodel import load, save
from tests.ir.strategies import graphs, same_graph
from tests.ir.twin import random, same


def network() -> Graph:
    graph = Graph("net")
    x = graph.input("x", graph.constant(random((1,))).dtype, (1, 3, 8, 8))
    w = graph.constant(random((4, 3, 3, 3)), "conv.weight")
    mask = graph.constant(random((6, 6), bool), "mask")
    y = graph.add(ops.Conv((1, 1), (0, 0, 0, 0), (1, 1)), x, w).output
    zero = graph.constant(np.zeros(1, np.float32), "zero")
    graph.outputs = graph.add(ops.Where(), mask, y, zero, name="out").outputs
    return graph


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    save(network(), tmp_path / "net")
    return tmp_path / "net"


def test_save_and_load(stem: Path) -> None:
    graph = load(stem)
    same_graph(graph, network())
    same_graph(load(f"{stem}.umodel"), network())
    x = random((1, 3, 8, 8))
    same(run(graph, {"x": x})["out"], run(network(), {"x": x})["out"])
    assert sorted(p.name for p in stem.parent.iterdir()) == ["net.safetensors", "net.umodel"]


def test_weights_are_plain_safetensors_and_mapped(stem: Path) -> None:
    others = load_file(f"{stem}.safetensors")
    assert set(others) == {"conv.weight", "mask"}
    for value in load(stem).constants():
        if value.name in others:
            data = value.data
            assert data is not None
            assert not data.flags.owndata
            assert not data.flags.writeable
            same(data, others[value.name])


def test_same_graph_same_bytes(stem: Path, tmp_path: Path) -> None:
    for path in save(load(stem), tmp_path / "again.umodel"):
        assert path.read_bytes() == stem.with_suffix(path.suffix).read_bytes()


@given(graph=graphs())
@settings(max_examples=40, deadline=None)
def test_round_trip(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> None:
    stem = tmp_path_factory.mktemp("m") / "m"
    save(graph, stem)
    same_graph(load(stem), graph)


def test_a_text_without_weights(tmp_path: Path) -> None:
    text = tmp_path / "hand.umodel"
    text.write_text('nntc graph 1 "x"\ninput %x : f32[2]\noutput %x\n')
    assert load(text).outputs[0].name == "x"


def change_text(old: str, new: str) -> Callable[[Path], None]:
    def change(stem: Path) -> None:
        path = stem.with_suffix(".umodel")
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def change_header(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def change(stem: Path) -> None:
        path = stem.with_suffix(".safetensors")
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        edited = edit(header)
        text = json.dumps(edited if isinstance(edited, list) else header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return change


def change_weights(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(stem: Path) -> None:
        path = stem.with_suffix(".safetensors")
        path.write_bytes(edit(path.read_bytes()))

    return change


def remove(stem: Path) -> None:
    stem.with_suffix(".safetensors").unlink()


DAMAGE = [
    (remove, "the data of constant conv.weight are missing"),
    (change_weights(lambda b: b""), "is no safetensors file: 0 bytes"),
    (change_weights(lambda b: b[:5]), "is no safetensors file: 5 bytes"),
    (change_weights(lambda b: b"\xff" * 8 + b[8:]), "is no safetensors file"),
    (change_weights(lambda b: b[:8] + b"?" + b[9:]), "the header is no JSON"),
    (change_weights(lambda b: b[:-1]), "lies at bytes"),
    (change_weights(lambda b: b + b"x"), "1 bytes follow the last tensor"),
    (change_weights(lambda b: b[:-1] + b"\x02"), "bytes other than 0 and 1 as truth values"),
    (change_weights(lambda b: b[:-1] + bytes([b[-1] ^ 1])), "constant mask have the hash"),
    (change_header(lambda h: []), "the header is no table"),
    (change_header(lambda h: h.pop("mask")), "follow the last tensor"),
    (change_header(lambda h: h["mask"].pop("dtype")), "tensor mask: cannot read the entry"),
    (change_header(lambda h: h.update(mask=3)), "tensor mask: cannot read the entry 3"),
    (change_header(lambda h: h["mask"].update(dtype="F8")), "tensor mask: cannot read"),
    (change_header(lambda h: h["mask"].update(shape=[-6, -6])), "tensor mask: cannot read"),
    (change_header(lambda h: h["mask"].update(shape=[0, 2**62, 2**62])), "mask: cannot read"),
    (change_header(lambda h: h["mask"].update(shape=[6, 7])), "has 42 bytes, 36 are stored"),
    (change_header(lambda h: h["mask"].update(shape=[36])), "mask is declared bool[6x6], its"),
    (change_header(lambda h: h["mask"].update(dtype="I8")), "its data are int8 of shape (6, 6)"),
    (change_header(lambda h: h["conv.weight"].update(data_offsets=[8, 440])), "conv.weight: lies"),
    (change_header(lambda h: h["mask"].update(data_offsets=[1, 2, 3])), "cannot read the entry"),
    (change_header(lambda h: h.update(spare=dict(h["mask"]))), "lies at bytes"),
    (change_text("%conv.weight", "%conv.wait"), "the data of constant conv.wait are missing"),
    (change_text("const %mask : bool[6x6]", "const %mask : bool[36]"), "is declared bool[36]"),
    (change_text('nntc graph 1 "net"', "hello"), "the first line, and only it"),
    (change_text("Where(", "When("), "unknown operator When"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[m for _, m in DAMAGE])
def test_damaged_files(stem: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(stem)
    with pytest.raises(UserError) as caught:
        load(stem)
    assert message in str(caught.value)
    assert all(str(stem) in problem for problem in caught.value.problems)


def test_weights_that_the_text_does_not_name(stem: Path) -> None:
    text = stem.with_suffix(".umodel")
    lines = [line for line in text.read_text().split("\n") if "mask" not in line]
    text.write_text("\n".join(lines).replace("output %out", "output %Conv"))
    with pytest.raises(ModelError, match="tensor mask is not in the text"):
        load(stem)


def test_text_in_another_encoding(stem: Path) -> None:
    stem.with_suffix(".umodel").write_bytes(b"nntc \xff")
    with pytest.raises(ModelError, match="no text in UTF-8: byte 5 is wrong"):
        load(stem)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.umodel: cannot be read"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        save(network(), tmp_path / "net")


def test_a_failed_save_changes_nothing(stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.read_bytes() for p in stem.parent.iterdir()}

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nntc.ir.umodel.write_weights", full)
    with pytest.raises(UserError, match=r"net\.safetensors: cannot be written: No space left"):
        save(network(), stem)
    assert {p: p.read_bytes() for p in stem.parent.iterdir()} == before


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        save(network(), tmp_path / "no" / "net")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_mutated_weights_are_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stem = tmp_path_factory.getbasetemp() / "mutated"
    if not stem.with_suffix(".umodel").exists():
        save(network(), stem)
        os.replace(f"{stem}.safetensors", f"{stem}.good")
    content = bytearray(Path(f"{stem}.good").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = content[at] != byte
    content[at] = byte
    Path(f"{stem}.safetensors").write_bytes(content)
    try:
        graph = load(stem)
    except UserError:
        graph = None
    if graph is None:
        assert changed
    else:
        same_graph(graph, network())


def test_text_and_weights_know_each_other(stem: Path) -> None:
    text = stem.with_suffix(".umodel").read_text()
    other = {"conv.weight": random((4, 3, 3, 3), low=0), "mask": random((6, 6), bool)}
    with pytest.raises(ModelError, match=r"the data of constant conv\.weight have the hash"):
        parse_graph(text, other)
