"""The raw application's demo, smaller than it is."""

from __future__ import annotations

import shlex

from photic.apps.rawnind.demo import Sizes, run
from photic.apps.rawnind.evaluating.scores import Evaluation
from photic.apps.rawnind.files.reading import read_raw


def test_the_demo_trains_evaluates_and_says_how_to_go_on(tmp_path):
    sizes = Sizes(num_epochs=1, num_training=8, num_scenes=2, scene_px=128, iso=(800.0, 12800.0))
    made = run(tmp_path, sizes)
    page = made.report.read_text()
    assert "Scenes never seen" in page
    assert "<h4>ISO 12800</h4>" in page and 'class="slider sharp"' in page
    assert "dB" in made.headline
    found = Evaluation.read(tmp_path / "evaluation")
    assert len(found.scored) == 4
    raws = sorted((tmp_path / "raws").glob("*.dng"))
    assert len(raws) == 2
    assert read_raw(raws[0]).is_bayer
    assert all(shlex.split(command) for command in made.commands)
