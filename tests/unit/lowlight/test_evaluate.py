"""``photic evaluate`` with an enhancer, and the page of its run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from photic.apps.lowlight.evaluate import main as evaluate
from photic.apps.lowlight.evaluation import Evaluation, Scored, best_of, no_reference_values, noise_level, ordered
from photic.apps.lowlight.evaluation_data import changes_of, choose
from photic.apps.lowlight.report import stage_borders, write_report
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError
from photic.data.images import read_image
from photic.tracking.run import Run

from ...pages import check

METHODS = ["identity", "gamma", "CLAHE", "histogram equalisation", "log map", "fitted tone curve", "histogram match + NLM"]


@pytest.fixture(scope="module")
def evaluated(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the run that has been evaluated."""
    run = tmp_path_factory.mktemp("evaluated") / trained_run.name
    shutil.copytree(trained_run, run)
    assert photic(["evaluate", str(run), "--quiet", "--device", "cpu"]) == 0
    return run


def test_the_validation_split_of_the_run_is_evaluated_by_default(evaluated):
    found = json.loads((evaluated / "evaluations" / "val" / "results.json").read_text())
    assert sorted(one["name"] for one in found["pictures"]) == sorted(Run.open(evaluated).split["val"])
    assert found["methods"] == ["glance", *METHODS]
    assert "7 training pictures" in found["fitted_to"]
    assert (found["num_pictures"], found["num_with_truth"]) == (3, 3)


def test_the_numbers_are_those_of_training(evaluated):
    """The same pictures, the same graph, the same metric: what training saved for its best epoch comes out again."""
    found = Evaluation.read(evaluated / "evaluations" / "val")
    best = Run.open(evaluated).results["best"]["val"]
    assert found.mean("glance", "psnr") == pytest.approx(best["psnr"], abs=1e-3)
    assert found.mean("glance", "ssim") == pytest.approx(best["ssim"], abs=1e-4)


def test_values_agree_with_an_independent_implementation(evaluated, pairs_folder):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    found = Evaluation.read(evaluated / "evaluations" / "val")
    one = found.scored[0]
    low, high = (read_image(pairs_folder / side / f"{one.name}.png") / 255 for side in ("low", "high"))
    values = one.values["identity"]
    assert values["psnr"] == pytest.approx(peak_signal_noise_ratio(high, low, data_range=1), abs=1e-3)
    _, structure = structural_similarity(
        high, low, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert values["ssim"] == pytest.approx(structure[5:-5, 5:-5].mean(), abs=2e-4)
    assert one.values["gamma"]["psnr"] == pytest.approx(peak_signal_noise_ratio(high, low ** (1 / 3), data_range=1), abs=1e-3)
    assert "ms_ssim" not in values  # 48 x 56 is too small for five scales


def test_worst_comes_first_and_every_file_is_there(evaluated):
    folder = evaluated / "evaluations" / "val"
    found = Evaluation.read(folder)
    psnr = [one.values["glance"]["psnr"] for one in found.scored]
    assert psnr == sorted(psnr)
    for one in found.scored:
        assert sorted(one.pictures) == ["after", "before", "best", "truth"]
        assert one.best in METHODS
        assert one.values[one.best]["psnr"] == max(one.values[method]["psnr"] for method in METHODS)
        for path in one.pictures.values():
            assert read_image(folder / path).shape == (48, 56, 3)
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert len(rows) == 3 * (len(METHODS) + 2)
    assert {row["method"] for row in rows} == {"glance", *METHODS, "true picture"}
    assert rows[0]["psnr_gt_mean"]
    assert read_image(folder / "sheet_1.png").shape[1] > 4 * 400


def test_the_mean_table_says_which_numbers_are_scaled_to_the_true_mean(evaluated, capsys):
    assert evaluate([str(evaluated), "--quiet", "--device", "cpu", "--no-classical", "-o", str(evaluated / "elsewhere")]) == 0
    text = capsys.readouterr().out
    assert "as they are" in text
    assert "scaled to the true mean (GT mean)" in text
    assert "worst: " in text
    assert Evaluation.read(evaluated / "elsewhere").methods == ("glance",)


def test_the_page_shows_pictures_scores_and_what_to_do_next(evaluated):
    page = (evaluated / "report.html").read_text()
    assert page.count('<figure class="slider"') == 3
    words = (
        "Validation pictures",
        "histogram match + NLM",
        "to wipe between the two",
        "Tone curve",
        "All 3 pictures, worst first",
        "photic evaluate",
        "photic predict",
    )
    for text in words:
        assert text in page
    check(page, most_bytes=1_000_000)


def test_a_run_without_evaluation_has_a_page_too(trained_run, tmp_path):
    page = write_report(trained_run, tmp_path / "page.html").read_text()
    assert "PSNR" in page
    assert 'class="slider"' not in page


def test_training_pictures_are_evaluated_only_when_asked_for(trained_run, tmp_path, capsys):
    assert evaluate([str(trained_run), "--split", "train", "-o", str(tmp_path / "o"), "--no-classical", "--quiet"]) == 0
    assert "trained on" in capsys.readouterr().out
    assert len(Evaluation.read(tmp_path / "o").scored) == 7
    with pytest.raises(DataError, match="has no test split"):
        evaluate([str(trained_run), "--split", "test", "-o", str(tmp_path / "o"), "--quiet"])


def test_everything_in_another_folder_is_evaluated(trained_run, pairs_folder, tmp_path):
    other = tmp_path / "other"
    for side in ("low", "high"):
        (other / side).mkdir(parents=True)
        for number, name in enumerate(sorted((pairs_folder / side).iterdir())[:4]):
            shutil.copy(name, other / side / f"new{number}.png")
    chosen = choose(trained_run, {"root": str(other)})
    assert (chosen.split, len(chosen.pictures), chosen.name) == ("all", 4, "other")
    assert chosen.training is not None
    assert len(chosen.training) == 7
    with pytest.raises(ConfigError, match="--split val"):
        choose(trained_run, {"root": str(other)}, "val")


def test_the_run_s_own_data_at_another_place_are_split_as_before(trained_run, pairs_folder, tmp_path):
    """Else moving a folder would be enough to be measured on training pictures."""
    shutil.copytree(pairs_folder, tmp_path / "moved")
    chosen = choose(trained_run, {"root": str(tmp_path / "moved")})
    assert chosen.split == "val"
    assert list(chosen.pictures.names) == Run.open(trained_run).split["val"]
    assert "run's own data" in chosen.notes[0]


def test_photographs_without_true_ones_are_measured_by_what_needs_none(trained_run, pairs_folder, tmp_path, capsys):
    photos = tmp_path / "photos"
    shutil.copytree(pairs_folder / "low", photos)
    assert evaluate([str(trained_run), f"data.root={photos}", "-o", str(tmp_path / "o"), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "without true ones" in text
    assert "mean luma" in text
    assert "PSNR" not in text.split("\n\n", 1)[1]
    found = Evaluation.read(tmp_path / "o")
    assert found.num_with_truth == 0
    assert found.values == ("saturation", "mean_luma", "contrast", "noise")
    assert found.mean("glance", "mean_luma") > found.mean("identity", "mean_luma")
    luma = [one.values["glance"]["mean_luma"] for one in found.scored]
    assert luma == sorted(luma)


def test_a_bundle_needs_to_be_told_where_the_pictures_are(trained_run, pairs_folder, tmp_path):
    from photic.workflows.bundle import bundle

    bundle(trained_run, tmp_path / "m.photic")
    with pytest.raises(ConfigError, match="data.root=FOLDER"):
        evaluate([str(tmp_path / "m.photic"), "--quiet"])
    with pytest.raises(ConfigError, match="-o"):
        evaluate([str(tmp_path / "m.photic"), f"data.root={pairs_folder}", "--quiet"])
    assert evaluate([str(tmp_path / "m.photic"), f"data.root={pairs_folder}", "-o", str(tmp_path / "o"), "--quiet"]) == 0
    found = Evaluation.read(tmp_path / "o")
    assert "fitted tone curve" not in found.methods
    assert "Nothing is known of its training pictures" in found.fitted_to


@pytest.mark.parametrize("word", ["loss.name=l1", "data.nothing=1", "data.root"])
def test_only_the_pictures_can_be_changed(word):
    with pytest.raises(ConfigError, match="data.root=FOLDER"):
        changes_of([word])


def test_faulty_pairs_are_refused_or_left_out(trained_run, pairs_folder, tmp_path):
    shutil.copytree(pairs_folder, tmp_path / "o")
    (tmp_path / "o" / "high" / "03.png").unlink()
    with pytest.raises(DataError, match="data.faulty=skip"):
        choose(trained_run, {"root": str(tmp_path / "o")})
    chosen = choose(trained_run, {"root": str(tmp_path / "o"), "faulty": "skip"})
    assert len(chosen.pictures) == 9
    assert "left out" in chosen.notes[0]
    with pytest.raises(DataError, match="no such folder"):
        choose(trained_run, {"root": str(tmp_path / "absent")})


def test_values_without_a_true_picture():
    generator = np.random.default_rng(0)
    noisy = np.clip(0.5 + generator.normal(0, 0.05, (80, 90, 1)).repeat(3, axis=2), 0, 1).astype(np.float32)
    found = no_reference_values(noisy)
    assert found["noise"] == pytest.approx(255 * 0.05, rel=0.05)
    assert found["mean_luma"] == pytest.approx(0.5, abs=0.01)
    assert found["contrast"] == pytest.approx(0.05, rel=0.05)
    assert found["saturation"] == pytest.approx(0, abs=1e-6)
    ramp = np.linspace(0, 1, 50)[None].repeat(50, axis=0)
    assert noise_level(ramp) < 1e-12
    assert noise_level(np.zeros((2, 5))) == 0


def scored(name: str, psnr: float | None, *, truth: bool = True) -> Scored:
    values = {"m": {"psnr": psnr} if truth else {"mean_luma": psnr}}
    return Scored(name=name, size=(4, 4), values=values, has_truth=truth)


def test_order_and_best_with_values_that_are_not_there():
    some = [scored("a", 20.0), scored("b", None), scored("c", 3.0), scored("d", 0.1, truth=False)]
    assert [one.name for one in ordered(some, "m")] == ["c", "a", "b", "d"]
    assert best_of({"x": {"psnr": None}, "y": {"psnr": 3.0}}, ["x", "y"]) == "y"
    assert best_of({"x": {}}, ["x"]) is None


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 99}', "[]"])
def test_what_is_no_evaluation_is_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=r"results.json"):
        Evaluation.read(tmp_path)


def test_stages_are_marked_where_there_are_any():
    assert stage_borders({"schedule": {"fractions": [0.1, 0.65, 0.25]}, "training": {"num_epochs": 40}}) == pytest.approx([4, 30])
    assert stage_borders({"schedule": {"name": "constant"}, "training": {"num_epochs": 40}}) == ()
