"""What every file model keeps to: files whole or not at all, options that say what they are, one graph for evaluation and prediction."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.rawnind.compressing import encoding
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.files.reading import read_raw
from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.plugins import installed_plugins
from photic.core.schema import field_types
from photic.data.photo.files import read_photo
from photic.inference.file_model import FileModel, FileOptions, open_file_model, options_of, with_warnings

from ..tiny_models import NETWORKS, WRITERS, tiny_bundle, tiny_task, write_picture, write_raw, write_scan

TASKS = tuple(NETWORKS)
WRITING = tuple(task for task in TASKS if task != "multilabel_classification")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileModel]:
    folder = tmp_path_factory.mktemp("models")
    return {task: open_file_model(tiny_bundle(task, folder), "cpu") for task in TASKS}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a file for each task."""
    folder = tmp_path_factory.mktemp("sources")
    return {task: write(folder / f"{task}{ending}", 1) for task, (write, ending) in WRITERS.items()}


def test_every_registered_file_model_is_here() -> None:
    own = {task for plugin in installed_plugins().values() if plugin.package.startswith("photic.") for task in plugin.file_models}
    assert own == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_options_say_what_they_are_and_name_no_files(made: dict[str, FileModel], task: str) -> None:
    kind = made[task].options_type
    assert issubclass(kind, FileOptions)
    kind()  # every field has a default
    documented = {name for base in kind.__mro__ if issubclass(base, FileOptions) for name in _documented(base)}
    assert documented == set(field_types(kind))
    for name, hint in field_types(kind).items():
        assert not _names_files(hint), f"{name}: a client must not name files"


def _documented(kind: type) -> list[str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    return [
        one.target.id
        for one, after in pairwise(body)
        if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    ]


def _names_files(hint: Any) -> bool:
    return hint in (Path, str) or any(_names_files(part) for part in typing.get_args(hint) if not isinstance(part, str))


@pytest.mark.parametrize("task", TASKS)
def test_endings_are_endings_and_results_have_one_that_can_be_written(made: dict[str, FileModel], sources: Any, task: str) -> None:
    model = made[task]
    assert model.endings
    assert all(ending.startswith(".") and ending == ending.lower() for ending in (*model.endings, *model.writable))
    assert sources[task].suffix in model.endings
    if task in WRITING:
        assert model.ending(sources[task]).lower() in model.writable_of(sources[task])
        assert set(model.writable_of(sources[task])) <= set(model.writable)
    else:
        assert (model.writable, model.ending(sources[task])) == ((), "")


@pytest.mark.parametrize("task", WRITING)
def test_a_result_replaces_nothing_unasked_and_shares_sum_to_at_most_one(
    made: dict[str, FileModel], sources: Any, tmp_path: Path, task: str
) -> None:
    model, source = made[task], sources[task]
    output, options = tmp_path / f"new folder/out{model.ending(source)}", model.options_type()
    shares: list[float] = []
    answer = with_warnings(lambda: model.apply(source, output, options, advance=shares.append))
    assert answer.files == model.files_of(source, output) == (output,)
    assert 0 < sum(shares) <= 1 + 1e-9
    assert all(share >= 0 for share in shares)
    before = output.read_bytes()
    with pytest.raises(ConfigError, match=r"there already|exists"):
        model.apply(source, output, options)
    with pytest.raises(ConfigError, match="ends in"):
        model.apply(source, tmp_path / "out.docx", options)
    with pytest.raises(ConfigError, match="ends in"):
        model.apply(source, None, options)
    assert output.read_bytes() == before
    with_warnings(lambda: model.apply(source, output, options, force=True))
    assert [path.name for path in output.parent.iterdir()] == [output.name]


@pytest.mark.parametrize("task", TASKS)
def test_wrong_options_and_files_are_refused_and_leave_nothing(made: dict[str, FileModel], tmp_path: Path, task: str) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Others(FileOptions):
        """Options of nobody."""

    model, options = made[task], made[task].options_type()
    junk = tmp_path / f"junk{model.endings[0]}"
    junk.write_bytes(bytes(range(256)) * 4)
    output = tmp_path / f"out{model.ending(junk)}" if model.writable else None
    with pytest.raises(ConfigError, match="options: expected"):
        model.apply(junk, output, Others())
    for given in (junk, tmp_path / f"absent{model.endings[0]}", tmp_path):
        with pytest.raises((DataError, ConfigError)) as refused:
            model.apply(given, tmp_path / "out.tif" if given is tmp_path and task == "raw_denoising" else output, options)
        assert str(given) in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [junk.name]


@pytest.mark.parametrize("task", TASKS)
def test_what_is_larger_than_allowed_is_refused(made: dict[str, FileModel], sources: Any, tmp_path: Path, task: str) -> None:
    model, source = made[task], sources[task]
    kept = model.max_pixels
    model.max_pixels = 900
    try:
        with pytest.raises(DataError, match=r"limit|allowed"):
            model.apply(source, tmp_path / f"out{model.ending(source)}" if model.writable else None, model.options_type())
    finally:
        model.max_pixels = kept
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", WRITING)
def test_a_full_disk_leaves_nothing(made: dict[str, FileModel], sources: Any, tmp_path: Path, task: str, full_disk: Any) -> None:
    model, source = made[task], sources[task]
    with full_disk(64), pytest.raises(StorageError, match="cannot be written"):
        model.apply(source, tmp_path / f"out{model.ending(source)}", model.options_type())
    assert list(tmp_path.iterdir()) == []


def test_files_that_point_to_others_are_refused_where_that_is_guarded(made: dict[str, FileModel], tmp_path: Path) -> None:
    model = made["ptychography"]
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["patterns"] = np.zeros((4, 32, 32))
        file["virtual"] = np.zeros(3)

    def external(file: Any) -> None:
        file["entry/data"] = h5py.ExternalLink(str(secret), "/patterns")

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "virtual", (3,))
        file.create_virtual_dataset("data", layout)

    def outside(file: Any) -> None:
        file.create_dataset("deep/er/data", (8,), "u1", external=[(str(secret), 0, 8)])

    def within(file: Any) -> None:
        file["a"] = np.zeros(3)
        file["soft"] = h5py.SoftLink("/a")
        file["loop"] = file["/"]

    makers: list[Callable[[Any], None]] = [external, virtual, outside, within]
    model.is_guarded = True
    try:
        for make in makers:
            path = tmp_path / f"{make.__name__}.h5"
            with h5py.File(path, "w") as file:
                make(file)
            with pytest.raises(DataError, match="no reader fits" if make is within else r"points to another file \('secret\.h5'\)"):
                model.apply(path, tmp_path / "out.npz", model.options_type())
        source = write_scan(tmp_path / "scan.npz", 1)
        model.apply(source, tmp_path / "out.npz", model.options_type())
    finally:
        model.is_guarded = False
    assert str(tmp_path) not in (tmp_path / "out.npz").read_bytes().decode("latin-1")


# --- one graph -----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_evaluation_and_prediction_use_the_deployed_graph(made: dict[str, FileModel], sources: Any, tmp_path: Path, task: str) -> None:
    """What a step of evaluation says, what the deployed graph gives, and what lies in the file that is written: one and the same."""
    model, source = made[task], sources[task]
    graph, run = model.model.task.deployable(), tiny_task(task)[0]  # of the bundle; as training left it
    options = options_of(model.options_type, {"patches": True} if task == "ptychography" else {})
    given = next(iter(model.tensors(source, options)))
    output = tmp_path / f"out{model.ending(source)}" if model.writable else None
    answer = model.apply(source, output, options)
    with torch.inference_mode():
        deployed = graph(*given) if task != "compression" else graph(*given).picture
        evaluated = run.step(_batch(task, given, deployed), "test").prediction
    # Files are made with another layout of memory where that is quicker, in which sums are rounded otherwise.
    torch.testing.assert_close(evaluated.reshape(deployed.shape), deployed, rtol=0, atol=1e-6 if task == "raw_denoising" else 0)
    expected = deployed[0].numpy()
    if task == "multilabel_classification":
        np.testing.assert_allclose(list(answer.values["probabilities"].values()), expected, atol=5e-7)
        return
    assert output is not None
    if task == "enhancement":
        np.testing.assert_array_equal(read_photo(output).pixels, np.rint(255 * expected.transpose(1, 2, 0)).astype(np.uint8))
    elif task == "raw_denoising":  # 16 bits, which reach a little below black
        stored = read_raw(output).values
        np.testing.assert_allclose(stored, expected.transpose(1, 2, 0).clip(stored.min(), None), atol=1e-4)
    elif task == "compression":
        back = decompress_picture(model.model, output.read_bytes()).values
        np.testing.assert_allclose(back, expected.transpose(1, 2, 0)[: back.shape[0], : back.shape[1]], atol=1e-6)  # it is continued
    else:
        patches = Reconstruction.load(output).patches
        assert patches is not None
        np.testing.assert_array_equal(patches[: len(deployed)], deployed[:, 0].numpy())


def _batch(task: str, given: tuple[torch.Tensor, ...], deployed: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a batch of a split as evaluation gets it."""
    names = {
        "enhancement": ("measurement", "overview"),
        "raw_denoising": ("measurement", "planes", "noise", "balance"),
        "compression": ("measurement", "planes", "noise", "balance", "quality"),
    }.get(task, ("measurement",))
    batch = dict(zip(names, given, strict=True))
    rows = len(given[0])
    if task == "ptychography":
        places = torch.arange(rows)[:, None]
        return batch | {"target": given[0], "offsets": torch.zeros(rows, 1, 2), "rows": places, "scan": torch.zeros(rows, dtype=torch.long)}
    more = {"target": torch.zeros_like(deployed), "xyz_to_camera": torch.eye(3).expand(rows, 3, 3), "iso": torch.full((rows,), 800.0)}
    return batch | more


# --- parts and the whole -------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "size", "tile_px"), [("enhancement", (250, 330), 192), ("raw_denoising", (240, 400), 200)])
def test_tiles_give_what_the_whole_gives(
    made: dict[str, FileModel], tmp_path: Path, task: str, size: tuple[int, int], tile_px: int
) -> None:
    model = made[task]
    source = (write_picture if task == "enhancement" else write_raw)(tmp_path / f"in{WRITERS[task][1]}", 2, size)
    pictures = []
    for number, tile in enumerate((None, tile_px)):
        output = tmp_path / f"{number}{model.ending(source)}"
        model.apply(source, output, options_of(model.options_type, {"tile_px": tile}))
        pictures.append(read_photo(output).pixels.astype(float) if task == "enhancement" else read_raw(output).values)
    assert np.abs(pictures[0] - pictures[1]).max() <= (1 if task == "enhancement" else 2e-4)


def test_windows_of_a_compressor_give_the_very_file(made: dict[str, FileModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made["compression"]
    source = write_raw(tmp_path / "in.dng", 2, (160, 240))
    model.apply(source, tmp_path / "whole.phc", model.options_type())
    monkeypatch.setattr(encoding, "WINDOW_PX", 64)
    model.apply(source, tmp_path / "windows.phc", model.options_type())
    whole, windows = (decompress_picture(model.model, (tmp_path / f"{name}.phc").read_bytes()) for name in ("whole", "windows"))
    np.testing.assert_allclose(windows.values, whole.values, atol=1e-6)


@pytest.mark.parametrize("task", ["multilabel_classification", "ptychography"])
def test_batches_give_what_one_by_one_gives(made: dict[str, FileModel], sources: Any, tmp_path: Path, task: str) -> None:
    model: Any = made[task]
    if task == "ptychography":
        found = []
        for size in (1, 16):
            model.apply(sources[task], tmp_path / f"{size}.npz", options_of(model.options_type, {"batch_size": size}))
            found.append(Reconstruction.load(tmp_path / f"{size}.npz").stitched())
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
        return
    options = model.options_type()
    files = [shutil.copy(sources[task], tmp_path / "a.png"), write_picture(tmp_path / "b.png", 5)]
    items = [model.read(Path(file), options) for file in files]
    together = [answer.values["probabilities"] for answer in model.answers(items, options)]
    for one, file in zip(together, files, strict=True):
        assert model.apply(Path(file), None, options).values["probabilities"] == pytest.approx(one, abs=2e-6)


@pytest.mark.parametrize("task", TASKS)
def test_exports_are_checked_with_what_the_network_is_given_of_a_file(
    made: dict[str, FileModel], sources: Any, tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, options = made[task], made[task].options_type()
    graph: Any = model.model.task.graph
    seen: list[tuple[Any, ...]] = []
    if task == "compression":  # it uses the network's parts
        original = graph.network.analysed
        monkeypatch.setattr(graph.network, "analysed", lambda *given: [seen.append(given), original(*given)][1])
    part = graph if task in ("multilabel_classification", "ptychography") else graph.network
    handle = part.register_forward_pre_hook(lambda _, given: seen.append(given))
    with_warnings(lambda: model.apply(sources[task], tmp_path / f"out{model.ending(sources[task])}" if model.writable else None, options))
    handle.remove()
    monkeypatch.undo()
    parts = list(model.tensors(sources[task], options))
    interface = model.model.task.interface()
    for inputs in parts:
        for port, tensor in zip(interface.inputs, inputs, strict=True):
            assert str(tensor.dtype) == f"torch.{port.dtype}", port.name
            assert all(isinstance(axis, str) or axis == size for axis, size in zip(port.shape, tensor.shape, strict=True)), port.name
    first = seen[0]
    if task == "enhancement":  # the command decides first, the graph decides by the overview
        picture, small = parts[0]
        with torch.inference_mode():
            assert torch.equal(graph.decide(small), first[2])
        assert torch.equal(picture, first[0])
        return
    count = len(parts[0][0]) if task == "ptychography" else None  # a few patterns are enough
    for given, own in zip(first, parts[0], strict=True):
        assert torch.equal(given[:count], own)
