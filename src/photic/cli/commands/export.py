"""``photic export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photic.cli.parser import Parser
from photic.core.arguments import whole_number

EXAMPLES = (
    ("photic export model.photic -o model.onnx", "an ONNX model for any batch and size, checked in ONNX Runtime, with a JSON beside it"),
    ("photic export lowlight -o lowlight.onnx --check night.jpg", "a model that comes with Photic; checked on a photograph, too"),
    ("photic export runs/severstal/ID -o small.onnx --precision fp16", "half the size; refused where that costs too much"),
    ("photic export model.photic --format torch -o model.pt2", "for torch.export.load, without Photic"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "export",
        "Write a trained model for another runtime, and check it there against the model.",
        EXAMPLES,
        usage="MODEL -o FILE [options]",
    )
    made.add_argument("model", metavar="MODEL", help="bundle, folder of a finished run, checkpoint, or name of a model (photic models)")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write, ending in .onnx or .pt2")
    made.add_argument("--format", default="onnx", metavar="WORD", help="onnx (default), or torch for torch.export")
    made.add_argument("--precision", default="fp32", metavar="WORD", help="of ONNX models: fp32 (default), fp16 or int8")
    made.add_argument("--opset", type=whole_number(1), metavar="N", help="version of ONNX's operator set, 18 to 23 (default: 20)")
    made.add_argument("--check", type=Path, nargs="+", action="extend", default=[], metavar="FILE", help="files to check it on, too")
    calibrating = "files that say what values are like, for int8"
    made.add_argument("--calibrate", type=Path, nargs="+", action="extend", default=[], metavar="FILE", help=calibrating)
    made.add_argument("--golden", type=Path, metavar="FILE.npz", help="also write inputs and outputs to check another runtime with")
    made.add_argument("--force", action="store_true", help="replace existing files")
    made.add_argument("--quiet", action="store_true", help="no progress display")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    from photic.workflows.export import export

    made = export(
        options.model,
        options.output,
        format=options.format,
        precision=options.precision,
        opset=options.opset,
        check=options.check,
        calibrate=options.calibrate,
        golden=options.golden,
        force=options.force,
        quiet=options.quiet,
    )
    print(made.summary())
    return 0
