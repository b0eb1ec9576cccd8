"""A small simulated scan, and a network that was trained on it for a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from photic.apps.ptycho.raw import RawNPZData, save_raw_npz
from photic.apps.ptycho.simulate import generated_scan

N = 16
TINY: dict[str, Any] = {
    "width_factor": 0.125,
    "num_threads": 1,
}
"""Options of a model that trains in a second."""
PLAIN: dict[str, Any] = {"data.probe_iterations": 0}
"""The probe as the scan has it."""


def small_scan(**changes: Any) -> RawNPZData:
    """Return a scan of 16 x 16 patterns with truth."""
    settings: dict[str, Any] = {"size_px": N, "num_positions": 60, "step_px": 2.0, "probe_diameter_px": 7.0, "photons": 1e5}
    return generated_scan(**{**settings, **changes})


@pytest.fixture(scope="session")
def scan() -> RawNPZData:
    return small_scan()


@pytest.fixture(scope="session")
def scan_file(scan: RawNPZData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_raw_npz(tmp_path_factory.mktemp("scans") / "scan.npz", scan)


@pytest.fixture(scope="session")
def trained(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a trained model, gridsize 1. Tests do not train it again."""
    from photic.apps.ptycho import PtychoModel

    folder = tmp_path_factory.mktemp("runs")
    return PtychoModel(N=N, **TINY).train(scan_file, epochs=2, output_dir=folder, overrides=PLAIN, quiet=True)


@pytest.fixture(scope="session")
def trained_on_groups(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a trained model of gridsize 2."""
    from photic.apps.ptycho import PtychoModel

    folder = tmp_path_factory.mktemp("runs")
    return PtychoModel(N=N, gridsize=2, **TINY).train(scan_file, neighbor_count=6, epochs=1, output_dir=folder, overrides=PLAIN, quiet=True)


@pytest.fixture(scope="session")
def trained_with_probe(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a model trained with a probe that was refined before and is trained, too, with its scale."""
    from photic.apps.ptycho import PtychoModel

    overrides = {"data.probe_iterations": 4, "task.train_probe": True, "task.train_intensity_scale": True}
    folder = tmp_path_factory.mktemp("runs")
    return PtychoModel(N=N, **TINY).train(scan_file, epochs=2, output_dir=folder, overrides=overrides, quiet=True)
