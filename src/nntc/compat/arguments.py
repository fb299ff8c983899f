"""Arguments of the historical commands, in every spelling that scripts use.

``--x=v``, ``--x v``, ``-x=v`` and ``-x v`` mix freely; ``_`` and ``-`` in names are the same; a
switch may stand alone or with true, false, 1 or 0; what the shell split at blanks inside brackets
is put together again; of an option given twice the last counts. The same table serves the Python
calls, ``bmnetX.compile(...)``, whose values may be lists and numbers.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nntc.cli.main import guard, printable
from nntc.cli.options import parse_names, parse_shapes
from nntc.core.errors import EXIT_STATUS, Problems, UserError

_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


# -- kinds of values ----------------------------------------------------------------------------


def text(value: Any) -> str:
    return str(value)


def switch(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _TRUTH:
        raise ValueError("true or false is expected")
    return _TRUTH[word]


def whole(value: Any) -> int:
    word = str(value).strip()
    if not word.lstrip("+-").isdecimal() or len(word) > 18:
        raise ValueError("a whole number is expected")
    return int(word)


def number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("a number is expected") from None


def names(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return parse_names(str(value)) or [] if str(value).strip() else []


def shapes(value: Any) -> list[tuple[int, ...]]:
    """``[1,3,4,4]``, ``[[1,3],[5]]``, ``(1,3)``, ``[1,3];[5]``, or lists."""
    if isinstance(value, (list, tuple)):
        value = str(list(value))
    found = parse_shapes([str(value).replace(";", ",")])
    if isinstance(found, dict):
        raise ValueError("shapes stand in the order of the inputs, without names")
    return found


def word_of(*allowed: str) -> Callable[[Any], str]:
    """One of some words, in any case."""

    def kind(value: Any) -> str:
        found = {word.lower(): word for word in allowed}.get(str(value).strip().lower())
        if found is None:
            raise ValueError(f"one of {', '.join(allowed)} is expected")
        return found

    return kind


# -- options ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        name: with ``_``; kind: makes its value, raises ValueError or UserError.
        default: None: not given.
        alias: other names.
        idle: accepted, has no effect here; why, for the warning. A value equal to the default
            is not worth one.
        for_others: the value holds options of another command, so it may begin like one of ours.
    """

    name: str
    kind: Callable[[Any], Any] = text
    default: Any = None
    help: str = ""
    alias: tuple[str, ...] = ()
    required: bool = False
    idle: str = ""
    for_others: bool = False


@dataclass(frozen=True)
class Command:
    """A historical command.

    Attributes:
        name: as users call it; about: one line or more for --help.
        verbs: words, one of which stands first; values have it under "verb".
    """

    name: str
    about: str
    options: Sequence[Option]
    verbs: Sequence[str] = ()
    _table: dict[str, Option] = field(default_factory=dict[str, Option], repr=False)

    def __post_init__(self) -> None:
        for option in self.options:
            for name in (option.name, *option.alias):
                self._table[name] = option

    # -- from a command line ----------------------------------------------------------------

    def parse(self, argv: Sequence[str]) -> dict[str, Any]:
        """Option name → value, None for what is not given and has no default.

        Raises:
            UserError: names every argument that is wrong or missing.
        """
        problems = Problems()
        given: dict[str, Any] = {}
        rest = list(argv)
        verb = ""
        if self.verbs:
            verb = rest.pop(0) if rest and not rest[0].startswith("-") else ""
            if verb not in self.verbs:
                problems.add(f"{self.name}: the first word must be one of {', '.join(self.verbs)}")
        while rest:
            token = rest.pop(0)
            if not token.startswith("-") or not token.strip("-"):
                problems.add(f"{self.name}: {token!r} stands where an option must")
                continue
            key, equals, value = token.partition("=")
            option = self._option(key)
            if option is None:
                self._unknown(key, equals, rest)
            elif option.kind is switch and not equals:
                following = rest[0].strip().lower() if rest else ""
                self._put(given, option, rest.pop(0) if following in _TRUTH else True, problems)
            elif not equals and (not rest or (self._is_ours(rest[0]) and not option.for_others)):
                problems.add(f"{self.name}: {key} needs a value")
            else:
                value = value if equals else rest.pop(0)
                while rest and _open(value) and not rest[0].startswith("--"):
                    value += " " + rest.pop(0)
                self._put(given, option, value, problems)
        return self._finish(given, problems) | ({"verb": verb} if self.verbs else {})

    def _option(self, key: str) -> Option | None:
        if not key.startswith("-"):
            return None
        return self._table.get(key.lstrip("-").replace("-", "_"))

    def _is_ours(self, token: str) -> bool:
        return self._option(token.partition("=")[0]) is not None

    def _unknown(self, key: str, equals: str, rest: list[str]) -> None:
        near = difflib.get_close_matches(key.lstrip("-"), list(self._table), 1)
        hint = f"; is --{near[0]} meant?" if near else ""
        if not equals and rest and not rest[0].startswith("-"):
            rest.pop(0)
        warn(f"{self.name}: the option {key} is not known and has no effect{hint}")

    # -- from a call in Python --------------------------------------------------------------

    def keywords(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """As :meth:`parse`, of the arguments of a call; None is as if not given."""
        problems = Problems()
        given: dict[str, Any] = {}
        for name, value in arguments.items():
            option = self._table.get(name)
            if option is None:
                self._unknown(name, "=", [])
            elif value is not None:
                self._put(given, option, value, problems)
        return self._finish(given, problems)

    # -- both -------------------------------------------------------------------------------

    def _put(self, given: dict[str, Any], option: Option, value: Any, problems: Problems) -> None:
        try:
            given[option.name] = option.kind(value)
        except ValueError as err:
            problems.add(f"{self.name}: {option.name} is {value!r}: {err}")
        except UserError as err:
            for problem in err.problems:
                problems.add(f"{self.name}: {option.name}: {problem}")

    def _finish(self, given: dict[str, Any], problems: Problems) -> dict[str, Any]:
        missing = [o.name for o in self.options if o.required and o.name not in given]
        if missing and not given.get("list_ops"):
            problems.add(f"{self.name}: {', '.join(f'--{name}' for name in missing)} must be given")
        problems.raise_if_any()
        for option in self.options:
            if option.idle and given.get(option.name, option.default) != option.default:
                warn(f"{self.name}: {option.name} has no effect: {option.idle}")
        return {o.name: given.get(o.name, o.default) for o in self.options}

    def usage(self) -> str:
        """The text of --help."""
        verb = f" {'|'.join(self.verbs)}" if self.verbs else ""
        lines = [f"usage: {self.name}{verb} --OPTION=VALUE ...", "", self.about.strip(), ""]
        for option in self.options:
            left = ", ".join(f"--{name}" for name in (option.name, *option.alias))
            default = "" if option.default is None else f" (default: {option.default})"
            needed = " (required)" if option.required else ""
            note = "accepted, has no effect: " + option.idle if option.idle else option.help
            lines.append(f"  {left:28} {note}{default}{needed}")
        return "\n".join(lines)

    def main(self, action: Callable[[dict[str, Any]], object], argv: Sequence[str] | None) -> int:
        """Run *action* with the parsed options; returns the exit status."""
        arguments = list(sys.argv[1:] if argv is None else argv)

        def run() -> int:
            if not arguments or any(a in ("-h", "--help", "-help") for a in arguments):
                print(self.usage())
                return 0 if arguments else EXIT_STATUS
            action(self.parse(arguments))
            return 0

        return guard(run)


def warn(message: str) -> None:
    """One line on standard error."""
    print(f"warning: {printable(message)}", file=sys.stderr)


def _open(value: str) -> bool:
    """Whether brackets are open: the shell split a list."""
    return sum(value.count(c) for c in "[(") > sum(value.count(c) for c in "])")


# -- options that all front ends have -----------------------------------------------------------


def target(value: Any) -> str:
    """The chip, which must be the BM1684."""
    chip = str(value).strip()
    if chip.upper() != "BM1684":
        raise ValueError("only the BM1684 is supported; other chips have other instructions")
    return "BM1684"


COMMON = (
    Option("target", target, "BM1684", "the chip"),
    Option("outdir", text, "compilation", "folder of the results"),
    Option("net_name", text, None, "name of the net in the BModel"),
    Option("shapes", shapes, None, "input shapes, such as [1,3,224,224]", ("shape",)),
    Option("opt", whole, 2, "optimisation level 0, 1 or 2"),
    Option("cmp", switch, True, "compare with the model's meaning before writing"),
    Option("mode", word_of("compile", "GenUmodel"), "compile", "or GenUmodel: write a UModel"),
    Option("seed", whole, 0, "of the random input"),
    Option("v", whole, None, "log level; the log is short at every level"),
    Option("dyn", switch, False, idle="the BModel takes the given shapes only", alias=("dynamic",)),
    Option("enable_profile", switch, False, idle="nothing needs to be recorded for the timing"),
    Option("log_dir", text, "", idle="the log goes to the terminal"),
)
"""Options of every compiler."""
