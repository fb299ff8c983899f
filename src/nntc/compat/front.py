"""What the historical compilers of all frameworks share: bmneto, bmnetc and their like."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nntc.compat.arguments import COMMON, Command, Option, names, switch, text, word_of
from nntc.compat.build import Description, build, write_fp32
from nntc.core.errors import UserError

_DESCRIPTION = re.compile(r"\[\s*(\d+)\s*,\s*['\"]?(\w+)['\"]?\s*,\s*([^,\[\]]+),\s*([^,\[\]]+)\]")


def descriptions(value: Any) -> list[Description]:
    """``[0,int64,0,128]``, several of them, or lists: random numbers of inputs."""
    body = str(value).strip()
    found = _DESCRIPTION.findall(body)
    rest = _DESCRIPTION.sub("", body).strip("[], \t\n")
    if rest or (body and not found):
        raise ValueError("[input number, type, lowest, end] is expected")
    try:
        return [(int(i), kind, float(low), float(high)) for i, kind, low, high in found]
    except ValueError:
        raise ValueError("lowest and end must be numbers") from None


_CUT = (
    Option("input_names", names, None, "cut the model: its inputs"),
    Option("output_names", names, None, "cut the model: its outputs"),
)


@dataclass(frozen=True)
class FrontEnd:
    """A historical compiler: ``front.main`` for the command, ``front.compile`` for Python.

    Attributes:
        tool: its name; framework: in words.
        files: of the model, in words; more: options of its own.
        named_inside: the net is called as the model file says, not as the file is called.
    """

    tool: str
    framework: str
    files: str
    more: Sequence[Option] = ()
    named_inside: bool = False

    @property
    def command(self) -> Command:
        weight = Option("weight", text, None, "its weights", alias=("weights",))
        return Command(
            self.tool,
            f"Compile a {self.framework} model for the BM1684.",
            (
                Option("model", text, None, self.files, required=True),
                weight,
                *_CUT,
                Option("descs", descriptions, (), "random numbers of inputs", alias=("desc",)),
                Option("dump_ref", switch, False, "write reference data without --cmp"),
                Option("list_ops", switch, False, "print the operators and end"),
                Option("show_args", switch, False, "print this and end"),
                *(o for o in COMMON if o.name not in {more.name for more in self.more}),
                *self.more,
            ),
        )

    def run(self, options: dict[str, Any]) -> None:
        """Do what the options say.

        Raises:
            UserError: the model cannot be read, or does not fit the options.
            UnsupportedError: lists every node that cannot be compiled.
        """
        if options["list_ops"]:
            from nntc.ir.ops import OPS

            print("\n".join(OPS))
            return
        if options["show_args"]:
            print(self.command.usage())
            return
        graph, stem = load(options)
        name = options["net_name"] or (graph.name if self.named_inside else stem)
        if options["mode"] == "GenUmodel":
            write_fp32(graph, options["outdir"], options["net_name"] or stem, self.tool)
            return
        if options["mode"] != "compile":
            from nntc.cli.main import main

            raise SystemExit(main(["check", options["model"]]))
        build(
            graph,
            options["outdir"],
            net_name=name,
            opt=options["opt"],
            cmp=options["cmp"],
            seed=options["seed"],
            descriptions=options["descs"],
            dump_ref=options["dump_ref"],
        )

    def compile(self, model: Any = None, *places: Any, **options: Any) -> int:
        """Compile a model; arguments as of the command. By position: model, then weight if the
        framework keeps it apart, outdir, target.

        Raises:
            UserError, UnsupportedError: see :meth:`run`.
        """
        order = ["weight"] * self.has_weights + ["outdir", "target"]
        if len(places) > len(order):
            raise UserError(f"{self.tool}.compile: too many arguments without a name")
        given = dict(zip(order, places, strict=False))
        self.run(self.command.keywords({"model": model, **given, **options}))
        return 0

    @property
    def has_weights(self) -> bool:
        return self.tool in ("bmnetc", "bmnetd", "bmnetm")

    def main(self, argv: Sequence[str] | None = None) -> int:
        return self.command.main(self.run, argv)


def load(options: dict[str, Any]) -> tuple[Any, str]:
    """The graph of a model that options name, and the stem of its file.

    Raises:
        UserError: it cannot be read.
    """
    from nntc import api

    graph = api.load(
        os.fspath(options["model"]),
        weights=options["weight"],
        shapes=options["shapes"],
        input_names=options["input_names"],
        output_names=options["output_names"],
    )
    return graph, Path(options["model"]).stem


_MODES = Option(
    "mode", word_of("compile", "GenUmodel", "summary", "show", "check"), "compile", "what to do"
)

FRONT_ENDS = {
    front.tool: front
    for front in (
        FrontEnd("bmneto", "ONNX", ".onnx"),
        FrontEnd("bmnetc", "Caffe", ".prototxt", named_inside=True),
        FrontEnd("bmnetd", "Darknet", ".cfg"),
        FrontEnd("bmnetm", "MXNet", "-symbol.json"),
        FrontEnd("bmnetp", "PyTorch", "traced .pt"),
        FrontEnd("bmnett", "TensorFlow", "frozen .pb"),
        FrontEnd("bmpaddle", "PaddlePaddle", "folder", (_MODES,)),
    )
}
