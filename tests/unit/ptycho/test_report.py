"""The page of a ptychography run: what it shows, of runs in any state, without touching the network."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photic.apps.ptycho import evaluate
from photic.apps.ptycho.report import write_report
from photic.core.errors import DataError
from photic.core.program import program

from ...pages import check

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Text, pictures and loaded addresses of a page; tags must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.pictures: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [str(values[name]) for name in ("src", "srcset", "href", "action") if values.get(name)]
        if tag == "img":
            self.pictures.append((str(values["alt"]), str(values["src"])))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)

    def picture(self, alternative: str) -> np.ndarray:
        (source,) = [source for name, source in self.pictures if name == alternative]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


@pytest.fixture
def run(trained: Any, tmp_path: Path) -> Path:
    """A finished run that may be changed, in a folder whose name a shell must have quoted."""
    return shutil.copytree(trained.run, tmp_path / "two words" / trained.run.name)


@pytest.fixture
def change(run: Path) -> Callable[..., None]:
    """Return what merges changes into the run's results."""

    def make(**changes: Any) -> None:
        path = run / "results.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return make


def shown(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def entry(epoch: float, r_amp: float | None) -> dict[str, Any]:
    return {
        "epoch": epoch, "step": round(10 * epoch), "lr": 0.001, "seconds": epoch,
        "train": {"loss": 0.5}, "val": {"loss": 0.4, "r_amp": r_amp}
    }  # fmt: skip


def history(*values: float | None) -> dict[str, Any]:
    """Return history and best epoch with these values of R_amp."""
    entries = [entry(number + 1.0, value) for number, value in enumerate(values)]
    known = [one for one in entries if one["val"]["r_amp"] is not None]
    best = min(known, key=lambda one: one["val"]["r_amp"], default=None)
    return {"history": entries, "best": None if best is None else {**best, "monitor": "r_amp", "value": best["val"]["r_amp"]}}


def test_the_page_shows_what_the_results_say(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    page = shown(run)
    for value in (
        f"{results['best']['val']['r_amp']:.3f}", f"{results['parameters']['total']:,}", "cnn", "unsupervised", "16 x 16 px", "scan.npz",
        f"{results['data']['counts']['train']} training", "amplitude_mae", "Loss", "Learning rate", results["data"]["notes"][0],
    ):  # fmt: skip
        assert value in page.text, value


def test_the_page_loads_nothing(run: Path) -> None:
    page = shown(run)
    assert all(address.startswith(("data:", "#")) for address in page.loads)
    assert "<script" not in (run / "report.html").read_text()


def test_it_goes_where_it_is_asked_to(run: Path, tmp_path: Path) -> None:
    assert write_report(run, tmp_path / "page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_it_needs_neither_weights_nor_scans(run: Path) -> None:
    for path in (run / "checkpoints").glob("*"):
        path.write_bytes(b"")
    assert "R_amp" in shown(run).text


def test_first_and_last_preview_are_shown_as_they_are(run: Path) -> None:
    folder = run / "samples"
    for step in (3, 5):
        Image.fromarray(np.full((4, 6, 3), step, np.uint8)).save(folder / f"step_{step:06d}.png")
    last = max(folder.glob("*.png"))
    page = shown(run)
    assert page.picture("Predicted patches after 3 steps").tolist() == np.full((4, 6, 3), 3).tolist()
    steps = int(last.stem.removeprefix("step_"))
    assert page.picture(f"Predicted patches after {steps} steps").tolist() == np.asarray(Image.open(last)).tolist()
    assert "after 5 steps" not in " ".join(name for name, _ in page.pictures)


def test_without_previews_there_is_no_section_of_them(run: Path) -> None:
    shutil.rmtree(run / "samples")
    assert "Previews" not in shown(run).text


def test_evaluating_writes_the_page_again_with_its_pictures(run: Path, scan_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(run), f"data.path={scan_file}", "--quiet"]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    text = (run / "report.html").read_text()
    page = Page(text)
    check(text, most_bytes=4_000_000)
    values = json.loads((run / "evaluations" / "scan" / "results.json").read_text())
    amplitude, phase = (values["against"][part] for part in ("amplitude", "phase"))
    shown_in_order = (
        f"{amplitude['ssim']:.3f} {amplitude['psnr_db']:.1f} {phase['ssim']:.3f} {phase['psnr_db']:.1f}",
        f"{values['r_amp']:.3f}",
    )
    for text in shown_in_order:
        assert text in page.text
    assert "two halves of it agree" in page.text
    names = {"r_amp": "R_amp over the scan", "frc": "Ring correlation of two halves", "comparison": "Object and reference",
             "reconstruction/amplitude": "Amplitude", "reconstruction/phase": "Phase",
             "reconstruction/probe": "Probe", "reconstruction/coverage": "Coverage"}  # fmt: skip
    for file, name in names.items():
        kept = np.asarray(Image.open(run / "evaluations" / "scan" / f"{file}.png"))
        assert (page.picture(f"{name}, scan") == kept).all()


def test_an_evaluation_written_elsewhere_leaves_the_page_alone(run: Path, scan_file: Path, tmp_path: Path) -> None:
    before = (run / "report.html").read_bytes()
    assert evaluate.main([str(run), f"data.path={scan_file}", "-o", str(tmp_path / "elsewhere"), "--quiet"]) == 0
    assert (run / "report.html").read_bytes() == before


def test_of_many_evaluations_all_numbers_are_shown_and_the_newest_pictures(run: Path) -> None:
    halves = {"frc_period_px": {"0.5": 3.14159, "1/7": None}, "frc_period_m": {"0.5": None, "1/7": None}}
    spread = {"5 %": 0.1, "median": 0.2, "95 %": 0.3}
    for number in range(5):
        folder = run / "evaluations" / f"scan{number}"
        folder.mkdir(parents=True)
        values = {"patterns": 1234, "method": "cnn", "r_amp": 0.1 + number / 1000, "r_amp_of_patterns": spread,
                  "halves": halves, "against": None}  # fmt: skip
        (folder / "results.json").write_text(json.dumps(values))
        os.utime(folder / "results.json", (1000, 1000 - number))
        Image.new("RGB", (2, 2)).save(folder / "r_amp.png")
    page = shown(run)
    assert [f"{0.1 + n / 1000:.3f}" in page.text for n in range(5)] == [True] * 5
    assert "3.14 px" in page.text and "no crossing" in page.text and "1,234" in page.text and "SSIM" not in page.text
    assert [name for name, _ in page.pictures if name.startswith("R_amp over")] == [f"R_amp over the scan, scan{n}" for n in range(3)]
    assert "scan3, scan4" in page.text


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_damaged_results_of_an_evaluation_are_named(run: Path, content: str) -> None:
    path = run / "evaluations" / "scan" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        write_report(run)


def test_the_worst_patterns_are_named(run: Path) -> None:
    (run / "predictions" / "test.csv").write_text("file,r_amp,amplitude\nscan:7,0.25,10\nscan:8,0.75,10\nscan:9,0.5,10\nscan:1,0.1,10\n")
    assert "Worst: scan:8 (0.750), scan:9 (0.500), scan:7 (0.250)" in shown(run).text


def test_what_still_falls_should_be_trained_longer(run: Path, change: Callable[..., None]) -> None:
    change(**history(0.5, 0.4, 0.3, 0.25, 0.2))
    assert "more epochs would help" in shown(run).text
    change(**history(0.5, 0.3, 0.2, 0.2, 0.199))
    assert "more epochs would help" not in shown(run).text


def test_a_network_that_does_not_carry_over_is_said_to(run: Path, change: Callable[..., None]) -> None:
    test = {"loss": 0.3, "r_amp": 0.3, "r_amp_median": 0.3, "r_amp_worst": 0.5, "groups": 12}
    change(**history(0.1), test=test)
    page = shown(run)
    assert "3.0 times that on validation" in page.text and "R_amp 0.300 on 12 test patterns" in page.text
    change(**history(0.25), test=test)
    assert "carry over" not in shown(run).text


@pytest.mark.parametrize(("status", "words"), [("failed", "no light"), ("interrupted", "not finished"), ("running", "not finished")])
def test_unfinished_runs_say_so(run: Path, change: Callable[..., None], status: str, words: str) -> None:
    change(status=status, error="no light")
    page = shown(run)
    assert words in page.text
    assert f"{program()} train --resume '{run}'" in page.text


def test_a_run_that_was_never_validated_has_a_page(run: Path, change: Callable[..., None]) -> None:
    shutil.rmtree(run / "predictions")
    change(history=[], best=None, test={}, status="running", parameters={}, environment={}, ptychography={}, data={})
    assert "No validation yet" in shown(run).text


def test_values_that_are_missing_leave_gaps(run: Path, change: Callable[..., None]) -> None:
    change(**history(0.5, None, 0.4))
    assert "0.400" in shown(run).text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run folder"):
        write_report(tmp_path)
