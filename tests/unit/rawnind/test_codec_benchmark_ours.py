"""Compressors of Photic in the benchmark: real files, a curve of one model, of several, the command with a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.codec_benchmark.benchmark_codec import main
from photic.apps.rawnind.codec_benchmark.our_codecs import our_codecs
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.encoding import compress_picture
from photic.apps.rawnind.compressing.sources import shipped_compressors
from photic.core.errors import ConfigError
from photic.core.plugins import shipped_models
from photic.workflows.info import task_of

from .compressor_files import write_model
from .compressors import TINY_RGB
from .denoisers import NOISE, noisy
from .test_codec_benchmark import srgb


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of three qualities, and two of one quality each."""
    folder = tmp_path_factory.mktemp("models")
    return [
        write_model(folder / "tiny.photic"),
        *(write_model(folder / f"lambda_{seed}.photic", TINY_RGB, seed) for seed in range(2)),
    ]


def test_a_model_of_several_qualities_is_a_curve(models):
    (one,) = our_codecs([str(models[0])], "cpu")
    assert (one.label, one.qualities, one.how) == ("tiny", (1.0, 2.0, 3.0), "hyperprior, 3 qualities")
    picture, sizes = noisy(64, 96), []
    for quality in one.qualities:
        data = compress_picture(one.models[0], picture, quality=quality, noise=NOISE)
        num_bytes, values = one.coded(picture, quality, NOISE)
        assert num_bytes == len(data) and np.array_equal(values, decompress_picture(one.models[0], data).values)
        assert values.shape == (64, 96, 3)
        sizes.append(num_bytes)
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_models_of_one_quality_each_are_one_curve(models):
    many, sweep = our_codecs([str(models[1]), str(models[0]), str(models[2])], "cpu")
    assert many.label == "tiny"
    assert (sweep.label, sweep.qualities) == ("hyperprior, 2 models", (1.0, 2.0))
    assert sweep.how == "hyperprior, one quality each: lambda_0, lambda_1"
    picture = noisy(64, 64)
    for place, model in enumerate(sweep.models, start=1):
        assert sweep.coded(picture, float(place), NOISE)[0] == len(compress_picture(model, picture, quality=1.0, noise=NOISE))
    (alone,) = our_codecs([str(models[1])], "cpu")
    assert (alone.label, alone.qualities) == ("lambda_0", (1.0,))


def test_models_called_alike_are_told_apart(models):
    assert [one.label for one in our_codecs([str(models[0])] * 2, "cpu")] == ["tiny (1)", "tiny (2)"]


def test_a_denoiser_is_no_compressor():
    with pytest.raises(ConfigError, match="expected a model that compresses raw pictures"):
        our_codecs(["rawdenoise"], "cpu")


def test_models_that_come_along_are_those_that_compress():
    assert list(shipped_compressors()) == [name for name, path in shipped_models().items() if task_of(path) == "compression"]


def test_the_command_holds_a_model_against_a_codec(models, tmp_path, capsys):
    Image.fromarray((srgb() * 255).round().astype(np.uint8)).save(tmp_path / "drawn.png")
    options = ["--codecs", "jpeg", "--quiet", "--device", "cpu", "--workers", "1", "-o", str(tmp_path / "out")]
    assert main([str(tmp_path / "drawn.png"), "--model", str(models[0]), *options]) == 0
    content = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert [(method["label"], method["kind"]) for method in content["methods"]] == [("tiny", "ours"), ("JPEG", "codec")]
    own = [point for point in content["points"] if point["method"] == "tiny"]
    assert [point["setting"] for point in own] == [1, 2, 3] and all(point["num_bytes"] > 100 for point in own)
    assert "tiny" in capsys.readouterr().out  # untrained: JPEG wins
    assert "Where ours does not win" in (tmp_path / "out/report.html").read_text()
