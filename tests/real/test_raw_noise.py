"""Noise estimated from real raw files: plausible for their sensors, and the same from pictures of one camera at one ISO."""

from __future__ import annotations

import numpy as np
import pytest
import rawpy

from photic.functional.noise_estimation import estimate_noise

pytestmark = pytest.mark.real


def estimated(path):
    with rawpy.imread(str(path)) as raw:
        colours = raw.raw_colors_visible
        black = np.array(raw.black_level_per_channel, np.float32)[colours]
        values = ((raw.raw_image_visible - black) / (raw.white_level - black)).astype(np.float32)
        pattern = tuple(tuple(1 if colour == 3 else int(colour) for colour in row) for row in colours[:2, :2])
        return estimate_noise(values, pattern)


def test_a_canon_30d_at_base_iso(real_data):
    """About 50,000 electrons make white at ISO 100 in this sensor, and electronics add 1 to 3 steps of 12 bits."""
    found = estimated(real_data / "raw" / "camera" / "canon_eos30d_iso100_IMG_0848.CR2")
    assert found.reliable
    assert 35_000 < 1 / found.a < 70_000
    assert 0.5 < np.sqrt(found.b) * 3968 < 3


def test_two_exposures_of_one_camera_at_one_iso_agree(real_data):
    one, other = (estimated(real_data / "raw" / "bracket" / name) for name in ("sample1.dng", "sample2.dng"))
    for level in (0.05, 0.2, 0.6):
        ratio = np.sqrt((one.a * level + one.b) / (other.a * level + other.b))
        assert 0.8 < ratio < 1.25
    assert 20_000 < 1 / one.a < 45_000
