"""`photic predict` with a denoiser on camera files: what it writes is the photograph, as bright, as large, with its EXIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.predict import main as predict
from photic.data.photo import exif

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder(real_data) -> Path:
    return real_data / "raw"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Return a run of a tiny denoiser, trained for a moment on drawn scenes."""
    from photic.workflows.recipes import recipe
    from photic.workflows.train import train

    small = {"data.num_samples": 6, "data.size_px": 64, "data.crop_px": 48, "data.crops_per_picture": 1, "training.num_epochs": 1}
    return train(recipe("quick_raw", {**small, "output_dir": str(tmp_path_factory.mktemp("runs"))}), quiet=True).run


def test_a_cr2_becomes_a_dng_of_the_same_photograph(folder, run, tmp_path, capsys):
    source, out = folder / "camera" / "canon_eos30d_iso100_IMG_0848.CR2", tmp_path / "photo.dng"
    profiles = folder / "noise_profiles" / "noiseprofiles.json"
    words = [str(run), str(source), "-o", str(out), "--noise-profiles", str(profiles), "--quiet", "--device", "cpu"]
    assert predict(words) == 0
    assert "profile of Canon EOS 30D at ISO 100" in capsys.readouterr().out
    before, after = read_raw(source), read_raw(out)
    assert after.size == before.size
    assert after.pattern is None
    assert (after.camera, after.iso, after.exposure_s, after.aperture) == (before.camera, before.iso, before.exposure_s, before.aperture)
    np.testing.assert_allclose(after.white_balance, before.white_balance, rtol=1e-3)
    lens = [exif.unpack(picture.exif).below[exif.EXIF_IFD].tags.keys() for picture in (before, after)]
    assert lens[0] <= lens[1] | {0x927C, 0xA005}  # maker notes and interoperability may stay behind
    cell = before.in_rggb_order().values
    for colour, samples in enumerate((cell[::2, ::2], (cell[::2, 1::2] + cell[1::2, ::2]) / 2, cell[1::2, 1::2])):
        assert float(after.values[..., colour].mean()) == pytest.approx(float(samples.mean()), rel=2e-3)
        blocks = [
            plane[: plane.shape[0] // size * size, : plane.shape[1] // size * size].reshape(
                plane.shape[0] // size, size, plane.shape[1] // size, size
            )
            for plane, size in ((after.values[..., colour], 96), (samples, 48))
        ]
        means = [block.mean(axis=(1, 3))[:48, :72] for block in blocks]
        assert np.abs(means[0] - means[1]).max() < 0.01  # the same scene at every place


def test_a_file_that_decodes_to_zeros_is_named_and_the_others_done(folder, run, tmp_path, capsys):
    files = [folder / "invalid" / "IMG_1361.dng", folder / "mosaic"]
    small = sorted(path for path in files[1].glob("*") if path.suffix.lower() == ".dng")
    words = [str(files[0]), *map(str, small[:1])]
    status = predict([str(run), *words, "-o", str(tmp_path / "out"), "--noise", "1e-4,1e-7", "--quiet", "--device", "cpu"])
    assert status == 1
    assert "IMG_1361.dng" in capsys.readouterr().out
