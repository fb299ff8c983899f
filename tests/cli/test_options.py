"""Values of options in all their spellings."""

from __future__ import annotations

import pytest

from nntc.cli.options import join_brackets, parse_names, parse_shapes
from nntc.core.errors import UserError


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        (["[1,3,224,224]"], [(1, 3, 224, 224)]),
        (["[1, 3, 224 ,224]"], [(1, 3, 224, 224)]),
        (["(1,3,224,224)"], [(1, 3, 224, 224)]),
        (["1,3,224,224"], [(1, 3, 224, 224)]),
        (["1x3x224x224"], [(1, 3, 224, 224)]),
        (["[1 3 4]"], [(1, 3, 4)]),
        (["'[1,3]'"], [(1, 3)]),
        (["[1,3,]"], [(1, 3)]),
        (["[[1,3]]"], [(1, 3)]),
        (["[[1,3],[5]]"], [(1, 3), (5,)]),
        (["[ [1, 3] , [5] ]"], [(1, 3), (5,)]),
        (["[1,3],[5]"], [(1, 3), (5,)]),
        (["[1,3] [5]"], [(1, 3), (5,)]),
        (["[(1,80,256)]"], [(1, 80, 256)]),
        (["[1,3]", "[5]"], [(1, 3), (5,)]),
        (["[]"], [()]),
        (["[[],[2]]"], [(), (2,)]),
        (["7"], [(7,)]),
        (["x=1x3x4"], {"x": (1, 3, 4)}),
        (["x=[1,3,4]"], {"x": (1, 3, 4)}),
        (["x=1x3", "y=5"], {"x": (1, 3), "y": (5,)}),
        (["x=1x3,y=5"], {"x": (1, 3), "y": (5,)}),
        (["input:0=[1,3] a/b.c=(2)"], {"input:0": (1, 3), "a/b.c": (2,)}),
        ([], []),
    ],
)
def test_shapes(texts: list[str], shapes: object) -> None:
    assert parse_shapes(texts) == shapes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1,3",
        "1,3]",
        "[1,a]",
        "[1,-1]",
        "[0,3]",
        "[1.5]",
        "[1,,3]",
        "[[1,3],[5]",
        "[1,3];[5]",
        "x=",
        "x=1x",
        "x=1x3,x=1x3",
        "x=1x3 5",
        "[99999999999999]",
    ],
)
def test_bad_shapes(text: str) -> None:
    with pytest.raises(UserError, match=r"^--shapes"):
        parse_shapes([text])


def test_shapes_named_and_listed_do_not_mix() -> None:
    with pytest.raises(UserError, match="name all inputs or none"):
        parse_shapes(["x=1x3", "[5]"])


def test_brackets_that_the_shell_split() -> None:
    split = ["compile", "--shapes", "[1,", "3,", "4]", "m.onnx", "--shapes=[[1,", "2],", "[3]]"]
    joined = ["compile", "--shapes", "[1, 3, 4]", "m.onnx", "--shapes=[[1, 2], [3]]"]
    assert join_brackets(split) == joined
    assert join_brackets(["--shapes", "[1,", "m.onnx"]) == ["--shapes", "[1,", "m.onnx"]
    assert join_brackets(["run", "[1,", "2]"]) == ["run", "[1,", "2]"]


def test_names() -> None:
    assert parse_names(None) is None
    for text in ("a,b", "[a, b]", "['a', \"b\"]", "a , b,"):
        assert parse_names(text) == ["a", "b"]
    with pytest.raises(UserError):
        parse_names("[]")
