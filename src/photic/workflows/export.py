"""From a trained model to a file for other runtimes, checked against the model before it gets its name."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from photic.core.errors import ConfigError, DataError, nearest
from photic.core.files import atomic_path
from photic.core.plugins import file_model_of, load_reference, model_source
from photic.inference.export.description import decisions_changed, describe_export
from photic.inference.export.onnx_model import OPSET, OPSETS, OnnxRunner, onnx_model, require_packages
from photic.inference.export.parity import TOLERANCE, Batch, Difference, Runner, beyond, differences, own_outputs, time_ratio
from photic.inference.export.precision import PRECISIONS, Precision, check_gain, check_loss, in_half, in_integers
from photic.inference.export.program import Program, ProgramRunner, captured, program_bytes
from photic.inference.file_model import FileModel
from photic.inference.predictor import LoadedModel, load, model_file
from photic.tasks.classification import MultilabelClassification
from photic.tracking.run import Run
from photic.workflows.progress import counting

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
_TIMED_PX = 256
_CALIBRATED = 8


@dataclass(frozen=True)
class ExportResult:
    """A graph that was exported."""

    output: Path
    """The file."""
    sidecar: Path
    """The JSON beside it: what goes in and comes out, what is to be done around it, how it was checked."""
    golden: Path | None
    """Inputs and outputs to check another runtime with."""
    description: dict[str, Any]
    """The content of the JSON."""

    def summary(self) -> str:
        """Return a few lines for the terminal."""
        said = self.description
        speed = said["speed"]
        runtime = said["checked"]["runtime"]
        lines = [f"{said['format']}    {self.output}  ({said['size_bytes'] / 1e6:.2f} MB, {said['precision']})", f"beside  {self.sidecar}"]
        if self.golden is not None:
            lines.append(f"golden  {self.golden}")
        for check in said["checked"]["on"]:
            found = "; ".join(Difference(**one).text() for one in check["differences"])
            lines.append(f"checked {check['what']}: largest difference {found}")
        if said["checked"]["tolerance"] is not None:
            lines.append(f"        tolerance: relative {said['checked']['tolerance']:g}")
        else:
            lines += [f"loss    {name}: {value}" for name, value in said["loss"].items()]
        faster = f"{speed['ratio']:.2f} of torch's" if runtime == "onnxruntime" else f"{speed['ratio']:.2f} of the network's"
        lines.append(f"time    {runtime} takes {faster} time for the same batch ({1e3 * speed['exported_s']:.1f} ms, CPU)")
        return "\n".join(lines)


def export(
    model: LoadedModel | Path | str,
    output: Path | str,
    *,
    format: str = "onnx",
    precision: str = "fp32",
    opset: int | None = None,
    check: Sequence[Path | str] = (),
    calibrate: Sequence[Path | str] = (),
    golden: Path | str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> ExportResult:
    """Write the deployed graph of a trained model for another runtime, with a JSON beside it; whole or not at all.

    The graph has the model's own pre- and post-processing in it and takes every batch and size that the network takes. Before it gets its
    name it is run (in ONNX Runtime, or as the program that was read back) and held against the network, on made-up inputs of other sizes
    and batches than it was captured with, and on files as prediction reads them.

    Args:
        model: bundle, finished run, checkpoint, name of a model that comes with Photic, or a loaded model (on the CPU).
        output: the file to write, ending in ``.onnx`` or ``.pt2``; the JSON is called like it, with ``.json`` behind.
        format: ``onnx``, or ``torch`` for `torch.export`.
        precision: ``fp32``; of ONNX also ``fp16`` and ``int8``, which are refused where they do not pay or lose too much.
        opset: version of ONNX's operator set; None is 20.
        check: files to check it on, too.
        calibrate: files that say what values are like, for ``int8``; none takes made-up inputs.
        golden: file (.npz) to write with inputs and the network's outputs, ``input_NAME`` and ``output_NAME``.
        force: replace what is there.
        quiet: no progress display.

    Raises:
        ConfigError: an option is wrong, the run is not finished, something is there already, a package is missing, the network is not
            exported so (the message says why), or what was exported is not what the network gives.
        DataError: a file to check with is no input of the model.
        CheckpointError: the model cannot be loaded.

    Example:
        >>> import photic
        >>> result = photic.export("lowlight", "lowlight.onnx")  # doctest: +SKIP
    """
    chosen, level = _checked_words(format, precision, opset, calibrate)
    output, golden = Path(output), None if golden is None else Path(golden)
    sidecar = output.with_name(f"{output.name}.json")
    _check_outputs(output, sidecar, golden, chosen, force)
    if chosen == "onnx":
        require_packages()
    loaded = model if isinstance(model, LoadedModel) else _loaded(model)
    files = _files_of(loaded, [*check, *calibrate])
    job = _Job(loaded, chosen, level, OPSET if opset is None else opset)
    steps = 3 + len(check)
    with counting("Exporting", steps, "steps", quiet=quiet) as advance:
        checks = [Batch(str(path), inputs) for path in check for inputs in files[str(path)]]
        job.make([Batch(str(path), inputs) for path in calibrate for inputs in files[str(path)]])
        advance(1)
        made_up = [Batch("made-up inputs", loaded.task.example(*size, seed=1)) for size in job.sizes()]
        checked = [("made-up inputs of other sizes", job.held_against(made_up))]
        advance(1)
        for path in check:
            checked.append((Path(path).name, job.held_against([batch for batch in checks if batch.what == str(path)])))
            advance(1)
        job.judge(checked)
        seconds = time_ratio(job.program.graph, job.run, loaded.task.example(1, job.timed_size()))
        description = describe_export(
            loaded,
            job.content,
            file=output.name,
            output_format=chosen,
            precision=level,
            interface=job.program.interface,
            least=job.program.least,
            checked=checked,
            loss=job.loss([*made_up, *checks], checked),
            seconds=seconds,
            opset=job.opset if chosen == "onnx" else None,
        )
        contents = {output: job.content, sidecar: (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()}
        _write(contents if golden is None else contents | {golden: _golden(job, made_up[0])})
        advance(1)
    return ExportResult(output, sidecar, golden, description)


class _Job:
    """One export under way."""

    content: bytes
    run: Runner

    def __init__(self, model: LoadedModel, output_format: Format, precision: Precision, opset: int) -> None:
        self.model, self.format, self.precision, self.opset = model, output_format, precision, opset
        self.network = str(model.config["model"]["name"])
        self.program: Program = captured(model.task, self.network, output_format, precision)

    def make(self, calibration: Sequence[Batch]) -> None:
        """Make the file's content and what runs it."""
        interface = self.program.interface
        if self.format == "torch":
            self.content = program_bytes(self.program)
            self.run = ProgramRunner(self.content)
            return
        made = onnx_model(self.program, self.network, self.opset)
        if self.precision != "fp32":
            plain = len(made.SerializeToString())
            made = in_half(made, interface) if self.precision == "fp16" else in_integers(made, interface, calibration or self._made_up())
            check_gain(self.precision, len(made.SerializeToString()), plain)
        self.content = made.SerializeToString()
        self.run = OnnxRunner(self.content, interface)

    def _made_up(self) -> list[Batch]:
        size = self.timed_size()
        return [Batch("made-up inputs", self.model.task.example(1, size, seed=100 + number)) for number in range(_CALIBRATED)]

    def sizes(self) -> list[tuple[int, tuple[int, int] | None]]:
        """Return samples and sizes of the batches to check with."""
        return [*self.program.other_sizes(), *([] if self.model.image_size is None else [(1, self.model.image_size)])]

    def timed_size(self) -> tuple[int, int] | None:
        """Return the size that it is timed at."""
        least = self.program.least
        if "height" not in least:
            return None
        return self.model.image_size or (max(_TIMED_PX, least["height"]), max(_TIMED_PX, least["width"]))

    def held_against(self, batches: Sequence[Batch]) -> list[Difference]:
        """Return how far it is from the network."""
        return differences(self.program.graph, self.run, self.program.interface, batches)

    def judge(self, checked: Sequence[tuple[str, Sequence[Difference]]]) -> None:
        """Refuse what is not what the network gives, or has lost too much.

        Raises:
            ConfigError: it is not.
        """
        for what, found in checked:
            if self.precision != "fp32":
                check_loss(self.precision, found, isinstance(self.model.task, MultilabelClassification))
            elif off := beyond(found):
                raise ConfigError(
                    f"{what}: the exported graph is not what the network '{self.network}' gives: {'; '.join(one.text() for one in off)}, "
                    f"allowed is a relative difference of {TOLERANCE:g}; nothing was written, please report this"
                )

    def loss(self, batches: Sequence[Batch], checked: Sequence[tuple[str, Sequence[Difference]]]) -> dict[str, Any] | None:
        """Return what a lower precision cost, None for fp32."""
        if self.precision == "fp32":
            return None
        found: dict[str, Any] = {}
        for what, differing in checked:
            for one in differing:
                psnr = "no difference" if one.psnr_db is None else f"{one.psnr_db:.1f} dB"
                found[f"{one.output}, {what}"] = f"largest {one.absolute:.3g}, mean {one.mean:.3g}, PSNR {psnr}"
        if isinstance(self.model.task, MultilabelClassification):
            own, other = (
                [row for batch in batches for row in run(batch.inputs)[0].tolist()]
                for run in (lambda inputs: own_outputs(self.program.graph, inputs, ()), self.run)
            )
            found["decisions changed"] = f"{decisions_changed(own, other, self.model.thresholds):.2%} of {len(own)} pictures x classes"
        return found


def _loaded(model: Path | str) -> LoadedModel:
    source = model_source(model)
    if source.is_dir():
        run = Run.open(source)
        if run.results.get("status") != "completed":
            raise ConfigError(
                f"{run.path}: this run is not finished (status {run.results.get('status', 'unknown')}), so its thresholds are not tuned "
                f"and it was not tested; finish it: photic train --resume {run.path}"
            )
    return load(model_file(source), "cpu")


def _checked_words(output_format: str, precision: str, opset: int | None, calibrate: Sequence[Path | str]) -> tuple[Format, Precision]:
    if output_format not in SUFFIXES:
        raise ConfigError(f"format: expected {' or '.join(SUFFIXES)}, got '{output_format}'{nearest(output_format, SUFFIXES)}")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected {', '.join(PRECISIONS)}, got '{precision}'{nearest(precision, PRECISIONS)}")
    if output_format == "torch" and (precision != "fp32" or opset is not None):
        what = f"precision={precision}" if precision != "fp32" else f"opset={opset}"
        raise ConfigError(f"{what}: only for format=onnx; a program of torch.export runs in the precision of the network")
    if opset is not None and not OPSETS[0] <= opset <= OPSETS[1]:
        raise ConfigError(f"opset: expected {OPSETS[0]} to {OPSETS[1]}, got {opset}")
    if calibrate and precision != "int8":
        raise ConfigError("calibrate: only int8 needs to know what values are like; leave it out, or set precision=int8")
    return output_format, precision


def _check_outputs(output: Path, sidecar: Path, golden: Path | None, output_format: Format, force: bool) -> None:
    suffix = SUFFIXES[output_format]
    if output.suffix != suffix:
        raise ConfigError(f"{output}: a file of the format {output_format} ends in {suffix}, for example {output.with_suffix(suffix).name}")
    if golden is not None and golden.suffix != ".npz":
        raise ConfigError(f"{golden}: golden inputs and outputs are written as .npz, for example {golden.with_suffix('.npz').name}")
    for path in (output, sidecar, golden):
        if path is not None and path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the name of a file to write")
        if path is not None and path.exists() and not force:
            raise ConfigError(f"{path}: is there already; give another name, or force (--force) to replace it")


def _files_of(model: LoadedModel, paths: Sequence[Path | str]) -> Mapping[str, list[tuple[Any, ...]]]:
    """Return what the network is given of files, read as prediction reads them."""
    if not paths:
        return {}
    task = str(model.config["task"]["name"])
    reference = file_model_of(task)
    if reference is None:
        raise ConfigError(f"{model.source}: no installed application takes files with models of the task '{task}'; leave --check away")
    opened: FileModel = load_reference(reference)(model)
    return {str(path): list(_tensors(opened, Path(path))) for path in paths}


def _tensors(opened: FileModel, path: Path) -> Iterator[tuple[Any, ...]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give {opened.what} to check with")
    for inputs in opened.tensors(path, opened.options_type()):
        yield tuple(tensor.detach().cpu().contiguous() for tensor in inputs)


def _write(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or none."""
    try:
        with ExitStack() as stack:
            for path, content in contents.items():
                stack.enter_context(atomic_path(path)).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{next(iter(contents))}: cannot be written: {error.strerror or error}; nothing was changed there") from error


def _golden(job: _Job, batch: Batch) -> bytes:
    """Return inputs and the network's own outputs as an NPZ file."""
    interface, graph = job.program.interface, job.program.graph
    outputs = own_outputs(graph, batch.inputs, job.run(batch.inputs))
    arrays = {f"input_{port.name}": tensor.numpy() for port, tensor in zip(interface.inputs, batch.inputs, strict=True)}
    arrays |= {f"output_{port.name}": tensor.numpy() for port, tensor in zip(interface.outputs, outputs, strict=True)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
