"""The result of a reconstruction: what it holds, its files, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import pickle

import h5py
import numpy as np
import pytest

from photic.apps.ptycho.coverage import bounding_box, largest_rectangle, typical_coverage, well_covered
from photic.apps.ptycho.reconstruction import Reconstruction, refuse_outputs, write_outputs
from photic.core.errors import ConfigError, DataError, StorageError

rng = np.random.default_rng(0)


def noise(*shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def example(**changes):
    coverage = np.zeros((20, 30), np.float32)
    coverage[4:16, 5:25] = 2.0
    values: dict = dict(  # noqa: C408
        object=noise(20, 30), coverage=coverage, origin_px=(-3, 7), positions_px=rng.random((5, 2)) * 20, probe=noise(2, 8, 8),
        patches=noise(5, 8, 8), r_amp=0.15, history=(0.5, 0.25), pixel_size_m=1e-8, method="iterative, 2 iterations",
        source="scan ü.npz", metadata={"seconds": 1.5, "seed": 0, "settings": {"batch": [16, None]}},
    )  # fmt: skip
    return Reconstruction(**(values | changes))


def assert_same(a, b):
    for field in dataclasses.fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other, field.name


@pytest.mark.parametrize("ending", ["npz", "h5", "hdf5", "NPZ"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"object": None, "coverage": None}, {"coverage": None, "probe": None, "patches": None, "r_amp": None, "history": (),
      "pixel_size_m": None, "metadata": {}},
     {"positions_px": np.zeros((0, 2)), "patches": None}],
    ids=["all", "patches only", "bare", "no positions"],
)  # fmt: skip
def test_what_was_saved_is_loaded_to_the_bit(tmp_path, ending, changes):
    made = example(**changes)
    path = made.save(tmp_path / "new folder" / f"object.{ending}")
    assert_same(made, Reconstruction.load(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_files_hold_what_is_documented_for_other_programs(tmp_path):
    made = example()
    with np.load(made.save(tmp_path / "a.npz"), allow_pickle=False) as file:
        names = {"object", "coverage", "positions_px", "origin_px", "probe", "patches", "history"}
        assert set(file.files) == {*names, "_metadata"}
        facts = json.loads(str(file["_metadata"]))
        assert facts["metadata"]["settings"] == {"batch": [16, None]} and facts["r_amp"] == 0.15
        assert file["origin_px"].tolist() == [-3, 7]
    with h5py.File(made.save(tmp_path / "a.h5")) as file:
        assert set(file) == names
        assert file["object"].dtype == np.complex64
        assert file["object"].attrs["pixel_size_m"] == 1e-8 and file["object"].attrs["origin_px"].tolist() == [-3, 7]
        assert file["positions_px"].attrs["units"] == "px of the object grid"
        assert file.attrs["method"] == made.method and json.loads(file.attrs["metadata"]) == made.metadata


def test_arrays_get_their_types():
    made = example(object=np.ones((20, 30)), coverage=np.ones((20, 30), int), positions_px=[[1, 2]] * 5, history=[np.float32(0.5)])
    assert made.object.dtype == np.complex64 and made.coverage.dtype == np.float32 and made.positions_px.dtype == np.float64
    assert made.history == (0.5,) and type(made.origin_px[0]) is float


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"object": noise(3, 20, 30)}, ["'object'", "(H, W)", "(3, 20, 30)"]),
        ({"object": np.full((20, 30), np.nan)}, ["'object'", "600 of 600", "diverged"]),
        ({"coverage": np.ones((30, 20))}, ["coverage", "(20, 30)", "(30, 20)"]),
        ({"coverage": -np.ones((20, 30))}, ["coverage", ">= 0"]),
        ({"coverage": np.ones((20, 30), complex)}, ["'coverage'", "float32", "complex128"]),
        ({"positions_px": np.ones((2, 5))}, ["'positions_px'", "(M, 2)", "(2, 5)"]),
        ({"probe": noise(8, 8)}, ["'probe'", "(P, N, N)", "(8, 8)"]),
        ({"probe": noise(1, 8, 7)}, ["'probe'", "(P, N, N)", "(1, 8, 7)"]),
        ({"patches": noise(4, 8, 8)}, ["patches", "5 positions", "4"]),
        ({"object": None, "coverage": None, "patches": None}, ["object", "patches", "None"]),
        ({"object": None}, ["coverage", "None", "(20, 30)"]),
        ({"origin_px": (1, 2, 3)}, ["'origin_px'", "(3,)"]),
        ({"pixel_size_m": 0.0}, ["pixel_size_m", "> 0"]),
        ({"r_amp": float("nan")}, ["r_amp", "finite"]),
        ({"probe": np.array([[["a"]]], dtype=object)}, ["'probe'", "object"]),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named_with_what_was_expected(changes, words):
    with pytest.raises(DataError) as error:
        example(**changes)
    assert all(word in str(error.value) for word in words), error.value


def test_nothing_is_replaced_unless_forced(tmp_path):
    path = example().save(tmp_path / "a.npz")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        example(method="other").save(path)
    assert path.read_bytes() == before
    example(method="other").save(path, force=True)
    assert Reconstruction.load(path).method == "other"


def test_only_known_endings(tmp_path):
    for name in ("a.tif", "a"):
        with pytest.raises(ConfigError, match="npz or .h5"):
            example().save(tmp_path / name)
        with pytest.raises(ConfigError, match="npz or .h5"):
            Reconstruction.load(tmp_path / name)


def test_metadata_must_be_json(tmp_path):
    for value in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(DataError, match="JSON"):
            example(metadata=value).save(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        example().save(tmp_path / "file" / "a.npz")


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def damaged_npz(path, kind):
    example().save(path)
    with np.load(path) as file:
        arrays = dict(file)
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:-400])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "one bit":
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(content)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "single array":
        with path.open("wb") as handle:
            np.save(handle, arrays["object"])
    else:
        change = {
            "no object-dtype": {"object": np.array([[Evil()]], dtype=object)},
            "object-dtype metadata": {"_metadata": np.array(Evil(), dtype=object)},
            "shape": {"probe": arrays["probe"][0]},
            "missing": {"positions_px": None},
            "foreign": {"_metadata": None},
            "no json": {"_metadata": np.array("{")},
            "version": {"_metadata": np.array(json.dumps(json.loads(str(arrays["_metadata"])) | {"schema_version": 9}))},
            "fact": {"_metadata": np.array(json.dumps(json.loads(str(arrays["_metadata"])) | {"r_amp": "good"}))},
        }[kind]
        with path.open("wb") as handle:
            np.savez(handle, **{name: value for name, value in (arrays | change).items() if value is not None})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut short", "damaged, cut short"), ("empty", "damaged, cut short"), ("one bit", "damaged, cut short"),
        ("pickle", "damaged, cut short"),
        ("single array", "single array"), ("no object-dtype", "damaged"), ("object-dtype metadata", "damaged"),
        ("shape", r"'probe': expected shape \(P, N, N\), got \(8, 8\)"), ("missing", r"'positions_px' of shape \(M, 2\)"),
        ("foreign", "key '_metadata'"), ("no json", "'_metadata': expected JSON"), ("version", "schema_version 9, expected 1"),
        ("fact", "'r_amp': expected a number"),
    ],
)  # fmt: skip
def test_bad_npz_files_are_refused_with_key_and_shape(tmp_path, kind, words, capsys):
    path = tmp_path / "bad.npz"
    damaged_npz(path, kind)
    with pytest.raises(DataError, match=words) as error:
        Reconstruction.load(path)
    assert str(path) in str(error.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut short", "damaged, cut short"), ("foreign", "photic-reconstruction"), ("shape", r"'probe': expected shape \(P, N, N\)"),
        ("missing", "'positions_px'"), ("group", "'object': expected a data set"), ("external", "'object': expected a data set"),
        ("texts", "'object'"), ("no json", "'metadata': expected JSON"), ("not finite", "'object': expected finite"),
    ],
)  # fmt: skip
def test_bad_hdf5_files_are_refused_with_key_and_shape(tmp_path, kind, words):
    path = example().save(tmp_path / "bad.h5")
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:2000])
    else:
        with h5py.File(path, "a") as file:
            if kind == "foreign":
                del file.attrs["format"]
            elif kind == "no json":
                file.attrs["metadata"] = "{"
            else:
                key = {"shape": "probe", "missing": "positions_px"}.get(kind, "object")
                del file[key]
                if kind == "group":
                    file.create_group("object")
                elif kind == "external":
                    file["object"] = h5py.ExternalLink(tmp_path / "other.h5", "object")
                elif kind == "texts":
                    file["object"] = np.array([["a"]], dtype=h5py.string_dtype())
                elif kind == "shape":
                    file["probe"] = noise(8, 8)
                elif kind == "not finite":
                    file["object"] = np.full((20, 30), np.inf, np.complex64)
    with pytest.raises(DataError, match=words) as error:
        Reconstruction.load(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Reconstruction.load(tmp_path / "a.npz")


def test_cropping_moves_the_origin_along():
    made = example()
    cut = made.crop_to_coverage()
    assert cut.object.shape == cut.coverage.shape == (12, 20)
    assert cut.origin_px == (2.0, 11.0)
    np.testing.assert_array_equal(cut.object, made.object[4:16, 5:25])
    assert cut.extent_px == (1.5, 21.5, 22.5, 10.5)
    assert example(coverage=None).crop_to_coverage().object.shape == (20, 30)
    with pytest.raises(DataError, match="patches only"):
        example(object=None, coverage=None).crop_to_coverage()
    with pytest.raises(DataError, match="region"):
        made.crop((slice(25, 30), slice(0, 5)))
    with pytest.raises(DataError, match="zero everywhere"):
        example(coverage=np.zeros((20, 30))).crop_to_coverage()


def test_weak_tails_of_the_probe_are_not_well_covered():
    coverage = np.full((50, 50), 1e-3)
    coverage[20:30, 20:30] = 1.0
    assert typical_coverage(coverage) == 1.0
    assert bounding_box(well_covered(coverage)) == (slice(20, 30), slice(20, 30))
    with pytest.raises(DataError, match="share"):
        well_covered(coverage, 0.0)


def test_the_largest_rectangle_equals_an_exhaustive_search():
    for _ in range(30):
        mask = rng.random((7, 9)) < 0.7
        best = max(
            (b - a) * (d - c)
            for a in range(7) for b in range(a + 1, 8) for c in range(9) for d in range(c + 1, 10) if mask[a:b, c:d].all()
        )  # fmt: skip
        rows, columns = largest_rectangle(mask)
        assert mask[rows, columns].all() and mask[rows, columns].size == best
    with pytest.raises(DataError, match="no rectangle"):
        largest_rectangle(np.zeros((3, 3), bool))


def test_the_largest_rectangle_of_a_large_mask_lies_inside_it():
    y, x = np.mgrid[:1300, :1100]
    mask = np.hypot(y - 650, x - 500) < 400
    rows, columns = largest_rectangle(mask)
    assert mask[rows, columns].all() and mask[rows, columns].size > 0.97 * 2 * 400**2


def test_outputs_of_an_object_and_of_patches_alone(tmp_path):
    files = write_outputs(example(), tmp_path / "out")
    expected = {"npz", "h5", "amplitude", "phase", "coverage", "positions", "probe", "convergence"}
    assert set(files) == expected and {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in files.values()}
    assert_same(Reconstruction.load(files["npz"]), Reconstruction.load(files["h5"]))
    assert all(path.read_bytes().startswith(b"\x89PNG") for name, path in files.items() if name not in ("npz", "h5"))

    with pytest.raises(ConfigError, match="and 7 more"):
        write_outputs(example(), tmp_path / "out")
    fewer = write_outputs(example(object=None, coverage=None, history=()), tmp_path / "out", force=True)
    assert set(fewer) == {"npz", "h5", "positions", "probe"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in fewer.values()}


def test_outputs_do_not_go_into_a_file(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match="expected a folder"):
        write_outputs(example(), tmp_path / "out")


@pytest.mark.parametrize("name", ["object.npz", "object.h5", "phase.png", "convergence.png"])
def test_a_folder_that_could_not_be_written_is_refused_before_anything_is_computed(name, tmp_path):
    refuse_outputs(tmp_path / "new", force=False)
    refuse_outputs(tmp_path, force=False)
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(ConfigError, match="is there already"):
        refuse_outputs(tmp_path, force=False)
    refuse_outputs(tmp_path, force=True)
    with pytest.raises(ConfigError, match="expected a folder, found a file"):
        refuse_outputs(tmp_path / name, force=True)
