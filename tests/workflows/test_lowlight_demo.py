"""The demo of low light, shrunk: every step of it, on fewer and smaller pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from photic.apps.lowlight import demo
from photic.apps.lowlight.demo import Sizes
from photic.apps.lowlight.evaluation import Evaluation
from photic.core.plugins import get_plugin, load_reference
from photic.data.images import read_image
from photic.workflows.demo import DemoResult

SMALL = Sizes(num_pairs=16, num_epochs=1, num_scenes=2, scene_px=(48, 64))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult]:
    folder = tmp_path_factory.mktemp("demo") / "lowlight"
    return folder, demo.run(folder, SMALL)


def test_unseen_scenes_are_judged_against_classical_methods(made: tuple[Path, DemoResult]) -> None:
    found = Evaluation.read(made[0] / "evaluation")
    assert found.num_with_truth == 2
    assert {"glance", "log map", "fitted tone curve"} <= set(found.methods)
    own, dark = found.mean("glance", "psnr"), found.mean("identity", "psnr")
    assert own is not None and dark is not None and own > dark
    assert f"network {own:.1f} dB" in made[1].headline


def test_the_page_wipes_between_before_and_after_without_a_script(made: tuple[Path, DemoResult]) -> None:
    text = made[1].report.read_text(encoding="utf-8")
    assert text.count('class="slider"') == 2
    assert "<script" not in text and 'src="http' not in text
    assert "fitted tone curve" in text


def test_what_to_go_on_with_is_there(made: tuple[Path, DemoResult]) -> None:
    (run,) = (made[0] / "runs" / "quick_lowlight").iterdir()
    assert (run / "report.html").is_file()
    assert any(f"predict {run}" in command for command in made[1].commands)
    assert read_image(made[0] / "photos" / "scene_1.png").shape == (48, 64, 3)


def test_it_is_what_photic_demo_runs() -> None:
    reference = get_plugin("lowlight").demo
    assert reference is not None
    assert load_reference(reference) is demo.run
