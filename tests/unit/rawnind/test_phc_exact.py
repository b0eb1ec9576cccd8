"""Latents are the same bits everywhere: golden files, threads, half precision, and a decoder written from the documents alone."""

from __future__ import annotations

import copy
import hashlib
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from photic.apps.rawnind.compressing.container import read_header
from photic.apps.rawnind.compressing.decoding import decoded_latents, decompress_picture
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor
from photic.apps.rawnind.compressing.model_identity import model_id
from photic.functional.cfa import BAYER

from . import phc_reference
from .compressors import FACTORIZED, PRIORS, TINY, TINY_RGB, loaded_compressor
from .denoisers import NOISE, noisy

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FACTS = json.loads((GOLDEN / "phc1.json").read_text(encoding="utf-8"))
NAMES = list(FACTS["files"])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "model.photic"
    path.write_bytes(lzma.decompress((GOLDEN / FACTS["bundle"]).read_bytes()))
    return path


@pytest.fixture(scope="module")
def model(bundle):
    return load_compressor(bundle, "cpu")


def sha256(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.numpy().astype("<f4").tobytes()).hexdigest()


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.phc").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_golden_files_decode_to_the_stored_latents(model, name):
    expected = FACTS["files"][name]
    latents = decoded_latents(model, golden(name))
    assert list(latents.shape) == expected["latents"]
    assert sha256(latents) == expected["sha256"]
    assert float(latents.std()) > 0.3  # there is something in them
    picture = decompress_picture(model, golden(name))
    assert np.allclose(picture.values.mean(axis=(0, 1), dtype="f8"), expected["mean"], rtol=1e-4, atol=1e-6)
    assert (picture.orientation, picture.camera) == (6, "Made Camera")


def test_the_golden_model_has_its_id(model):
    assert model_id(model.task.network).hex() == FACTS["model_id"]
    assert {read_header(golden(name)).model for name in NAMES} == {FACTS["model_id"]}


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_in_plain_python_makes_the_same_of_them(bundle, model, name):
    prefix, network = "model.graph.network.", model.task.network
    stored = {key.removeprefix(prefix): value for key, value in load_file(bundle).items() if key.startswith(prefix)}
    tensors = {
        key: value
        for key, value in stored.items()
        if key.startswith("decoder.") or key == "log_inverse_gain" or (key.startswith("bit_estimator.") and value.dtype.kind in "iu")
    }
    file = phc_reference.File(golden(name))
    latents = phc_reference.hyperprior_latents(file, tensors)
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest() == FACTS["files"][name]["sha256"]
    settings = {
        "companding": "root",
        "decoder": "bayer_ps",
        "measurement": "mosaic",
        "multiple": network.multiple,
        "stride": network.stride,
    }
    assert phc_reference.model_id(tensors, settings) == file.model
    picture = phc_reference.picture(file, tensors, latents, settings)
    found = decompress_picture(model, golden(name)).values
    assert np.abs(picture - found).max() < 1e-5 * max(1.0, np.abs(found).max())


@pytest.mark.parametrize("name", NAMES)
def test_a_network_in_bfloat16_decodes_the_same_latents(model, name):
    cast = copy.deepcopy(model)
    cast.task.to(torch.bfloat16)
    assert next(cast.task.network.parameters()).dtype == torch.bfloat16
    assert sha256(decoded_latents(cast, golden(name))) == FACTS["files"][name]["sha256"]
    near, exact = (decompress_picture(one, golden(name)).values for one in (cast, model))
    assert 0 < np.abs(near - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("config", [TINY, TINY_RGB])
def test_what_a_cast_network_codes_is_read_by_the_other(config):
    model, cast = loaded_compressor(config), loaded_compressor(config)
    cast.task.to(torch.bfloat16)
    picture = noisy(40, 50, BAYER["GRBG"] if config is TINY else None)
    data = compress_picture(cast, picture, noise=NOISE)
    assert torch.equal(decoded_latents(model, data), decoded_latents(cast, data))


@pytest.mark.parametrize(
    ("config", "reference"), [(FACTORIZED, phc_reference.factorized_latents), (PRIORS, phc_reference.many_priors_latents)]
)
def test_other_entropy_models_are_described_too(config, reference):
    model = loaded_compressor(config)
    data = compress_picture(model, noisy(50, 70, BAYER["GRBG"]), noise=NOISE, tile=4)
    tensors = {name: value.detach().numpy() for name, value in model.task.network.decoding().tensors.items()}
    assert np.array_equal(reference(phc_reference.File(data), tensors), decoded_latents(model, data).numpy())


def test_threads_do_not_change_latents_or_files(model):
    before = torch.get_num_threads()
    picture, made = noisy(80, 70, BAYER["GBRG"]), []
    data = compress_picture(model, picture, noise=NOISE)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append((sha256(decoded_latents(model, data)), [sha256(decoded_latents(model, golden(name))) for name in NAMES]))
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1]
    assert made[0][1] == [FACTS["files"][name]["sha256"] for name in NAMES]


def test_the_id_is_of_what_decoding_depends_on_alone():
    first = loaded_compressor().task.network
    same, other = copy.deepcopy(first), copy.deepcopy(first)
    with torch.no_grad():
        for parameter in same.encoder.parameters():
            parameter.add_(0.5)
        same.log_gain.add_(0.5)
        next(iter(other.decoder.parameters())).add_(0.5)
    assert model_id(same) == model_id(first)
    assert model_id(other) != model_id(first)
    table = copy.deepcopy(first)
    table.bit_estimator.scale_tables.frequencies[0, :2] += torch.tensor([1, -1], dtype=torch.int32)
    gains = copy.deepcopy(first)
    with torch.no_grad():
        gains.log_inverse_gain.mul_(1.1)
    curve = copy.deepcopy(first)
    curve.companding = "none"
    assert len({model_id(one) for one in (first, other, table, gains, curve)}) == 5
