"""Sharpness of an edge and levels of flat areas: what is measured where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.rawnind.evaluating.baselines import demosaiced
from photic.apps.rawnind.evaluating.evaluation import BALANCE, edge_sharpness, flat_levels, methods_of, sharpness_table
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.functional.cfa import BAYER, XTRANS
from photic.functional.edge_response import edge_mtf
from photic.models.raw_identity import RawIdentity
from photic.models.utnet import UTNet2Config

from .denoisers import network


def half_of(blur_px):
    """The frequency at which edge and pixels alone leave half the modulation, mean over the angles."""
    frequency = np.linspace(0, 1, 2001)
    return np.mean([frequency[np.argmax(edge_mtf(frequency, angle, blur_px) < 0.5)] for angle in (5.0, 12.0)])


def whole(picture):
    """A method that knows the truth at every pixel, by looking at the clean edge that each colour samples: grey, so one plane is enough."""
    values = picture.values * BALANCE[np.array(picture.pattern)][np.arange(96)[:, None] % 2, np.arange(96) % 2]
    return np.repeat(values[..., None], 3, axis=2).astype(np.float32) / BALANCE.astype(np.float32)


@pytest.mark.parametrize("blur_px", [0.5, 0.8])
def test_an_edge_that_nothing_touches_is_as_sharp_as_pixels_and_lens_allow(blur_px):
    assert edge_sharpness(whole, blur_px=blur_px) == pytest.approx(half_of(blur_px), rel=0.03)


def test_demosaicers_lie_below_and_menon_above_malvar():
    menon, malvar = (edge_sharpness(lambda picture, name=name: demosaiced(picture)[name]) for name in ("Menon", "Malvar"))
    assert malvar < menon <= 1.02 * half_of(0.5)
    assert menon > 0.3


def test_noise_changes_the_sharpness_of_a_demosaicer_little():
    method = methods_of(RawIdentity(), noise_at(1600))["Malvar"]
    assert edge_sharpness(method, noise=noise_at(1600)) == pytest.approx(edge_sharpness(method), rel=0.15)


def test_the_table_holds_network_and_demosaicers():
    table = sharpness_table(RawIdentity(), (1600.0,))
    assert [(one.iso, one.blur_px) for one in table] == [(None, 0.5), (None, 0.0), (1600.0, 0.5)]
    for one in table:
        assert one.mtf50["network"] == pytest.approx(one.mtf50["Malvar"], rel=1e-4)
        assert one.kept < 1


@pytest.mark.parametrize("pattern", [BAYER["RGGB"], BAYER["BGGR"], XTRANS])
def test_what_demosaics_alone_keeps_levels_and_has_no_seams(pattern):
    found = flat_levels(RawIdentity(), levels=(0.0, 0.01, 0.5, 1.0), pattern=pattern)
    assert [flat.level for flat in found] == [0.0, 0.01, 0.5, 1.0]
    for flat in found:
        assert flat.relative < 2e-3
        assert flat.tiled < 1e-6


def test_standard_keeps_levels_whatever_was_learnt_and_tiles_do_not_show():
    for flat in flat_levels(network(), levels=(0.003, 0.18, 1.0)):
        assert flat.relative < 2e-3
        assert flat.tiled < 1e-3


def test_a_network_that_moves_levels_is_found():
    assert max(flat.relative for flat in flat_levels(network(UTNet2Config(width=4)), levels=(0.1, 0.5))) > 0.01
