"""The demo of ptychography, shrunk: every step of it, on fewer and smaller patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from photic.apps.ptycho import demo
from photic.apps.ptycho.demo import Sizes
from photic.apps.ptycho.raw import load_raw_npz
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.core.plugins import get_plugin, load_reference
from photic.workflows.demo import DemoResult

SMALL = Sizes(size_px=16, step_px=3.0, probe_px=7.0, num_training=100, num_test=60, few=1, many=3, others=(2,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult]:
    folder = tmp_path_factory.mktemp("demo") / "ptycho"
    return folder, demo.run(folder, SMALL)


def test_the_scans_are_files_with_truth_of_different_objects(made: tuple[Path, DemoResult]) -> None:
    training, test = (load_raw_npz(made[0] / "scans" / f"{name}.npz") for name in ("training", "test"))
    assert (training.num_patterns, test.num_patterns) == (100, 60)
    assert training.objectGuess is not None and test.objectGuess is not None
    assert training.objectGuess[:40, :40].tolist() != test.objectGuess[:40, :40].tolist()


def test_the_page_shows_all_four_results_and_no_address(made: tuple[Path, DemoResult]) -> None:
    text = made[1].report.read_text(encoding="utf-8")
    for name in ("truth", "network", "Network + 1", "1 iteration", "3 iterations", "from a flat object"):
        assert name in text
    assert text.count("<img") == 1 and 'src="http' not in text and "<script" not in text


def test_the_reconstructions_lie_beside_it(made: tuple[Path, DemoResult]) -> None:
    found = {name: Reconstruction.load(made[0] / name / "object.npz") for name in ("network", "refined", "baseline")}
    for one in found.values():
        assert one.r_amp is not None and one.num_positions == 60
    assert found["refined"].r_amp < found["network"].r_amp
    assert (made[0] / "refined" / "phase.png").is_file()


def test_the_run_has_a_page_and_the_headline_its_numbers(made: tuple[Path, DemoResult]) -> None:
    (run,) = (made[0] / "runs" / "ptycho").iterdir()
    assert (run / "report.html").is_file()
    network = Reconstruction.load(made[0] / "network" / "object.npz")
    assert f"network {network.r_amp:.3f}" in made[1].headline
    assert any(f"evaluate {run}" in command for command in made[1].commands)


def test_it_is_what_photic_demo_runs() -> None:
    reference = get_plugin("ptycho").demo
    assert reference is not None
    assert load_reference(reference) is demo.run
