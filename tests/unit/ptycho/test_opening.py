"""Opening scans: one file or several, declared domains, masks from files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photic.apps.ptycho.opening import open_scans, read_mask, with_mask
from photic.apps.ptycho.raw import RawNPZData, save_raw_npz
from photic.core.errors import DataError

N = 16


def some_mask() -> np.ndarray:
    mask = np.ones((N, N), bool)
    mask[3, 4] = False
    mask[10:12, 7] = False
    return mask


def test_one_path_and_several_in_any_form(scan: RawNPZData, scan_file: Path) -> None:
    for given in (scan_file, str(scan_file), [scan_file], (str(scan_file), scan_file)):
        scans = open_scans(given)
        np.testing.assert_array_equal(scans.scans[0].diffraction[:], scan.diffraction[:])
        assert scans.scans[0].source == str(scan_file)
    assert open_scans([scan_file, scan_file]).num_patterns == 120


def test_no_file_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no scan given"):
        open_scans([])
    with pytest.raises(DataError, match=r"missing\.npz"):
        open_scans(tmp_path / "missing.npz")


@pytest.mark.parametrize("ending", ["npy", "png"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_masks_come_from_arrays_and_pictures_non_zero_is_valid(tmp_path: Path, ending: str, dtype: type) -> None:
    path = tmp_path / f"mask.{ending}"
    if ending == "npy":
        np.save(path, some_mask().astype(dtype))
    else:
        Image.fromarray(some_mask().astype(np.uint8) * 255).save(path)
    found = read_mask(path)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, some_mask())


def test_masks_that_are_none_are_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.ones((2, N, N)))
    with pytest.raises(DataError, match=r"cube\.npy: the mask is float64 of shape \(2, 16, 16\), expected numbers or booleans \(N, N\)"):
        read_mask(tmp_path / "cube.npy")
    np.save(tmp_path / "object.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"object\.npy: no readable mask"):
        read_mask(tmp_path / "object.npy")
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"short\.npy: no readable mask"):
        read_mask(tmp_path / "short.npy")
    for name in ("missing.npy", "missing.png"):
        with pytest.raises(DataError, match=name):
            read_mask(tmp_path / name)


def test_a_mask_is_laid_over_the_scans_own_and_hides_its_pixels(scan: RawNPZData, tmp_path: Path) -> None:
    own = np.ones((N, N), bool)
    own[0, 0] = False
    path = save_raw_npz(tmp_path / "scan.npz", dataclasses.replace(scan, mask=own))
    np.save(tmp_path / "mask.npy", some_mask())
    found = open_scans(path, mask=tmp_path / "mask.npy").scans[0]
    assert found.mask is not None
    np.testing.assert_array_equal(found.mask, own & some_mask())
    pattern = found.diffraction[5]
    assert (pattern[~(own & some_mask())] == 0).all()
    valid = own & some_mask()
    np.testing.assert_array_equal(pattern[valid], scan.diffraction[5][valid])


def test_a_mask_hides_pixels_of_a_part_and_of_joined_scans_too(scan: RawNPZData, scan_file: Path) -> None:
    part = with_mask(scan.take(np.arange(5, 20)), some_mask())
    assert (part.diffraction[:][:, ~some_mask()] == 0).all()
    joined = with_mask(open_scans([scan_file, scan_file]).as_one(), some_mask())
    assert (joined.diffraction[:][:, ~some_mask()] == 0).all()


def test_masks_that_do_not_fit_or_leave_nothing_are_refused(scan: RawNPZData) -> None:
    with pytest.raises(DataError, match=r"patterns of 16 x 16 pixels, but the mask has \(8, 8\)"):
        with_mask(scan, np.ones((8, 8), bool))
    with pytest.raises(DataError, match="leave no detector pixel"):
        with_mask(scan, np.zeros((N, N), bool))
    other = with_mask(scan, some_mask())
    with pytest.raises(DataError, match="leave no detector pixel"):
        with_mask(other, ~some_mask())


def test_the_domain_is_passed_on(scan_file: Path, scan: RawNPZData, tmp_path: Path) -> None:
    arrays = dict(np.load(scan_file, allow_pickle=False))
    arrays["diffraction"] = np.round(arrays["diffraction"] ** 2).astype(np.uint32)
    np.savez(tmp_path / "counts.npz", **arrays)
    found = open_scans(tmp_path / "counts.npz", domain="counts").scans[0]
    np.testing.assert_allclose(found.diffraction[:], scan.diffraction[:], atol=1e-2)


def test_a_reader_can_be_named(scan_file: Path) -> None:
    assert open_scans(scan_file, reader="raw_npz").num_patterns == 60
    with pytest.raises(DataError):
        open_scans(scan_file, reader="cxi")
