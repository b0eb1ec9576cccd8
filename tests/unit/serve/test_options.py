"""Options as form fields: schema from the class, values from texts, mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest

from photic.core.errors import ConfigError
from photic.inference.serve.naming import disposition, ending_of, model_names, safe_stem
from photic.inference.serve.options import Form, form_of
from photic.inference.serve.problems import Problem

from .conftest import LengthOptions, Lengths, Upper


@pytest.fixture
def form(bundle: Path) -> Form:
    return form_of(Lengths(bundle), "lengths")


def test_fields_are_those_of_the_class_without_paths_and_memory(form: Form) -> None:
    assert list(form.fields) == ["factor", "unit", "pair", "depth", "exact"]
    assert form.fields["factor"] == {
        "type": "number", "exclusiveMinimum": 0, "maximum": 10, "default": 1.0, "description": "What the length is multiplied with.",
    }  # fmt: skip
    assert form.fields["unit"] == {"enum": ["bytes", "bits"], "default": "bytes", "description": "In what it is told."}
    assert form.fields["depth"] == {"type": "integer", "minimum": 1, "description": "A number, or none."}
    assert form.fields["pair"]["description"] == "Two numbers on two lines."
    assert form.formats == ()


def test_texts_become_values(form: Form) -> None:
    made = form.options({"factor": ["2.5"], "unit": ["bits"], "pair": ["1,2e-1"], "depth": ["3"], "exact": ["true"]})
    assert made == LengthOptions(factor=2.5, unit="bits", pair=(1.0, 0.2), depth=3, exact=True)
    assert form.options({}) == LengthOptions()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"factr": ["1"]}, "unknown field 'factr'; did you mean 'factor'"),
        ({"secret": ["/etc/passwd"]}, "unknown field 'secret'"),
        ({"tile_px": ["1"]}, "unknown field 'tile_px'"),
        ({"factor": ["11"]}, "field 'factor': expected a value > 0 and <= 10, got 11.0"),
        ({"factor": ["nan"]}, "field 'factor': expected a number, above 0, at most 10, got 'nan'"),
        ({"factor": ["1e999"]}, "field 'factor': expected a number"),
        ({"factor": ["1", "2"]}, "field 'factor': came 2 times"),
        ({"factor": [""]}, "field 'factor': expected a number"),
        ({"unit": ["bots"]}, "field 'unit': expected one of bytes, bits, got 'bots'"),
        ({"pair": ["1"]}, "field 'pair': expected 2 numbers with commas between"),
        ({"pair": ["-1,2"]}, "field 'pair': expected a value >= 0"),
        ({"depth": ["1.5"]}, "field 'depth': expected a whole number, at least 1, got '1.5'"),
        ({"exact": ["yes"]}, "field 'exact': expected true or false, got 'yes'"),
        ({"file": ["text"]}, "field 'file': expected a file"),
        ({"format": ["csv"]}, "unknown field 'format'"),
        ({"a\r\nb" * 100: ["1"]}, "unknown field 'a��ba"),
    ],
)
def test_what_a_text_cannot_mean_is_refused_by_the_name_of_its_field(form: Form, texts: dict[str, list[str]], message: str) -> None:
    with pytest.raises(Problem) as caught:
        form.options(texts)
    assert (caught.value.status, caught.value.code) == (422, "bad_field")
    assert caught.value.message.startswith(message)
    assert len(caught.value.message) < 300


def test_the_format_of_a_result_is_one_that_the_model_writes(bundle: Path) -> None:
    form = form_of(Upper(bundle), "upper")
    assert form.formats == ("txt", "csv")
    assert form.format({"format": ["csv"]}) == ".csv"
    assert form.format({}) is None
    with pytest.raises(Problem, match="expected one of txt, csv, got '../x'"):
        form.format({"format": ["../x"]})


def test_names_in_addresses_come_from_files_and_do_not_clash(tmp_path: Path) -> None:
    paths = [tmp_path / "Line 3 (neu).photic", tmp_path / "grün.photic"]
    assert model_names([(str(path), path) for path in paths]) == ["Line-3-neu", "grun"]
    with pytest.raises(ConfigError, match="would both be served as 'a-b'"):
        model_names([("one/a b.photic", Path("one/a b.photic")), ("two/a-b.photic", Path("two/a-b.photic"))])
    with pytest.raises(ConfigError, match="nothing of this name"):
        model_names([("日本.photic", Path("日本.photic"))])


@pytest.mark.parametrize(
    ("given", "stem"),
    [
        ("../../x.txt", "x"),
        ("/etc/cron.d/job.txt", "job"),
        ("..\\..\\windows\\x.txt", "x"),
        ("a\x00b.txt", "ab"),
        ("a\r\nSet-Cookie: b.txt", "aSet-Cookie_ b"),
        ("x" * 5000 + ".txt", "x" * 80),
        ("Blech № 3 – ü.txt", "Blech _ 3 _ ü"),
        (".txt", "result"),
        ("....txt", "result"),
        ("CON.txt", "_CON"),
        ("\u202egnp.exe.txt", "gnp.exe"),
        ("a'b\"c;d.txt", "a_b_c_d"),
    ],
)
def test_what_of_a_clients_file_name_may_stand_in_ours(given: str, stem: str) -> None:
    assert safe_stem(given, ".txt") == stem


def test_names_of_results_fit_into_a_header() -> None:
    assert disposition("ü.png") == "attachment; filename=\"u_.png\"; filename*=UTF-8''%C3%BC.png"
    assert ending_of("a.TXT", (".txt", ".text")) == ".txt"
    assert ending_of("a.png", (".txt",)) is None
