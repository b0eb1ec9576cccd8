"""``photic evaluate`` for denoisers: which pictures, values by ISO, tables, sheets, the page."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from photic.apps.rawnind.evaluating.evaluate import evaluate_pictures, main, method_names, pattern_of, picture_of
from photic.apps.rawnind.evaluating.evaluation_data import Chosen, changes_of, choose
from photic.apps.rawnind.evaluating.evaluation_sheets import write_sheets
from photic.apps.rawnind.evaluating.scores import Evaluation, Scored, write_results
from photic.apps.rawnind.report import write_report
from photic.apps.rawnind.synthetic.synthetic_data import RawGeneratedConfig
from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import BAYER, XTRANS, cfa_planes, shifted
from photic.models.raw_identity import RawIdentityConfig
from photic.models.standard import StandardConfig
from photic.models.utnet import UTNet2Config
from photic.tasks.raw_denoising import developed

from ...pages import check
from .denoisers import loaded

DATA = RawGeneratedConfig(num_samples=4, size_px=64, eval_crop_px=64, val_iso=(800.0, 12800.0), val_fraction=0.25, test_fraction=0.25)


@pytest.fixture(scope="module")
def chosen():
    return Chosen((DATA.prepare(0).splits["val"],), "val", "drawn", "drawn", ("a note",))


@pytest.fixture(scope="module")
def found(chosen, tmp_path_factory):
    """Two untrained networks and the classical methods, with the folder of the crops."""
    folder = tmp_path_factory.mktemp("evaluation")
    models = [loaded(StandardConfig(size="tiny")), loaded(UTNet2Config(width=4)), loaded(RawIdentityConfig())]
    return evaluate_pictures(models, chosen, folder), folder


def test_every_method_is_measured_at_every_iso_value(found):
    made, _ = found
    assert made.methods == ("standard tiny", "utnet2", "identity", "Malvar", "Menon", "NLM + Menon", "DCT + NLM + Menon")
    assert made.classical == made.methods[3:]
    assert made.levels == (800.0, 12800.0)
    assert made.values == ("psnr",)  # 64 pixels are too few for five scales
    for method in made.methods[1:]:
        assert made.mean(method, "psnr", made.at(800.0)) is not None
    noisy, clean = (made.mean("Menon", "psnr", made.at(iso)) for iso in (12800.0, 800.0))
    assert clean > noisy + 2
    assert made.mean("DCT + NLM + Menon", "psnr", made.at(12800.0)) > noisy


def test_the_network_that_is_malvars_method_scores_like_it(found):
    made, _ = found
    for one in made.scored:
        assert one.values["identity"]["psnr"] == pytest.approx(one.values["Malvar"]["psnr"], abs=1e-3)


def test_values_are_those_of_scikit_image(found, chosen):
    made, _ = found
    sample = next(iter(chosen))
    batch = {key: sample[key][None] for key in ("xyz_to_camera", "balance")}
    network = loaded(UTNet2Config(width=4)).task.network
    with torch.inference_mode():
        clean = network(*(sample[key][None] for key in ("measurement", "planes", "noise", "balance")))
    shown, true = (developed(part, batch)[0].numpy() for part in (clean, sample["target"][None]))
    assert made.scored[0].values["utnet2"]["psnr"] == pytest.approx(peak_signal_noise_ratio(true, shown, data_range=1), abs=1e-3)


def test_masked_pixels_do_not_count(chosen, tmp_path):
    class Masked:
        def __len__(self):
            return 1

        def sample(self, position, draw):
            sample = dict(next(iter(chosen)))
            half = torch.ones_like(sample["mask"])
            half[:, :, :32] = 0
            spoilt = sample["target"].clone()
            spoilt[:, :, :32] = 1 - spoilt[:, :, :32]
            return {**sample, "mask": half, "target": spoilt}

    model = [loaded(RawIdentityConfig())]
    whole = evaluate_pictures(model, chosen, tmp_path, classical=False).scored[0].values["identity"]["psnr"]
    part = evaluate_pictures(model, Chosen((Masked(),), "val", "x", "x"), tmp_path, classical=False).scored[0].values["identity"]["psnr"]
    assert abs(part - whole) < 6  # half the error at most, not that of an inverted half


def test_crops_and_a_sheet_for_each_iso_value(found):
    made, folder = found
    one = made.scored[0]
    assert set(one.crops) == {"noisy", *made.methods, "truth"}
    for path in one.crops.values():
        with Image.open(folder / path) as image:
            assert image.size == (64, 64)
    names = [path.name for path in write_sheets(made, folder)]
    assert names == ["sheet_iso_800.png", "sheet_iso_12800.png"]
    assert [path.name for path in sorted(folder.glob("sheet_*"))] == sorted(names)


def test_results_are_read_back_and_tables_hold_every_number(found):
    made, folder = found
    paths = write_results(made, folder)
    again = Evaluation.read(folder)
    assert again.methods == made.methods
    assert again.scored[1].values == {method: dict(values) for method, values in made.scored[1].values.items()}
    assert again.notes == ("a note",)
    with paths[1].open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(made.scored) * len(made.methods)
    content = json.loads(paths[0].read_text())
    assert content["by_iso"]["ISO 800"]["Menon"]["psnr"] == pytest.approx(made.mean("Menon", "psnr", made.at(800.0)))
    text = made.table()
    assert "ISO 12800" in text.splitlines()[0]
    assert f"{made.mean('Menon', 'psnr'):.2f}" in text
    (folder / "results.json").write_text("{}")
    with pytest.raises(DataError, match="evaluate again"):
        Evaluation.read(folder)


def test_means_leave_out_what_is_not_finite_and_unknown_iso_values_come_last():
    pictures = tuple(
        Scored(name=str(number), iso=iso, size=(9, 9), values={"net": {"psnr": psnr}})
        for number, (iso, psnr) in enumerate([(None, 30.0), (100.0, None), (100.0, 20.0)])
    )
    made = Evaluation(model="net", source="", data="", split="val", methods=("net",), classical=(), scored=pictures)
    assert made.levels == (100.0, None)
    assert made.mean("net", "psnr") == 25
    assert made.rows("psnr") == [["net", "20.00", "30.00", "25.00"]]
    assert made.best_classical() is None


def test_names_of_models_tell_them_apart():
    same = [loaded(StandardConfig(size="tiny"), seed) for seed in (0, 1)]
    assert method_names(same) == ["standard tiny in-memory-0", "standard tiny in-memory-1"]
    assert method_names([*same[:1], *same[:1]]) == ["standard tiny in-memory-0", "standard tiny in-memory-0 (2)"]


def test_patterns_are_found_in_planes():
    for pattern in (*BAYER.values(), XTRANS, shifted(XTRANS, 1, 4)):
        assert pattern_of(cfa_planes(pattern, 20, 23)) == pattern
    with pytest.raises(DataError, match="repeat"):
        pattern_of(torch.rand(3, 20, 20))
    sample = next(iter(Chosen((DATA.prepare(0).splits["val"],), "val", "", "")))
    assert picture_of(sample).pattern == BAYER["RGGB"]


# --- which pictures -----------------------------------------------------------------------------------


def test_a_runs_own_splits(raw_run):
    own = choose(raw_run, {}, None, "mosaic")
    assert (own.split, own.name, len(own)) == ("val", "val", 4)
    assert choose(raw_run, {}, "test", "mosaic").split == "test"
    trained = choose(raw_run, {}, "train", "mosaic")
    assert "trained on" in trained.notes[-1]
    assert next(iter(trained))["target"].shape == (3, 64, 64)  # whole, not training crops


def test_other_iso_values_and_other_data(raw_run):
    other = choose(raw_run, changes_of(["data.val_iso=[3200]"]), None, "mosaic")
    assert {float(sample["iso"]) for sample in other} == {3200.0}
    assert other.split == "val"
    unseen = choose(raw_run, changes_of(["data.seed=7"]), None, "mosaic")
    assert (unseen.split, len(unseen)) == ("all", 16)


def test_data_that_changed_since_training_are_refused(raw_run):
    with pytest.raises(DataError, match="changed since"):
        choose(raw_run, changes_of(["data.num_samples=20"]), None, "mosaic")


def test_what_cannot_be_evaluated_on_is_said(raw_run):
    with pytest.raises(ConfigError, match=r"data\.root=FOLDER"):
        choose(raw_run / "checkpoints" / "best.safetensors", {}, None, "mosaic")
    with pytest.raises(ConfigError, match="expected a change to the data"):
        changes_of(["model.size=small"])
    with pytest.raises(ConfigError, match="no_such"):
        choose(raw_run, {"data.no_such": 1}, None, "mosaic")


def test_a_run_is_evaluated_and_its_page_shows_it(raw_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(raw_run, run)
    assert main([str(run), "--no-classical", "--against", str(raw_run), "--quiet", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "ISO 12800" in text
    assert (run / "evaluations" / "val" / "results.json").is_file()
    page = (run / "report.html").read_text()
    assert "Validation pictures" in page
    assert "PSNR dB over ISO" in page and page.count('class="slider sharp"') >= 2
    for word in ("noisy", "truth", "worst first"):
        assert word in page
    check(page, most_bytes=2_000_000)
    bundleless = [str(run / "checkpoints" / "best.safetensors"), "data.name=raw_generated", "data.num_samples=3", "--quiet"]
    with pytest.raises(ConfigError, match="-o"):
        main([*bundleless, "--no-classical"])


def test_the_page_of_a_run_without_evaluations(raw_run, tmp_path):
    page = write_report(raw_run, tmp_path / "page.html").read_text()
    assert "ISO 800" in page
    assert "photic predict" in page.replace("\n", " ")
    assert np.isfinite(float(json.loads((raw_run / "results.json").read_text())["best"]["val"]["psnr"]))
