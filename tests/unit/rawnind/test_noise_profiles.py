"""Noise profiles from a file of the user's: names, interpolation between ISO values, fits that came out negative, damaged files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photic.apps.rawnind.noise_profiles import AT_SENSOR, read_profiles
from photic.core.errors import DataError


def entry(iso, a, b, **more):
    return {"name": f"iso {iso}", "iso": iso, "a": [2 * a, a, 1.5 * a], "b": [4 * b, b, 2 * b], **more}


PROFILES = {
    "version": 0,
    "noiseprofiles": [
        {
            "maker": "Nikon",
            "models": [
                {"model": "D5000", "profiles": [entry(800, 8e-6, 4e-7), entry(200, 2e-6, 1e-7), entry(100, 9, 9, skip=True)]},
                {"model": "D90", "profiles": [entry(100, 1e-6, -1e-8), entry(100, 3e-6, 1e-8), entry(100, 2e-6, 2e-8)]},
                {"model": "D1", "profiles": [{"iso": 100, "a": [3e-6, 2e-6, -1e-7], "b": [1e-7, -1e-7, 0.0]}]},
                {"model": "D0", "profiles": [{"iso": 100, "a": [0.0, 0.0, 0.0], "b": [0.0, 0.0, 0.0]}]},
            ],
        }
    ],
}


@pytest.fixture
def profiles(tmp_path):
    return read_profiles(write(tmp_path, PROFILES))


def write(folder, content):
    path = folder / "noiseprofiles.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_measured_value_is_given_as_it_is(profiles):
    found = profiles.profile("Nikon D5000", 200)
    np.testing.assert_allclose(found.a, [4e-6, 2e-6, 3e-6])
    np.testing.assert_allclose(found.b, [4e-7, 1e-7, 2e-7])
    assert found.measured and found.camera == "Nikon D5000"
    # The same for all colours before white balance; green is left as it is by that.
    assert found.at_sensor() == pytest.approx((2e-6 * AT_SENSOR, 1e-7 * AT_SENSOR))


def test_between_iso_values_it_runs_straight_in_logarithms_and_beyond_in_proportion(profiles):
    between, below, above = (profiles.profile("Nikon D5000", iso) for iso in (400, 100, 1600))
    np.testing.assert_allclose(between.a[1], 4e-6)
    np.testing.assert_allclose(between.b[1], 2e-7)
    np.testing.assert_allclose((below.a[1], above.a[1]), (1e-6, 16e-6))
    np.testing.assert_allclose((below.b[1], above.b[1]), (2.5e-8, 16e-7))
    assert not (between.measured or below.measured or above.measured)
    values = [profiles.profile("Nikon D5000", iso).a[1] for iso in np.geomspace(50, 6400, 60)]
    assert (np.diff(values) > 0).all()


def test_repeated_values_are_averaged_and_what_is_to_be_skipped_is(profiles):
    assert profiles["Nikon D5000"].iso.tolist() == [200, 800]
    assert profiles["Nikon D90"].a[0, 1] == pytest.approx(2e-6)
    assert profiles["Nikon D90"].b[0, 1] == pytest.approx(1e-8)


def test_fits_that_came_out_negative_do_no_harm(profiles):
    found = profiles.profile("Nikon D1", 100)
    np.testing.assert_allclose(found.a, [3e-6, 2e-6, 3e-6])
    np.testing.assert_allclose(found.b, [1e-7, 0, 0])
    for iso in (50, 150, 800):
        assert (profiles.profile("Nikon D1", iso).a > 0).all() and (profiles.profile("Nikon D1", iso).b >= 0).all()
    assert "Nikon D0" not in profiles and len(profiles) == 3


@pytest.mark.parametrize("name", ["NIKON CORPORATION NIKON D5000", "nikon d5000", "Nikon  D5000", "NIKON D5000"])
def test_names_are_found_as_files_write_them(profiles, name):
    assert name in profiles
    assert profiles.profile(name, 200).camera == "Nikon D5000"


def test_an_unknown_camera_gets_the_nearest_names(profiles):
    with pytest.raises(DataError, match=r"noiseprofiles.json: has no camera 'Nikon D500'; nearest: 'Nikon D5000'"):
        profiles.profile("Nikon D500", 100)
    with pytest.raises(DataError, match="it has 3 cameras, 'Nikon D5000' for example"):
        profiles.profile("xyz", 100)
    for iso in (0, -100, float("nan")):
        with pytest.raises(DataError, match="ISO value above 0"):
            profiles.profile("Nikon D5000", iso)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ([], "no list 'noiseprofiles'"),
        ({"noiseprofiles": [{"maker": "A"}]}, "no list 'models'"),
        ({"noiseprofiles": [{"maker": "A", "models": [{"model": 3, "profiles": []}]}]}, "a maker and a model"),
        ({"noiseprofiles": [{"maker": "A", "models": [{"model": "B", "profiles": [7]}]}]}, "expected profiles with iso"),
        ({"noiseprofiles": [{"maker": "A", "models": [{"model": "B", "profiles": [{"iso": 100, "a": [1, 2]}]}]}]}, "three numbers 'a'"),
        ({"noiseprofiles": [{"maker": "A", "models": [{"model": "B", "profiles": [entry("100", 1, 1)]}]}]}, "ISO value above 0, got '100'"),
        ({"noiseprofiles": []}, "no camera with a noise profile"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_profiles(write(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read.*give the path"):
        read_profiles(tmp_path / "none.json")


@pytest.mark.real
def test_the_real_file(real_data):
    profiles = read_profiles(real_data / "raw" / "noise_profiles" / "noiseprofiles.json")
    assert len(profiles) == 433
    for camera in profiles.values():
        assert (camera.a > 0).all() and (camera.b >= 0).all() and (np.diff(camera.iso) > 0).all()
    # What the estimate from raw files says about these two, within the factor's spread.
    for name, iso, electrons in (("Canon EOS 30D", 100, 50_000), ("NIKON CORPORATION NIKON D5000", 200, 30_000)):
        assert 0.65 < 1 / profiles.profile(name, iso).at_sensor()[0] / electrons < 1.55
