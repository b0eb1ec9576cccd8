"""The models that come with the application: small, compact, with cards and terms; and what they must not do to colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photic.apps.lowlight import enhance, load_enhancer
from photic.apps.lowlight.synthetic import draw_pair
from photic.cli.main import main
from photic.core.plugins import get_plugin
from photic.functional.colour import delta_e_2000, srgb_to_lab
from photic.workflows.info import info

PLUGIN = get_plugin("lowlight")
SHIPPED = PLUGIN.shipped_models()


@pytest.fixture(params=SHIPPED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_there_is_a_compact_model_and_zero_dce_and_together_they_are_small() -> None:
    assert set(SHIPPED) == {"lowlight", "lowlight_zero_dce"}
    assert sum(path.stat().st_size for path in SHIPPED.values()) < 4e6


def test_each_is_compact_and_says_where_it_comes_from(name: str) -> None:
    found = info(SHIPPED[name])
    assert found.facts["parameters"]["total"] <= 100_000
    card = found.card or ""
    for needed in ("LOL", "research", "photic train recipe=", "seed", "trained for", "PSNR", "Fails", "validation"):
        assert needed in card, needed


def test_their_terms_lie_beside_them_and_are_not_those_of_the_code() -> None:
    text = (PLUGIN.folder() / PLUGIN.weights / "LICENSE.md").read_text(encoding="utf-8")
    assert "not** covered by the Apache-2.0" in text
    assert "research" in text


def test_predict_takes_them_by_name(name: str, tmp_path: Path) -> None:
    low, _ = draw_pair(3, 0, 96, 144)
    Image.fromarray(low).save(tmp_path / "photo.png")
    assert main(["predict", name, str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png"), "--quiet"]) == 0
    made = np.asarray(Image.open(tmp_path / "out.png")).astype(float)
    assert made.shape == low.shape
    assert low.mean() * 2 < made.mean() < 230


def test_info_knows_their_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "bundle"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_strength_zero_changes_nothing(name: str, kind: type) -> None:
    ramp = np.repeat(np.linspace(0, 0.25, 64)[None, :, None], 40, axis=0).repeat(3, axis=2)
    picture = (ramp * (np.iinfo(kind).max if kind is not np.float32 else 1)).astype(kind)
    assert np.array_equal(enhance(picture, load_enhancer(name, "cpu"), strength=0), picture)


@pytest.mark.parametrize("brightness", [1.0, 0.5, 0.25])
def test_greys_get_no_cast(name: str, brightness: float) -> None:
    import torch

    levels = np.repeat(np.arange(61), 8) * brightness / 255
    ramp = np.broadcast_to(levels[None, :, None], (128, len(levels), 3)).astype(np.float32)
    made = torch.from_numpy(enhance(ramp, load_enhancer(name, "cpu"))).double().permute(2, 0, 1)[None]
    lab = srgb_to_lab(made)
    neutral = torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], dim=1)
    assert float(delta_e_2000(lab, neutral).max()) <= 3
