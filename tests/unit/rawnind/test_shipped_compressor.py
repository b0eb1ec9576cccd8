"""The compressor that comes with Photic: small, with a card and its terms, and better with more bits."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.rawnind.compressing.container import read_header
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor
from photic.apps.rawnind.compressing.model_identity import network_of
from photic.apps.rawnind.picture import RawPicture
from photic.core.container import read_header as read_bundle
from photic.core.plugins import default_model, get_plugin, shipped_models
from photic.functional.cfa import RGGB, cfa_planes

NAME = "rawcompress"


@pytest.fixture(scope="module")
def model():
    return load_compressor(NAME, "cpu")


def scene(size: int = 192) -> np.ndarray:
    """Clean linear colours (H, W, 3): slopes, an edge, a texture."""
    y, x = np.mgrid[0:size, 0:size] / size
    red = 0.15 + 0.2 * x + 0.05 * np.sin(40 * x) * (y > 0.5)
    return np.stack([red, 0.2 + 0.15 * y, np.where(x + y > 1, 0.3, 0.1)], axis=-1).astype(np.float32)


def mosaic_of(clean: np.ndarray, noise: float) -> RawPicture:
    planes = cfa_planes(RGGB, *clean.shape[:2]).numpy().transpose(1, 2, 0)
    drawn = np.random.default_rng(0).normal(0, noise, clean.shape[:2])
    return RawPicture(((clean * planes).sum(axis=-1) + drawn).astype(np.float32), RGGB, white_balance=np.array([1.6, 1.0, 1.8]))


def test_it_is_small_and_the_default(model) -> None:
    path = shipped_models()[NAME]
    assert path.stat().st_size <= 12_000_000
    assert default_model("compression") == path
    assert network_of(model).num_qualities == 8
    assert bool(network_of(model).bit_estimator.is_fixed), "its integer tables come with it"


def test_its_card_states_terms_and_where_it_fails() -> None:
    description = read_bundle(shipped_models()[NAME]).description
    assert "non-commercial" in description["data"]["terms"]
    assert "Where it fails" in description["card"]
    assert (get_plugin("rawnind").folder() / "weights" / "LICENSE.md").is_file()


def test_higher_levels_take_more_bits_and_come_closer(model) -> None:
    clean = scene()
    picture = mosaic_of(clean, 0.02)
    found = []
    for quality in (1.0, 4.5, 8.0):
        data = compress_picture(model, picture, quality=quality, noise=(0.0, 0.0004))
        made = decompress_picture(model, data)
        assert made.size == picture.size
        error = made.values - clean
        found.append((read_header(data).bpp, float(-10 * np.log10(np.square(error).mean()))))
    rates, quality_db = zip(*found, strict=True)
    assert rates[0] < rates[1] < rates[2] < 2
    assert quality_db[0] > 24
    assert quality_db[2] > quality_db[0]
    noisy_db = -10 * np.log10(0.02**2)
    assert quality_db[2] > noisy_db - 4, "noise is left out, not coded"
