"""The compressor that comes with Photic on real camera files: what comes back, how large it is, a region, and the commands."""

from __future__ import annotations

import numpy as np
import pytest
import rawpy
import torch

from photic.apps.rawnind.compressing.container import read_header
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor
from photic.apps.rawnind.compressing.model_identity import network_of
from photic.apps.rawnind.files.reading import read_raw
from photic.cli.main import main
from photic.functional.cfa import RGGB, cfa_planes

pytestmark = pytest.mark.real
NOISE = (2e-5, 1e-7)
CAMERAS = ("camera/canon_eos30d_iso100_IMG_0848.CR2", "bracket/sample1.dng")
SIDE = 768


@pytest.fixture(scope="module")
def model():
    return load_compressor("rawcompress", "cpu")


@pytest.fixture(scope="module", params=CAMERAS)
def picture(request, real_data):
    whole = read_raw(real_data / "raw" / request.param).in_rggb_order()
    return whole.cropped(400, 600, SIDE, SIDE)


@pytest.fixture(scope="module")
def file(model, picture):
    return compress_picture(model, picture, quality=5.0, noise=NOISE)


def test_what_comes_back_is_the_networks_own_reconstruction_at_the_estimated_size(model, picture, file) -> None:
    network = network_of(model).eval()
    values = torch.from_numpy(picture.values.copy())[None, None]
    balance = torch.from_numpy(picture.white_balance.astype(np.float32))[None]
    with torch.no_grad():
        own = network(values, cfa_planes(RGGB, SIDE, SIDE)[None], torch.tensor([NOISE]), balance, torch.tensor([5.0]))
    decoded = decompress_picture(model, file)
    assert decoded.size == (SIDE, SIDE)
    np.testing.assert_allclose(decoded.values, own.picture[0].permute(1, 2, 0).numpy(), atol=1e-6, rtol=0)
    header = read_header(file)
    estimate = sum(float(bits) for bits in own.bits.values()) / 8
    metadata = next(part for part in header.parts if part.kind == "metadata").length
    assert abs(len(file) - metadata - estimate) <= 0.01 * estimate + 64


def test_a_region_is_that_part_of_the_whole(model, file) -> None:
    whole, part = decompress_picture(model, file), decompress_picture(model, file, region=(101, 230, 300, 217))
    np.testing.assert_allclose(part.values, whole.values[101:401, 230:447], atol=1e-5, rtol=0)  # convolutions of other sizes


def test_it_shows_the_picture(picture, model, file) -> None:
    decoded = decompress_picture(model, file)
    green = picture.values[::2, 1::2]
    error = decoded.values[::2, 1::2, 1] - green
    assert float(np.sqrt(np.square(error).mean())) < 0.15 * float(green.mean())
    assert float(decoded.values[..., 1].mean()) == pytest.approx(float(green.mean()), rel=0.03)


def test_from_a_camera_file_to_a_dng_that_libraw_opens(real_data, tmp_path, capsys) -> None:
    source = real_data / "raw" / "camera/canon_kissx4_colorchart.dng"
    small, opened = tmp_path / "chart.phc", tmp_path / "chart.dng"
    assert main(["compress", str(source), "-o", str(small), "--quality", "4", "--quiet"]) == 0
    assert small.stat().st_size < source.stat().st_size / 10
    assert main(["decompress", str(small), "-o", str(opened), "--quiet"]) == 0
    assert main(["info", str(small)]) == 0
    assert "Canon EOS Kiss X4" in capsys.readouterr().out
    with rawpy.imread(str(opened)) as raw:
        assert (raw.sizes.height, raw.sizes.width) == (1156, 1734)
