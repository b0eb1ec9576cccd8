"""Models that come with Photic, exported and held against themselves on real files."""

from __future__ import annotations

from pathlib import Path

import pytest

import photic

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("lowlight", "lowlight/lol/low/105.webp"),
        ("lowlight_zero_dce", "lowlight/lol/low/112.webp"),
        ("rawdenoise", "raw/camera/canon_eos30d_iso100_IMG_0848.CR2"),
        ("rawdenoise", "raw/bracket/sample1.dng"),
        ("rawcompress", "raw/bracket/sample2.dng"),
    ],
)
def test_on_a_real_file_it_is_the_model(model: str, file: str, real_data: Path, tmp_path: Path) -> None:
    made = photic.export(model, tmp_path / "model.onnx", check=[real_data / file], quiet=True)
    checked = made.description["checked"]["on"]
    assert [one["what"] for one in checked] == ["made-up inputs of other sizes", Path(file).name]
    for one in (difference for check in checked for difference in check["differences"]):
        assert one["relative"] < 1e-5, one  # the tolerance is ten times that
        assert one.get("turned", 0.0) < 1e-3, one


def test_fp16_of_the_denoiser_pays_and_agrees_on_a_real_file(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "raw/bracket/sample1.dng"
    made = photic.export("rawdenoise", tmp_path / "model.onnx", precision="fp16", check=[file], quiet=True)
    assert made.description["size_bytes"] < 0.6 * 4 * 0.9e6
    assert all(one["psnr_db"] > 60 for check in made.description["checked"]["on"] for one in check["differences"])


def test_int8_of_the_enhancer_pays_and_says_what_it_loses(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "lowlight/lol/low").glob("*.webp"))[:4]
    made = photic.export("lowlight", tmp_path / "model.onnx", precision="int8", calibrate=files, check=files[:1], quiet=True)
    full = photic.export("lowlight", tmp_path / "full.onnx", quiet=True)
    assert made.description["size_bytes"] < 0.75 * full.description["size_bytes"]
    assert all(40 < one["psnr_db"] < 60 for check in made.description["checked"]["on"] for one in check["differences"])
