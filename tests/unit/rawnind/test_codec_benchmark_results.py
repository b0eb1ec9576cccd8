"""What a benchmark of codecs makes of its points: curves, differences, words, files, the page, the sheets."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.codec_benchmark.benchmark_page import verdict, write_page
from photic.apps.rawnind.codec_benchmark.crop_sheets import SheetMaker, matched
from photic.apps.rawnind.codec_benchmark.figures import lines_of, write_plot
from photic.apps.rawnind.codec_benchmark.findings import all_findings, falls, finding, rate
from photic.apps.rawnind.codec_benchmark.rate_distortion import Crops
from photic.apps.rawnind.codec_benchmark.results import Benchmark, Method, Point, Seen, finite_points, table, write_results
from photic.core.errors import DataError
from photic.functional.bjontegaard import bd_quality, bd_rate

OWN, XL, JPEG, CHAIN = (
    Method("ours <b>", "ours", "quality", "a network"),
    Method("JPEG XL", "codec", "distance", "effort 7"),
    Method("JPEG", "codec", "quality", "4:2:0"),
    Method("NLM, then JPEG XL", "chain", "distance", "NLM, effort 7"),
)
_SIMILAR = 20.0


def points(level, method, curve, pictures=("a.dng", "b.dng")):
    """Points of a curve of (bpp, psnr); the second picture costs a tenth more and is 1 dB better. MS-SSIM in dB is PSNR less 20."""
    made = []
    for place, (bpp, psnr) in enumerate(curve):
        for number, name in enumerate(pictures):
            own, cost = psnr + number, bpp * (1 + 0.1 * number)
            ssim = 1 - 10 ** (-(own - _SIMILAR) / 10)
            made.append(Point(name, level, method.label, float(place), round(cost * 1e6 / 8), cost, own, ssim))
    return made


LOW, HIGH = "ISO 100", "ISO 51200"
CURVES = {
    (LOW, OWN): [(0.05, 28), (0.2, 31), (0.8, 34)],
    (LOW, XL): [(0.1, 28), (0.2, 31), (0.4, 35), (1.6, 41)],
    (LOW, JPEG): [(0.2, 28), (0.4, 31), (0.8, 34), (3.2, 40)],
    (HIGH, OWN): [(0.05, 25), (0.1, 27), (0.2, 28)],
    (HIGH, XL): [(0.2, 21), (0.4, 23), (1.6, 20), (3.2, 18)],
    (HIGH, JPEG): [(0.3, 20), (0.6, 21), (2.0, 17), (4.0, 16)],
    (HIGH, CHAIN): [(0.1, 22), (0.2, 26), (0.8, 29), (1.6, 28.5)],
}


@pytest.fixture(scope="module")
def found():
    return Benchmark(
        data="photos/raws",
        against="clean",
        levels=(LOW, HIGH),
        methods=(OWN, XL, JPEG, CHAIN),
        pictures=(Seen("a.dng", (1000, 1000)), Seen("b.dng", (1000, 1000))),
        points=tuple(point for (level, method), curve in CURVES.items() for point in points(level, method, curve)),
        anchor=XL.label,
        notes=("a <note>",),
        failed=(("c.dng", "is broken"),),
    )


def test_curves_are_means_over_pictures(found):
    curve = found.curve(LOW, XL.label, "psnr")
    assert curve.bpp == pytest.approx([0.105, 0.21, 0.42, 1.68])
    assert curve.quality == pytest.approx([28.5, 31.5, 35.5, 41.5])
    similar = found.curve(LOW, XL.label, "ms_ssim")
    assert similar.plain[0] == pytest.approx(1 - (10**-0.8 + 10**-0.9) / 2)
    assert similar.quality[0] == pytest.approx(-10 * np.log10((10**-0.8 + 10**-0.9) / 2))
    assert found.curve(LOW, XL.label, "psnr", "b.dng").bpp == pytest.approx([0.11, 0.22, 0.44, 1.76])
    with pytest.raises(DataError, match="NLM, then JPEG XL at ISO 100: was not measured"):
        found.curve(LOW, CHAIN.label, "psnr")


def test_differences_are_those_of_the_curves(found):
    own, other = found.curve(LOW, OWN.label, "psnr"), found.curve(LOW, XL.label, "psnr")
    assert found.rate_difference(LOW, OWN.label, "psnr") == bd_rate(other.bpp, other.quality, own.bpp, own.quality)
    assert found.quality_difference(LOW, OWN.label, "psnr") == bd_quality(other.bpp, other.quality, own.bpp, own.quality)
    assert found.pictures_won(LOW, JPEG.label, "psnr") == (0, 2, 0)
    assert found.pictures_won(HIGH, OWN.label, "psnr") == (0, 0, 2)
    apart = found.rate_difference(HIGH, OWN.label, "psnr")
    assert apart.reason == "every point of ours <b> is better than every point of JPEG XL"


def test_the_rate_for_the_best_quality_of_another(found):
    percent, bound = found.rate_for_best(HIGH, OWN.label, "psnr")
    assert bound and percent == pytest.approx(100 * (0.05 / 0.4 - 1))
    percent, bound = found.rate_for_best(LOW, "JPEG XL", "psnr", anchor=OWN.label)  # 34.5 dB, between 0.21 and 0.42 bpp, for 0.84
    assert not bound and 0.3 / 0.84 - 1 < percent / 100 < 0.42 / 0.84 - 1
    assert found.rate_for_best(LOW, OWN.label, "psnr") is None


def test_the_table_says_so(found):
    text = table(found)
    lines = text.splitlines()
    assert lines[0] == "against JPEG XL:" and lines[2].split() == ["rate", "at", "equal", "PSNR", "ISO", "100", "ISO", "51200"]
    assert lines[3].startswith("ours <b>") and lines[3].endswith("all better") and "%" in lines[3]
    assert lines[4].split()[:2] == ["JPEG", f"{found.rate_difference(LOW, 'JPEG', 'psnr').value:+.1f}"]
    assert lines[5].split()[-3] == "–" and lines[5].endswith("%")  # without noise nothing is denoised
    assert text.count("rate for JPEG XL's best") == 2 and "≤ -87.5 %" in text and "never" in text


def test_words_say_where_which_is_better(found):
    one = finding(found, LOW, OWN.label, XL.label, "psnr")
    assert one.loses
    crossing = one.spans[-1].low_bpp
    own, other = found.curve(LOW, OWN.label, "psnr"), found.curve(LOW, XL.label, "psnr")
    assert [span.sign for span in one.spans] == [1, -1]  # equal for a moment only where they cross
    assert 0.2 < crossing < 0.25  # both have 31 dB at 0.2 in the first picture
    assert one.text.startswith(one.short)
    assert one.text.startswith("ours <b> is better from 0.105 bpp to 0.2")
    assert f"JPEG XL is better from {rate(crossing)} on" in one.text
    assert one.text.endswith("Below 0.105 bpp there is only ours <b>.")
    assert one.spans[-1].high_bpp == pytest.approx(max(own.bpp[-1], other.bpp[-1]))


def test_words_where_nothing_is_in_common(found):
    one = finding(found, HIGH, OWN.label, XL.label, "psnr")
    assert not one.loses
    assert one.text == (
        "ours <b> is better than JPEG XL at every rate that both have. Below 0.210 bpp there is only ours <b>. "
        "At 0.0525 bpp ours <b> has 25.50 dB already, JPEG XL at its best, 0.420 bpp, 23.50 dB."
    )
    back = finding(found, HIGH, XL.label, OWN.label, "psnr")
    assert back.text.startswith("ours <b> is better than JPEG XL at every rate") and back.loses


def test_words_on_bits_that_make_it_worse(found):
    said = falls(found)
    assert f"{HIGH}: JPEG XL is best at 0.420 bpp, PSNR 23.50 dB; with more bits it codes noise, and falls to 18.50 dB at 3.36 bpp." in said
    assert all(text.startswith(HIGH) for text in said)
    assert len(falls(found, "JPEG XL")) == 2 and not falls(found, OWN.label)


def test_every_pair_of_ours_and_others_is_judged(found):
    pairs = {(one.level, one.value, one.other) for one in all_findings(found)}
    assert len(pairs) == 2 * 2 + 2 * 3 and all(one.method == OWN.label for one in all_findings(found))


def test_files_are_read_back(found, tmp_path):
    paths = write_results(found, tmp_path)
    assert Benchmark.read(tmp_path) == found
    content = json.loads(paths[0].read_text())
    entry = next(one for one in content["differences"] if (one["method"], one["anchor"], one["level"]) == (OWN.label, "JPEG", LOW))
    assert entry["bd_rate_percent"]["value"] == pytest.approx(found.rate_difference(LOW, OWN.label, "psnr", anchor="JPEG").value)
    apart = next(one for one in content["differences"] if (one["method"], one["anchor"], one["level"]) == (OWN.label, "JPEG XL", HIGH))
    assert apart["bd_rate_percent"] == {"value": None, "reason": "every point of ours <b> is better than every point of JPEG XL"}
    assert apart["pictures"] == {"less_rate": 0, "more_rate": 0, "no_common_quality": 2}
    curve = next(one for one in content["curves"] if one["method"] == "JPEG" and one["level"] == LOW and one["value"] == "psnr")
    assert curve["mean"] == curve["db"] == pytest.approx([28.5, 31.5, 34.5, 40.5])
    with paths[1].open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(found.points) and float(rows[0]["bpp"]) == found.points[0].bpp


@pytest.mark.parametrize("content", ['{"format": 1}', "[]", "no JSON", '{"format": 99}'])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(DataError, match=r"benchmark.json: (holds no benchmark|written by another)"):
        Benchmark.read(tmp_path)


def test_numbers_that_are_none_are_refused():
    equal = Point("a.dng", LOW, "JPEG", 50.0, 100, 0.1, float("inf"), 1.0)
    with pytest.raises(DataError, match=r"a.dng: JPEG at 50 gives PSNR inf"):
        finite_points([equal], "a.dng")


def test_the_page_names_where_ours_does_not_win(found, tmp_path):
    text = write_page(found, tmp_path).read_text()
    assert "<b>" not in text.replace("<b>", "", text.count("<b></b>")) or "ours &lt;b&gt;" in text
    assert "ours &lt;b&gt;" in text and "a &lt;note&gt;" in text
    assert "Where ours does not win" in text and "JPEG XL is better from" in text
    assert "Where more bits make it worse" in text and "Left out: c.dng: is broken" in text
    assert text.count("<svg") == 4
    assert verdict(found).startswith("Rate of ours <b> against JPEG XL at equal quality: by PSNR ")
    assert "all better (ISO 51200)" in verdict(found)


def test_codecs_alone_have_a_page_too(found, tmp_path):
    from dataclasses import replace

    alone = replace(found, methods=(XL, JPEG), points=tuple(point for point in found.points if point.method in ("JPEG XL", "JPEG")))
    text = write_page(alone, tmp_path).read_text()
    assert "Where ours" not in text
    assert verdict(alone).startswith("Rate against JPEG XL at equal MS-SSIM, ISO 100: JPEG +")
    single = replace(alone, methods=(XL,), points=tuple(point for point in alone.points if point.method == "JPEG XL"))
    assert "nothing to compare" in verdict(single)


def test_the_plot_draws_ours_strong(found, tmp_path):
    lines = lines_of(found, HIGH, "psnr")
    assert [line.label for line in lines if line.strong] == [OWN.label]
    assert [line.label for line in lines if line.dashed] == [CHAIN.label]
    assert len({(line.colour, line.dashed) for line in lines}) == 4
    with Image.open(write_plot(found, tmp_path / "plot.png")) as image:
        assert image.width > 800 and image.height > 600


def test_crops_are_taken_at_about_one_rate(found):
    own = [point for point in found.points if point.level == LOW and point.picture == "a.dng"]
    chosen = matched(own, [OWN.label, "JPEG XL", "JPEG"], OWN.label)
    assert {label: point.bpp for label, point in chosen.items()} == {OWN.label: 0.2, "JPEG XL": 0.2, "JPEG": 0.2}
    assert matched(own, ["JPEG XL"], None)["JPEG XL"].bpp == 0.2  # nearest to a quarter


def test_sheets_of_some_levels(found, tmp_path):
    maker = SheetMaker(tmp_path, found.methods, [HIGH], "clean")
    for level in (LOW, HIGH):
        for name in ("a.dng", "b.dng"):
            own = tuple(point for point in found.points if point.level == level and point.picture == name)
            parts = {(point.method, point.setting): np.full((128, 128, 3), 100, np.uint8) for point in own}
            scene = SimpleNamespace(name=name, level=SimpleNamespace(name=level))
            maker.take(Crops(scene, own, parts, np.full((128, 128, 3), 200, np.uint8)))
    (path,) = maker.write()
    assert path.name == "crops_iso_51200.png"
    with Image.open(path) as image:
        assert image.width == 5 * 262 + 6 and image.height > 2 * 256
        assert image.getpixel((4 * 262 + 100, 200)) == (200, 200, 200)
    assert maker.heads[HIGH] == [OWN.label, "JPEG XL", "JPEG", CHAIN.label, "clean"]
    rates = [len(one.parts) for one in maker.rate_crops]
    assert rates == [3, 3] and [one.picture for one in maker.rate_crops] == ["a.dng", "b.dng"]
    for one in maker.rate_crops:  # by rising rate
        shown = [float(label.split()[0]) for label in one.parts]
        assert shown == sorted(shown) and all((tmp_path / path).is_file() for path in (*one.parts.values(), one.reference))
    assert len(list((tmp_path / "crops").glob("*.png"))) == 10 + sum(rates)
