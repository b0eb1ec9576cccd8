"""``photic evaluate`` of a run that compresses: its own split, real files, against codecs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import photic
from photic.apps.rawnind.codec_benchmark.results import Benchmark
from photic.cli.main import main

from ..pages import check


@pytest.fixture(scope="module")
def compressing_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = photic.recipe(
        "quick_compress",
        {
            "data.num_samples": 6,
            "data.crops_per_picture": 1,
            "data.size_px": 192,
            "data.eval_crop_px": 176,
            "data.val_iso": [400.0, 12800.0],
            "data.val_fraction": 0.34,
            "training.num_epochs": 1,
            "training.preview_every_validations": None,
            "output_dir": str(tmp_path_factory.mktemp("runs")),
        },
    )
    return photic.train(config, quiet=True).run


def test_the_run_has_a_page_with_rates(compressing_run: Path) -> None:
    page = (compressing_run / "report.html").read_text(encoding="utf-8")
    assert "Rate and quality" in page
    assert "benchmark-codec" in page
    assert "quality 4" in page
    assert "Rate and distortion" in check(page).text  # by ISO value from the table, as nothing was evaluated yet


def test_its_split_is_coded_for_real_at_each_level_and_iso(compressing_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(compressing_run), "--codecs", "jpegxl", "--no-classical", "--limit", "1", "--quiet"]) == 0
    folder = compressing_run / "evaluations" / "val_codecs"
    found = Benchmark.read(folder)
    assert found.levels == ("ISO 400", "ISO 12800")
    assert len(found.pictures) == 1
    own = [point for point in found.points if point.method == found.ours[0].label]
    assert len(own) == 4 * 2
    assert all(point.bpp > 0 for point in own)
    assert {path.name for path in folder.iterdir()} >= {"benchmark.json", "points.csv", "plot.png", "report.html"}
    assert json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))["data"].endswith(", val")
    page = check((compressing_run / "report.html").read_text(encoding="utf-8"))
    for words in ("Against codecs: val", "rate at equal PSNR", "at several rates", "Sizes of single files", "Coded over estimated rate"):
        assert words in page.text or words in str(page.labels)
    assert len(found.rate_crops) == 2 and all((folder / path).is_file() for one in found.rate_crops for path in one.parts.values())
    assert "JPEG XL" in capsys.readouterr().out
    assert main(["evaluate", str(compressing_run), "--quiet"]) != 0
    assert "--force" in capsys.readouterr().err


def test_a_split_that_is_not_there_is_refused(compressing_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["evaluate", str(compressing_run), "--split", "train", "--codecs", "nothing", "-o", str(tmp_path / "out"), "--quiet"])
    assert status != 0
    assert "nothing" in capsys.readouterr().err
