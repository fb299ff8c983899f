"""Every spelling of arguments that scripts use."""

from __future__ import annotations

import pytest

from nntc.compat import arguments as a
from nntc.core.errors import UserError

COMMAND = a.Command(
    "tool",
    "A tool.",
    (
        a.Option("model", required=True),
        a.Option("weight", alias=("weights",)),
        a.Option("input_names", a.names),
        a.Option("count", a.whole, 3),
        a.Option("share", a.number),
        a.Option("old", a.switch, False, idle="it is old"),
        *a.COMMON,
    ),
)


def parse(*argv: str) -> dict[str, object]:
    return COMMAND.parse(["--model=m", *argv])


@pytest.mark.parametrize("argv", [["--x=v"], ["--x", "v"], ["-x=v"], ["-x", "v"]])
def test_dashes_and_signs(argv: list[str]) -> None:
    assert parse(*[word.replace("x", "weight") for word in argv])["weight"] == "v"
    assert parse(*[word.replace("x", "net-name") for word in argv])["net_name"] == "v"


@pytest.mark.parametrize("word", ["true", "True", "1", "TRUE"])
@pytest.mark.parametrize("join", ["=", " "])
def test_switches(word: str, join: str) -> None:
    off = {"true": "false", "True": "False", "1": "0", "TRUE": "FALSE"}[word]
    assert parse(*f"--cmp{join}{off}".split())["cmp"] is False
    assert parse(*f"-cmp{join}{word}".split(), "--count=4")["cmp"] is True
    assert parse("-cmp", "--count=4")["cmp"] is True
    assert parse("--cmp")["cmp"] is True


SHAPES = [
    (["[1,3,4,5]"], [(1, 3, 4, 5)]),
    (["[[1,3,4,5]]"], [(1, 3, 4, 5)]),
    (["[1,", "3,", "4,", "5]"], [(1, 3, 4, 5)]),
    (["[[1,3],", "[5]]"], [(1, 3), (5,)]),
    (["[1,3],[5]"], [(1, 3), (5,)]),
    (["[1,3];[5]"], [(1, 3), (5,)]),
    (["(1,3,4,5)"], [(1, 3, 4, 5)]),
    (['"[1, 3]"'], [(1, 3)]),
]


@pytest.mark.parametrize(("words", "wanted"), SHAPES, ids=[" ".join(s[0]) for s in SHAPES])
def test_shapes(words: list[str], wanted: object) -> None:
    assert parse("--shapes", *words, "--opt", "1")["shapes"] == wanted
    assert parse("-shapes=" + words[0], *words[1:], "--opt", "1")["shapes"] == wanted
    assert parse("--shapes", *words, "-opt=1")["opt"] == 1


def test_names() -> None:
    for word in ("a,b", "[a, b]", "['a','b']", '["a", "b"]'):
        assert parse("--input_names", word)["input_names"] == ["a", "b"]


def test_defaults_and_the_last_of_several() -> None:
    found = parse("--count=4", "-count", "5")
    assert (found["count"], found["outdir"], found["opt"]) == (5, "compilation", 2)
    assert found["weight"] is None


def test_values_that_begin_with_a_dash() -> None:
    assert parse("--count", "-5")["count"] == -5
    assert parse("--weight", "-fpfwd_inputs=a;-b")["weight"] == "-fpfwd_inputs=a;-b"


def test_unknown_options_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    found = parse("--wieght", "v", "--unheard", "-other=3", "--count=4")
    assert found["count"] == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "warning: tool: the option --wieght is not known and has no effect; is --weight meant?"
    )
    assert len(lines) == 3


def test_idle_options_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    parse("--old=false", "--dyn", "0")
    assert capsys.readouterr().err == ""
    parse("--old=true", "--dyn=true")
    assert capsys.readouterr().err.splitlines() == [
        "warning: tool: old has no effect: it is old",
        "warning: tool: dyn has no effect: the BModel takes the given shapes only",
    ]


FAULTS = [
    (["--count=x"], "count is 'x': a whole number is expected"),
    (["--share=x"], "share is 'x': a number is expected"),
    (["--cmp=maybe"], "cmp is 'maybe': true or false is expected"),
    (["--mode=run"], "mode is 'run': one of compile, GenUmodel is expected"),
    (["--target=BM1684X"], "only the BM1684 is supported"),
    (["--shapes=[1,a]"], "'a' is not a positive whole number"),
    (["--weight"], "--weight needs a value"),
    (["--weight", "--count=3"], "--weight needs a value"),
    (["word"], "'word' stands where an option must"),
]


@pytest.mark.parametrize(("argv", "message"), FAULTS, ids=[f[1] for f in FAULTS])
def test_faults(argv: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(*argv)
    assert len(caught.value.problems) == 1
    assert message in caught.value.problems[0]


def test_all_faults_at_once() -> None:
    with pytest.raises(UserError) as caught:
        COMMAND.parse(["--count=x", "--cmp=y"])
    assert len(caught.value.problems) == 3
    assert "--model must be given" in caught.value.problems[2]


def test_calls_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    found = COMMAND.keywords(
        {
            "model": "m",
            "shapes": [[1, 3], [5]],
            "cmp": True,
            "net_name": None,
            "input_names": ("a",),
        }
    )
    assert found["shapes"] == [(1, 3), (5,)]
    assert (found["cmp"], found["net_name"], found["input_names"]) == (True, None, ["a"])
    COMMAND.keywords({"model": "m", "wrong": 1})
    assert "the option wrong is not known" in capsys.readouterr().err


def test_help_and_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMAND.main(lambda options: None, ["--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: tool" in out
    assert "--weight, --weights" in out
    assert COMMAND.main(lambda options: None, ["--model=m", "--count=x"]) == 2
    assert COMMAND.main(lambda options: None, ["--model=m"]) == 0
    assert COMMAND.main(lambda options: None, []) == 2


def test_verbs() -> None:
    command = a.Command("tool", "", (a.Option("model"),), verbs=("make", "break"))
    assert command.parse(["make", "-model=3"]) == {"model": "3", "verb": "make"}
    with pytest.raises(UserError, match="the first word must be one of make, break"):
        command.parse(["-model=3"])
