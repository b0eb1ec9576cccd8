"""``photic list``: text for people, JSON for machines, both from the index."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from photic.cli.forms import json_schema
from photic.cli.main import main
from photic.core import index
from photic.core.index import FieldInfo
from photic.core.plugins import installed_plugins
from photic.core.registry import kinds, registry_of
from photic.core.schema import Config
from photic.workflows.recipes import recipe_entries


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["list", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", kinds())
def test_json_equals_the_index(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    rows = listed(capsys, kind, "--schema")
    entries = registry_of(kind).entries()
    assert [(row["name"], row["aliases"], row["summary"], row["module"], row["class"], row["source"]) for row in rows] == [
        (entry.name, list(entry.aliases), entry.summary, entry.module, entry.qualname, entry.source) for entry in entries
    ]
    for row, entry in zip(rows, entries, strict=True):
        fields = [dataclasses.asdict(field) for field in entry.fields()]
        assert row["fields"] == json.loads(json.dumps(fields))
        assert list(row["schema"]["properties"]) == [field["name"] for field in fields]


@pytest.mark.parametrize("kind", kinds())
def test_text_shows_name_line_and_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["list", kind]) == 0
    out = capsys.readouterr().out
    for entry in registry_of(kind).entries():
        (line,) = [line for line in out.splitlines() if line.split()[0] == entry.name]
        assert line.endswith(entry.module)
        assert entry.summary.split()[0] in line


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models"]) == 0
    out = [line for line in capsys.readouterr().out.splitlines() if "photic.models" in line]
    assert len({line.index("photic.models") for line in out}) == 1


@pytest.mark.parametrize("pattern", ["convnext*", "convnext_tiny_cbam"])
def test_a_pattern_or_name_selects(capsys: pytest.CaptureFixture[str], pattern: str) -> None:
    assert "convnext_tiny_cbam" in {row["name"] for row in listed(capsys, "models", pattern)}
    assert "tiny" not in {row["name"] for row in listed(capsys, "models", pattern)}


def test_a_synonym_selects_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["name"] for row in listed(capsys, "losses", "focal_loss")] == ["focal"]


def test_nothing_found_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "losses", "focul"]) == 2
    assert "no losses match 'focul'; did you mean 'focal'?" in capsys.readouterr().err
    assert main(["list", "recipes", "seversal"]) == 2
    assert "did you mean 'severstal'" in capsys.readouterr().err


def test_the_schema_of_a_model_shows_fields_types_ranges_defaults_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models", "convnext_tiny_cbam", "--schema"]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["num_classes", "int", "|", "null", ">=", "1", "null"] in rows
    assert any(row[:1] == ["cbam_stages"] and "[3," in row for row in rows)
    for field in registry_of("models").entries("convnext_tiny_cbam")[0].fields():
        assert field.doc.split(".")[0].split()[0] in out
    assert "torch" not in out


def test_recipes_and_plugins_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["name"] for row in listed(capsys, "recipes")] == [entry.name for entry in recipe_entries()]
    assert [(row["name"], row["module"]) for row in listed(capsys, "plugins")] == [
        (p.name, p.package) for p in installed_plugins().values()
    ]
    assert main(["list", "recipes", "sev*"]) == 0
    assert capsys.readouterr().out.startswith("severstal  ")


def test_recipes_have_no_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes", "--schema"]) == 2
    assert "`photic train recipe=NAME --cfg job`" in capsys.readouterr().err


def test_costs_of_networks_are_listed_for_those_that_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "models", "zero_*", "--cost"]) == 0
    header, row, _, note, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["network", "parameters", "GMAC", "input"]
    assert row.split() == ["zero_dce", "79,416", "5.190", "1", "x", "3", "x", "256", "x", "256"]
    assert "default settings" in note
    (entry,) = listed(capsys, "models", "zero_dce", "--cost", "--schema")
    assert entry["cost"] == {"num_parameters": 79_416, "num_macs": 79_200 * 256 * 256, "input": [1, 3, 256, 256]}
    assert entry["fields"]


def test_a_network_without_a_standard_input_says_so_in_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photic.models.cost._STANDARD", ())
    assert main(["list", "models", "zero_dce", "--cost"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split()[:3] == ["zero_dce", "-", "-"]
    assert row.endswith("no standard input for a ZeroDCEConfig")


@pytest.mark.parametrize("words", [["losses", "--cost"], ["recipes", "--cost"], ["models", "--cost", "--schema"]], ids=str)
def test_only_networks_have_a_cost_and_one_table_is_shown(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["list", *words]) == 2
    assert "--cost" in capsys.readouterr().err


def test_list_alone_shows_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for kind in (*kinds(), "recipes", "plugins"):
        assert f"\n  {kind} " in out


# --- forms ---------------------------------------------------------------------------------------------------------------------------


def schema_of(annotation: str, limits: str = "", default: Any = None, required: bool = False) -> dict[str, Any]:
    schema = json_schema([FieldInfo("x", annotation, limits, default, required, "Meaning.")])["properties"]["x"]
    assert schema.pop("description") == "Meaning."
    return schema


@pytest.mark.parametrize(
    ("annotation", "limits", "expected"),
    [
        ("float", ">= 0 and < 1", {"type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0}),
        ("int | None", ">= 1", {"anyOf": [{"type": "integer", "minimum": 1.0}, {"type": "null"}]}),
        ("Literal['mean', 'sum', None]", "", {"enum": ["mean", "sum", None]}),
        ("Path", "", {"type": "string", "format": "path"}),
        ("tuple[Literal[1, 2], ...]", "", {"type": "array", "items": {"enum": [1, 2]}}),
        ("tuple[float, int]", "> 0", {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [
            {"type": "number", "exclusiveMinimum": 0.0}, {"type": "integer", "exclusiveMinimum": 0.0}]}),
        ("dict[str, float]", "<= 1", {"type": "object", "additionalProperties": {"type": "number", "maximum": 1.0}}),
        ("dict[str, AugmentationConfig]", "one of augmentations",
         {"type": "object", "x-registry": "augmentations", "x-type": "dict[str, AugmentationConfig]"}),
        ("Thing", "", {"type": "object", "x-type": "Thing"}),
    ],
)  # fmt: skip
def test_annotations_become_json_schema(annotation: str, limits: str, expected: dict[str, Any]) -> None:
    assert schema_of(annotation, limits, required=True) == expected
    assert schema_of(annotation, limits, default=None) == {**expected, "default": None}


def test_required_fields_are_listed_and_unknown_ones_forbidden() -> None:
    schema = json_schema([FieldInfo("a", "int", "", None, True, ""), FieldInfo("b", "int", "", 1, False, "")])
    assert (schema["required"], schema["additionalProperties"]) == (["a"], False)


@pytest.mark.parametrize("kind", kinds())
def test_no_registered_field_is_opaque_to_a_form(kind: str) -> None:
    for entry in index.entries(kind).values():
        for name, schema in json_schema(entry.fields())["properties"].items():
            if "x-registry" not in schema:
                assert "x-type" not in json.dumps(schema), f"{kind} {entry.name}.{name}: {schema}"


@pytest.mark.parametrize("kind", kinds())
def test_listed_defaults_are_the_real_ones(kind: str) -> None:
    for entry in registry_of(kind).entries():
        config_class = registry_of(kind).config_class(entry.name)
        real = {field.name: field for field in dataclasses.fields(config_class) if field.init}
        assert [field.name for field in entry.fields()] == list(real)
        for field in entry.fields():
            made = real[field.name]
            assert field.required == (made.default is dataclasses.MISSING and made.default_factory is dataclasses.MISSING), field
            if not field.required:
                value = made.default if made.default is not dataclasses.MISSING else made.default_factory()  # type: ignore[misc]
                if isinstance(value, Config):  # a component, as the source writes it
                    assert str(field.default).partition("(")[0] == type(value).__name__
                    continue
                assert field.default == (str(value) if isinstance(value, Path) else value), f"{entry.name}.{field.name}"


def test_defaults_that_are_components_are_told_by_name() -> None:
    fields = json_schema(index.entries("models")["denoise_then_compress"].fields())["properties"]
    assert fields["denoiser"]["default"] == {"name": "standard"}
    assert fields["compressor"]["default"] == {"name": "hyperprior", "measurement": "rgb"}
    distortion = json_schema(index.entries("losses")["rate_distortion"].fields())["properties"]["distortion"]
    assert distortion["default"] == {"name": "ms_ssim_loss"}
