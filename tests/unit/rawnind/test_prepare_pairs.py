"""`photic data prepare rawnind` on small raw files: what comes out, what is rejected, and that an interrupted call goes on."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.pairs.check_pairs import main as check
from photic.apps.rawnind.pairs.index import read_index
from photic.apps.rawnind.pairs.pair_preparation import TileSettings, safe_name
from photic.apps.rawnind.pairs.preparation import prepare
from photic.apps.rawnind.pairs.prepare import main
from photic.apps.rawnind.pairs.tiles import OpenTiles, demosaiced, on_anchor, open_tile, pack_mosaic, tile_starts, unpack_mosaic, write_tile
from photic.core.errors import ConfigError, DataError

from .raws_on_disk import BLACK, WHITE, drawn_light, mosaic_of, with_noise, write_dng

HEIGHT, WIDTH = 128, 160
SETTINGS = TileSettings(tile_px=48, stride_px=32, max_shift_px=12)
MARGIN = 16


def scene(seed: int, dy: int = 0, dx: int = 0) -> np.ndarray:
    """Return the light of a scene, the camera moved by packed pixels: what is at [y, x] lies at [y + dy, x + dx] then."""
    light = drawn_light(seed, HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, (5, 12))
    top, left = MARGIN - 2 * dy, MARGIN - 2 * dx
    return light[top : top + HEIGHT, left : left + WIDTH]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a flat folder: a pair moved by (-1, 2), one clipped, a picture of another camera, one that is broken."""
    root = tmp_path_factory.mktemp("raws")
    clean = mosaic_of(scene(0), "GBRG")
    write_dng(root / "clean.dng", with_noise(clean, 1, 1e-5, 1e-7), order="GBRG", iso=100, exposure_s=0.1)
    moved = mosaic_of(scene(0, -1, 2), "GBRG") / 4
    write_dng(root / "noisy.dng", with_noise(moved, 2, 1e-3, 1e-6), order="GBRG", iso=3200, exposure_s=0.025)
    write_dng(root / "over.dng", with_noise(clean * 2.6, 3, 1e-5, 1e-7), order="GBRG", iso=100, exposure_s=0.26)
    write_dng(root / "phone.dng", with_noise(clean / 2, 4, 1e-4, 1e-6), order="GBRG", iso=100, exposure_s=0.05, model="Phone")
    (root / "torn.dng").write_bytes((root / "clean.dng").read_bytes()[:2000])
    return root


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    return prepare(folder, tmp_path_factory.mktemp("out") / "pairs", settings=SETTINGS)


def contents(output: Path) -> dict[str, bytes]:
    """Return everything that training reads."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and "records" not in path.parts
    }


def test_a_pair_is_aligned_matched_and_described(prepared):
    (pair,) = prepared.index.pairs
    assert (pair.gt_path, pair.noisy_path, pair.image_set) == ("clean.dng", "noisy.dng", "clean")
    assert pair.shift == (-1, 2)
    assert pair.raw_gain == pytest.approx(4, rel=0.005)
    assert pair.rgb_gain == pytest.approx(4, rel=0.01)
    assert (pair.iso, pair.gt_iso, pair.camera) == (3200, 100, "Photic Test 1")
    assert pair.noise == pytest.approx((1e-3, 0), abs=3e-4)
    assert pair.subpixel_residual == pytest.approx((0, 0), abs=0.1)
    assert pair.size == ((HEIGHT - 2) // 2, WIDTH // 2)
    assert pair.white_balance == pytest.approx((1.8, 1, 1.4), rel=1e-3)
    assert pair.mask_mean > 0.9
    assert pair.is_bayer


def test_what_cannot_be_used_is_listed_with_its_reason(prepared):
    kinds = {one.noisy_path: (one.kind, one.reason) for one in prepared.index.rejected}
    assert set(kinds) == {"over.dng", "phone.dng", "torn.dng"}
    assert kinds["over.dng"][0] == "clipped"
    assert "pixels are valid" in kinds["over.dng"][1] and "over-exposed" in kinds["over.dng"][1]
    assert kinds["phone.dng"] == ("different cameras", "has camera Photic Phone, its anchor clean.dng Photic Test 1; a pair needs the same")
    assert kinds["torn.dng"][0] == "unreadable"
    assert read_index(prepared.path).rejected == prepared.index.rejected


def test_tiles_are_the_pictures_on_the_anchor_s_grid(folder, prepared):
    (pair,), output = prepared.index.pairs, prepared.path.parent
    height, width = pair.size
    starts = [(y, x) for y in tile_starts(height, 48, 32) for x in tile_starts(width, 48, 32)]
    assert [crop.position for crop in pair.crops] == starts == [(0, 0), (0, 32), (15, 0), (15, 32)]
    clean, noisy = ((_raw(folder / name) - BLACK) / (WHITE - BLACK) for name in ("clean.dng", "noisy.dng"))
    clean, noisy = (pack_mosaic(values[1:-1].astype(np.float32)) for values in (clean, noisy))  # GBRG becomes RGGB without a row
    mask = np.asarray(Image.open(output / pair.mask_path)) > 0
    assert mask.shape == (height, width)
    for crop in pair.crops:
        y, x = crop.position
        here = (slice(None), slice(y, y + 48), slice(x, x + 48))
        tiles = {name: open_tile(output / getattr(crop, f"{name}_path")) for name in ("gt", "gt_rgb", "noisy", "mask")}
        assert [tile.dtype for tile in tiles.values()] == [np.float16, np.float16, np.float16, bool]
        assert isinstance(tiles["noisy"], np.memmap)
        np.testing.assert_array_equal(tiles["gt"], clean[here].astype(np.float16))
        np.testing.assert_array_equal(tiles["noisy"], on_anchor(noisy, pair.shift)[here].astype(np.float16))
        np.testing.assert_array_equal(tiles["mask"], mask[here[1:]])
        assert crop.valid_share == pytest.approx(tiles["mask"].mean(), abs=1e-6)  # per pixel, not summed over colours
        # The target keeps the samples that were known, and shows what the noisy picture shows.
        known = tiles["gt_rgb"][(0, 1, 1, 2), :, :].astype(np.float32)
        np.testing.assert_allclose(known[0, ::2, ::2], tiles["gt"][0], atol=1e-3)
        np.testing.assert_allclose(known[1, ::2, 1::2], tiles["gt"][1], atol=1e-3)
        np.testing.assert_allclose(known[3, 1::2, 1::2], tiles["gt"][3], atol=1e-3)
        difference = pair.raw_gain * tiles["noisy"][:, tiles["mask"]].astype(np.float64) - tiles["gt"][:, tiles["mask"]]
        assert np.abs(difference.mean()) < 2e-3
        assert difference.std() < 0.05


def _raw(path: Path) -> np.ndarray:
    """Read the values of a DNG that was written here."""
    start = path.stat().st_size
    data = path.read_bytes()
    first = int.from_bytes(data[4:8], "little")
    start = first - 2 * HEIGHT * WIDTH
    return np.frombuffer(data[start:first], "<u2").reshape(HEIGHT, WIDTH).astype(np.float64)


def test_outside_of_what_both_show_nothing_counts(prepared):
    (pair,), output = prepared.index.pairs, prepared.path.parent
    mask = np.asarray(Image.open(output / pair.mask_path)) > 0
    assert not mask[0].any()  # other[y - 1] does not exist
    assert not mask[:, -2:].any()
    assert mask[1:, :-2].mean() > 0.9


def test_an_interrupted_call_goes_on_and_gives_the_same(folder, prepared, tmp_path):
    output = tmp_path / "pairs"
    shutil.copytree(prepared.path.parent, output)
    before = contents(prepared.path.parent)
    # As if killed: half a tile, tiles and results missing, no index.
    (output / "index.yaml").unlink()
    crops = prepared.index.pairs[0].crops
    (output / crops[1].noisy_path).unlink()
    (output / crops[0].gt_rgb_path).unlink()
    (output / crops[0].noisy_path).with_name(".y.npy.1-2.tmp").write_bytes(b"half")
    next((output / "records" / "pictures").iterdir()).write_text('{"key": "cut sh')
    shutil.copy(output / crops[0].mask_path, output / "tiles" / "pairs" / "stale.npy")
    again = prepare(folder, output, settings=SETTINGS)
    assert again.reused == 1  # the rejected one
    assert {name: data for name, data in contents(output).items() if name != "index.yaml"} == {
        name: data for name, data in before.items() if name != "index.yaml"
    }
    assert again.index.pairs == prepared.index.pairs
    assert again.index.rejected == prepared.index.rejected
    stamps = {path: path.stat().st_mtime_ns for path in output.rglob("*.npy")}
    third = prepare(folder, output, settings=SETTINGS)
    assert third.reused == 2
    assert stamps == {path: path.stat().st_mtime_ns for path in output.rglob("*.npy")}


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same_with_any_number_of_processes(folder, prepared, tmp_path):
    output = prepared.path.parent.parent / "killed"
    command = [
        sys.executable,
        "-c",
        "import sys; from photic.cli.main import main; sys.exit(main(sys.argv[1:]))",
        "data",
        "prepare",
        "rawnind",
    ]
    command += [str(folder), "-o", str(output), "--tile", "48", "--stride", "32", "--max-shift", "12", "--quiet", "--workers"]
    for wanted in ("records/pictures/*.json", "records/pairs/*.json", "records/anchors/*.json"):
        with subprocess.Popen([*command, "2"], stdout=subprocess.DEVNULL, start_new_session=True) as process:
            while process.poll() is None and not list(output.glob(wanted)):
                time.sleep(0.02)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert subprocess.run([*command, "1"], check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert contents(output) == contents(prepared.path.parent)


def test_the_command_says_what_came_out(folder, prepared, tmp_path, capsys):
    output = tmp_path / "pairs"
    shutil.copytree(prepared.path.parent, output)
    words = [str(folder), "-o", str(output), "--tile", "48", "--stride", "32", "--max-shift", "12", "--workers", "1", "--quiet"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "1 pair of 1 scene, 4 tiles" in text
    assert "shift (-1, +2) packed px" in text
    assert "3 REJECTED: 1 clipped" in text
    assert str(output / "index.yaml") in text
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "examples:" in capsys.readouterr().out


def test_folders_of_something_else_and_wrong_settings_are_refused(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds something else"):
        prepare(folder, tmp_path / "mine")
    with pytest.raises(ConfigError, match="is a file"):
        prepare(folder, tmp_path / "mine" / "letter.txt")
    with pytest.raises(ConfigError, match="stride"):
        prepare(folder, tmp_path / "out", settings=TileSettings(tile_px=64, stride_px=65))
    with pytest.raises(ConfigError, match="valid share"):
        prepare(folder, tmp_path / "out", settings=TileSettings(min_valid_share=0))
    assert not (tmp_path / "out").exists()


# --- tiles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "tile", "stride"), [(10, 16, 12), (16, 16, 12), (17, 16, 12), (2000, 1024, 768), (1792, 1024, 768)])
def test_tiles_cover_a_side_and_none_reaches_beyond(side, tile, stride):
    starts = tile_starts(side, tile, stride)
    covered = np.zeros(side, bool)
    for start in starts:
        covered[start : start + tile] = True
        assert start + min(tile, side) <= side
    assert covered.all()
    assert len(set(starts)) == len(starts)
    assert all(b - a <= stride for a, b in itertools.pairwise(starts))


def test_packing_and_moving_keep_values_at_their_places():
    mosaic = np.arange(48, dtype=np.float32).reshape(6, 8)
    packed = pack_mosaic(mosaic)
    assert packed[:, 0, 0].tolist() == [0, 1, 8, 9]
    np.testing.assert_array_equal(unpack_mosaic(packed), mosaic)
    moved = on_anchor(packed, (1, -2))
    assert moved[0, 0, 2] == packed[0, 1, 0]
    assert (moved[:, -1] == 0).all() and (moved[:, :, :2] == 0).all()
    with pytest.raises(DataError, match="even sides"):
        pack_mosaic(mosaic[:5])


def test_a_picture_is_demosaiced_in_bands_as_in_one_piece(monkeypatch):
    light = drawn_light(3, 96, 64).astype(np.float32)
    packed = pack_mosaic(mosaic_of(light).astype(np.float32))
    whole = demosaiced(packed, np.array([2.0, 1.0, 1.5]))
    monkeypatch.setattr("photic.apps.rawnind.pairs.tiles._BAND_PX", 20)
    np.testing.assert_allclose(demosaiced(packed, np.array([2.0, 1.0, 1.5])), whole, atol=1e-6)
    assert np.abs(whole - light.transpose(2, 0, 1)).mean() < 0.01


def test_damaged_tiles_are_named(tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(DataError, match="no such tile"):
        open_tile(path)
    write_tile(path, np.ones((4, 8, 8), np.float32))
    whole = path.read_bytes()
    for data in (b"", whole[:60], whole[:200], b"\x93NUMPY\x01\x00\xff\xff", b"text"):
        path.write_bytes(data)
        with pytest.raises(DataError, match="damaged"):
            open_tile(path)
    np.save(path, np.ones(3))
    with pytest.raises(DataError, match="no tile"):
        open_tile(path)


def test_tiles_stay_open_and_go_to_other_processes_empty(tmp_path):
    for number in range(4):
        write_tile(tmp_path / f"{number}.npy", np.full((4, 8, 8), number, np.float32))
    tiles = OpenTiles(tmp_path, most=2)
    assert [float(tiles[f"{number}.npy"][0, 0, 0]) for number in (0, 1, 2, 3, 0)] == [0, 1, 2, 3, 0]
    assert tiles["0.npy"] is tiles["0.npy"]
    assert len(pickle.dumps(tiles)) < 1000
    assert float(pickle.loads(pickle.dumps(tiles))["3.npy"][0, 0, 0]) == 3


def test_names_stay_below_the_folder():
    assert safe_name("../../etc/x") == "_/_/etc/x"
    assert safe_name("Bayer_a_ISO50_sha1=ab") == "Bayer_a_ISO50_sha1=ab"
    assert safe_name('a\\b:c"') == "a_b_c_"


# --- check ----------------------------------------------------------------------------------------


def test_a_prepared_folder_is_checked_and_damage_found(prepared, tmp_path, capsys):
    assert check(["--quiet", str(prepared.path.parent), "--json", str(tmp_path / "c.json")]) == 0
    text = capsys.readouterr().out
    assert "1 pair of 1 scene, 4 tiles" in text
    assert "no problems" in text
    assert json.loads((tmp_path / "c.json").read_text())["pairs"][0]["shift"] == [-1, 2]
    with pytest.raises(ConfigError, match="is there already"):
        check(["--quiet", str(prepared.path.parent), "--json", str(tmp_path / "c.json")])
    output = tmp_path / "pairs"
    shutil.copytree(prepared.path.parent, output)
    crops = prepared.index.pairs[0].crops
    (output / crops[0].noisy_path).unlink()
    write_tile(output / crops[1].mask_path, np.zeros((48, 48), bool))
    write_tile(output / crops[2].gt_rgb_path, np.zeros((3, 48, 48), np.float32))
    assert check(["--quiet", str(output)]) == 1
    text = capsys.readouterr().out
    assert "tile (2)" in text and "mask (1)" in text and "3 problems" in text


def test_raw_files_are_checked_before_they_are_prepared(folder, tmp_path, capsys):
    for name in ("clean.dng", "noisy.dng", "torn.dng"):
        shutil.copy(folder / name, tmp_path)
    assert check(["--quiet", str(tmp_path)]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "3 raw files, 1 pair of 1 scene to be prepared" in text
    assert "unreadable (1)" in text and "torn.dng" in text
