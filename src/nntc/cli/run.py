"""Run a BModel: on the embedded simulator, or on the chip maker's C-model.

examples:
  nntc run model.bmodel --input in.npz --output out.npz
  nntc run model.bmodel --input photo.jpg --mean 127.5 --scale 0.0078125
  nntc run model.bmodel --random 1 --device cmodel --libs ~/bm1684-libs

An .npz holds one array for each input, under the input's name; an .npy or a picture is the one
input of a net that has one. A net whose tensors carry a scale takes and gives real numbers.
A picture becomes (pixel - mean) * scale in RGB order, resized to the input's height and width.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from nntc.runtime import Network

HELP = "run a BModel on the simulator or the C-model"


def numbers(text: str) -> list[float]:
    """A comma separated list of numbers, for argparse."""
    return [float(part) for part in text.split(",")]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.bmodel")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", metavar="IN", help=".npz, .npy or picture")
    source.add_argument(
        "--random", type=int, metavar="SEED", help="random input, the same for the same seed"
    )
    parser.add_argument(
        "--output", metavar="OUT.npz", help="write the outputs; without it a table is printed"
    )
    parser.add_argument("--net", metavar="NAME", help="which net of the BModel; default: the first")
    parser.add_argument(
        "--device",
        choices=("simulator", "cmodel", "cmodel-commands"),
        default="simulator",
        help="cmodel: the chip maker's runtime on their C-model; cmodel-commands: the C-model "
        "alone, command by command (default: simulator)",
    )
    parser.add_argument(
        "--engine",
        choices=("fast", "reference"),
        default="fast",
        help="of the simulator: fast, or the slow and plain one (default: fast)",
    )
    parser.add_argument(
        "--libs", metavar="DIR", help="folder of the C-model's libraries; default: NNTC_CMODEL_LIBS"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="of a run on the C-model (default: 600)"
    )
    parser.add_argument("--mean", type=numbers, default=[0.0], metavar="M[,M,M]", help="picture")
    parser.add_argument("--scale", type=numbers, default=[1.0], metavar="S[,S,S]", help="picture")
    parser.add_argument("--bgr", action="store_true", help="picture: blue first")


def device_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the chosen device that were given."""
    if args.device == "simulator":
        return {"engine": args.engine}
    options: dict[str, Any] = {}
    if args.libs:
        options["libs"] = args.libs
    if args.timeout:
        options["timeout"] = args.timeout
    return options


def execute(args: argparse.Namespace) -> None:
    from nntc.runtime import Engine, arrays
    from nntc.runtime.picture import PICTURE_SUFFIXES, load_picture

    with Engine(args.model, device=args.device, **device_options(args)) as engine:
        net = engine.net(args.net)
        if args.input is None:
            inputs: Any = arrays.random_inputs(net.inputs, args.random)
        elif str(args.input).lower().endswith(PICTURE_SUFFIXES):
            inputs = load_picture(args.input, net.inputs, args.mean, args.scale, args.bgr)
        else:
            inputs = arrays.load_inputs(args.input)
        outputs = net(inputs)
    if args.output:
        arrays.save_npz(args.output, outputs)
    else:
        print_outputs(net, outputs)


def print_outputs(net: Network, outputs: dict[str, np.ndarray]) -> None:
    """A table of the outputs; the largest elements say what a classifier found."""
    import numpy as np

    from nntc.cli.console import table

    rows = []
    for name, array in outputs.items():
        flat = array.ravel()
        best = np.argsort(-flat.astype(np.float64), kind="stable")[:5]
        top = " ".join(f"{index}:{flat[index]:.4g}" for index in best)
        low, high = (f"{flat.min():.6g}", f"{flat.max():.6g}") if flat.size else ("-", "-")
        shape = "x".join(map(str, array.shape)) or "scalar"
        rows.append((name, shape, array.dtype.name, low, high, top))
    table(rows, ("output", "shape", "type", "min", "max", "largest, by flat index"))
