"""The historical ``python3 -m ufw.tools.XX_to_umodel``: a model becomes an fp32 UModel.

    python3 -m ufw.tools.on_to_umodel -m x.onnx -s "(1,3,224,224)" -d out -D lmdb
    ufw.tools.on_to_umodel(["-m", "x.onnx", "-d", "out"])

-D names the data: the text gets a Data layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nntc.compat import front
from nntc.compat.arguments import Command, Option, names, shapes, switch, text
from nntc.compat.build import write_fp32
from nntc.core.errors import UserError
from nntc.core.files import write_bytes

_PRESETS = "write the transform_ops into the Data layer"


@dataclass(frozen=True)
class Converter:
    """``XX_to_umodel``: call it with a list of arguments, or as a command."""

    short: str
    tool: str

    @property
    def command(self) -> Command:
        return Command(
            f"{self.short}_to_umodel",
            f"Write the fp32 UModel of a model, as {self.tool} --mode GenUmodel does.",
            (
                Option("m", text, None, "model", alias=("model",), required=True),
                Option("w", text, None, "weights", alias=("weight", "weights")),
                Option("i", names, None, "cut the model: its inputs", alias=("input_names",)),
                Option("o", names, None, "cut the model: its outputs", alias=("output_names",)),
                Option("s", shapes, None, "input shapes", alias=("shapes",)),
                Option("d", text, "compilation", "folder of the results", alias=("outdir",)),
                Option("n", text, None, "name of the net and the files", alias=("net_name",)),
                Option("D", text, "", "LMDB folder: adds a Data layer", alias=("dataset",)),
                Option(
                    "cmp",
                    switch,
                    True,
                    "nothing is compared: the network is written as it was read",
                ),
                Option("no_transform", switch, False, "the layout is never changed"),
                Option("p", text, None, idle=_PRESETS),
                Option("a", switch, False, idle="scores are computed by nntc compare"),
                Option("dyn", switch, False, idle="a UModel has the given shapes"),
                Option("desc", text, None, idle="nothing is run", alias=("descs",)),
            ),
        )

    def run(self, options: dict[str, Any]) -> None:
        """Raises UserError if the model cannot be read or the files not written."""
        full = {
            "model": options["m"],
            "weight": options["w"],
            "shapes": options["s"],
            "input_names": options["i"],
            "output_names": options["o"],
        }
        graph, stem = front.load(full)
        write_fp32(graph, options["d"], options["n"] or stem, self.tool, options["D"])

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        return self.command.main(self.run, argv)


cf_to_umodel = Converter("cf", "bmnetc")
tf_to_umodel = Converter("tf", "bmnett")
pt_to_umodel = Converter("pt", "bmnetp")
mx_to_umodel = Converter("mx", "bmnetm")
dn_to_umodel = Converter("dn", "bmnetd")
on_to_umodel = Converter("on", "bmneto")
pp_to_umodel = Converter("pp", "bmpaddle")

_EDIT = Command(
    "to_umodel",
    "Add the Data layer to an fp32 UModel, or print its text.",
    (
        Option("u", text, None, "*.fp32umodel", required=True),
        Option("D", text, "", "LMDB folder: adds a Data layer"),
        Option("T", switch, False, "print the text"),
        Option("p", text, None, idle=_PRESETS),
    ),
)


def _edit(options: dict[str, Any]) -> None:
    from nntc.ir import prototxt

    text_file, weights = prototxt.partner(options["u"])
    network = prototxt.load(text_file, weights)
    if options["D"]:
        if not Path(options["D"]).exists():
            raise UserError(f"{options['D']}: there is no such folder")
        source = str(Path(options["D"]).resolve())
        network.feeds = [prototxt.Feed(v.name, source) for v in network.graph.inputs]
        write_bytes(text_file, prototxt.print_network(network, weights.name).encode())
    if options["T"]:
        print(prototxt.print_network(network, weights.name), end="")


def to_umodel(argv: Sequence[str] | None = None) -> int:
    """``python3 -m ufw.tools.to_umodel -u X.fp32umodel [-D LMDB] [-T]``."""
    return _EDIT.main(_edit, argv)


__all__ = [
    "cf_to_umodel",
    "dn_to_umodel",
    "mx_to_umodel",
    "on_to_umodel",
    "pp_to_umodel",
    "pt_to_umodel",
    "tf_to_umodel",
    "to_umodel",
]
