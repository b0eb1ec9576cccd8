"""Who says how noisy a picture is, in which order."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from photic.apps.rawnind.noise_choice import choose_noise
from photic.apps.rawnind.noise_profiles import read_profiles
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.core.errors import ConfigError, DataError

from .denoisers import NOISE, noisy


@pytest.fixture(scope="module")
def picture():
    return noisy(400, 400)


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "noiseprofiles.json"
    entries = [{"name": f"ISO {iso}", "iso": iso, "a": [iso * 1e-7] * 3, "b": [1e-8] * 3} for iso in (100, 400)]
    path.write_text(json.dumps({"noiseprofiles": [{"maker": "Made", "models": [{"model": "Camera", "profiles": entries}]}]}))
    return read_profiles(path)


def test_what_the_user_gives_wins(picture, profiles):
    found = choose_noise(replace(picture, noise=(1e-3, 1e-4)), given=(1e-2, 1e-5), iso=100, profiles=profiles)
    assert found.values == (1e-2, 1e-5)
    assert "given" in str(found)
    for wrong in ((-1.0, 0.0), (float("inf"), 0.0)):
        with pytest.raises(ConfigError, match="not negative"):
            choose_noise(picture, given=wrong)


def test_then_the_files_own_profile_then_the_cameras(picture, profiles):
    assert choose_noise(replace(picture, noise=(1e-3, 1e-4)), profiles=profiles).values == (1e-3, 1e-4)
    at_400 = replace(picture, iso=400.0)
    found = choose_noise(at_400, profiles=profiles)
    assert found.values == pytest.approx(profiles.profile("Made Camera", 400).at_sensor())
    assert "Made Camera at ISO 400" in found.origin


def test_an_iso_value_of_the_user_replaces_that_of_the_file(picture, profiles):
    of_file = replace(picture, noise=(1e-3, 1e-4), iso=400.0)
    assert choose_noise(of_file, iso=100, profiles=profiles).values == pytest.approx(profiles.profile("Made Camera", 100).at_sensor())
    typical = noise_at(3200)
    assert choose_noise(of_file, iso=3200).values == (typical.shot, typical.read)
    with pytest.raises(ConfigError, match="iso"):
        choose_noise(picture, iso=0)


def test_a_camera_that_is_in_no_profile_is_estimated(picture, profiles):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # drawn scenes have few flat places
        found = choose_noise(replace(picture, camera="Another One"), profiles=profiles)
    assert "estimated" in found.origin
    level = 0.2
    assert (found.a * level + found.b) ** 0.5 == pytest.approx((NOISE[0] * level + NOISE[1]) ** 0.5, rel=0.35)


def test_where_no_estimate_is_possible_a_typical_camera_stands_in(picture):
    clipped = replace(picture, values=np.ones((400, 400), np.float32))
    with pytest.warns(UserWarning, match="cannot be estimated"):
        found = choose_noise(clipped)
    assert found.values == (noise_at(6400).shot, noise_at(6400).read)
    with pytest.raises(DataError, match="--noise"):
        choose_noise(replace(clipped, iso=None))
