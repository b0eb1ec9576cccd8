"""What training starts from: where weights are found, which are taken, and what is refused before anything is trained."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors.torch import save_file

from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from photic.core.files import sha256_of
from photic.core.registry import losses, tasks
from photic.engine.config import TrainingConfig
from photic.inference.bundle import write_bundle
from photic.inference.description import describe
from photic.models.denoise_then_compress import DenoiseThenCompressConfig
from photic.models.hyperprior import HyperpriorConfig
from photic.models.standard import StandardConfig
from photic.workflows.starting import check_same_start, check_start, network_weights, start

MODEL = HyperpriorConfig(width=4, num_latents=6, num_strides=2, hyper_widths=(4, 4))
LOSS = losses.configure("rate_distortion", distortion={"name": "mse"})


def build(model=MODEL, seed=0):
    torch.manual_seed(seed)
    return tasks.configure("compression", metrics=("psnr",)).build(model, LOSS, {})


def plain(task):
    return {name: value.clone() for name, value in task.state_dict().items()}


def described(model=MODEL):
    return {"config": {"task": {"name": "compression"}, "model": model.to_dict()}}


@pytest.fixture(scope="module")
def trained():
    return build(seed=1)


@pytest.fixture(scope="module")
def places(trained, tmp_path_factory):
    """Return the same weights in every form that training takes."""
    folder = tmp_path_factory.mktemp("sources")
    write_checkpoint(folder / "kept.safetensors", Checkpoint(plain(trained), description=described()))
    other = {name: value + 1 if value.is_floating_point() else value for name, value in plain(trained).items()}
    write_checkpoint(folder / "averaged.safetensors", Checkpoint(other, ema=plain(trained), description=described()))
    save_file(plain(trained.network), folder / "bare.safetensors")
    torch.save(plain(trained.network), folder / "bare.pth")
    config = {"task": {"name": "compression"}, "model": MODEL.to_dict(), "data": {"name": "raw_generated"}}
    write_bundle(folder / "bundle.photic", trained, {**describe(config, {}, "x"), "created": "", "photic": "", "card": ""})
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 1\n")
    write_checkpoint(run / "checkpoints" / "last.safetensors", Checkpoint(other, description=described()))
    write_checkpoint(run / "checkpoints" / "best.safetensors", Checkpoint(plain(trained), description=described()))
    return folder


FORMS = (
    "kept.safetensors",
    "averaged.safetensors",
    "bare.safetensors",
    "bare.pth",
    "bundle.photic",
    "run",
    "run/checkpoints/best.safetensors",
)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_taken_from_every_form_and_nothing_else_is(places, trained, form):
    task = build()
    source = str(places / form)
    found = start(task, MODEL, TrainingConfig(start_from=source))
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in task.state_dict().items())
    assert found["source"] == source
    assert found["sha256"] == sha256_of(found["file"])
    assert found["file"].endswith("best.safetensors" if form.startswith("run") else form)


def test_without_a_source_weights_stay_random():
    task = build()
    before = plain(task)
    assert start(task, MODEL, TrainingConfig()) is None
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_a_model_that_comes_with_photic_goes_by_its_name():
    model = StandardConfig()
    task = tasks.configure("raw_denoising", metrics=("psnr",)).build(model, losses.configure("l1"), {})
    found = start(task, model, TrainingConfig(start_from="rawdenoise"))
    assert found["file"].endswith("rawdenoise.photic")
    weights = network_weights("rawdenoise")
    assert all(torch.equal(value, weights[name]) for name, value in task.network.state_dict().items())


def test_other_shapes_are_refused_and_named_and_nothing_is_changed(places):
    model = MODEL.replace(width=5)
    task = build(model)
    before = plain(task)
    with pytest.raises(CheckpointError, match=r"training\.start_from=.*kept.*the weights do not fit this network(.|\n)*encoder\.0\.weight"):
        start(task, model, TrainingConfig(start_from=str(places / "kept.safetensors")))
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_weights_of_the_same_shapes_for_other_settings_are_taken_with_a_warning(places):
    model = MODEL.replace(companding="root")
    with pytest.warns(UserWarning, match=r"trained with other settings: model\.companding was none, is root"):
        start(build(model), model, TrainingConfig(start_from=str(places / "bundle.photic")))


def test_where_weights_came_from_before_is_no_other_setting(tmp_path):
    inner = MODEL.replace(measurement="rgb")
    first = DenoiseThenCompressConfig(denoiser=StandardConfig(size="tiny"), compressor=inner, denoiser_from="elsewhere")
    write_checkpoint(tmp_path / "two.safetensors", Checkpoint(plain(build(first)), description=described(first)))
    second = first.replace(denoiser_from=None)
    task = build(second)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start(task, second, TrainingConfig(start_from=str(tmp_path / "two.safetensors")))
    task.network.check_trainable()  # its denoiser came along
    other = second.replace(compressor=inner.replace(companding="root"))
    with pytest.warns(UserWarning, match=r"model\.compressor\.companding was none, is root"):
        start(build(other), other, TrainingConfig(start_from=str(tmp_path / "two.safetensors")))


def test_a_denoiser_that_is_named_wins_over_the_one_that_came_along(tmp_path):
    torch.manual_seed(9)
    denoiser = StandardConfig(size="tiny").build()
    save_file(denoiser.state_dict(), tmp_path / "denoiser.safetensors")
    model = DenoiseThenCompressConfig(denoiser=StandardConfig(size="tiny"), compressor=MODEL.replace(measurement="rgb"))
    write_checkpoint(tmp_path / "two.safetensors", Checkpoint(plain(build(model)), description=described(model)))
    named = model.replace(denoiser_from=str(tmp_path / "denoiser.safetensors"))
    task = build(named)
    start(task, named, TrainingConfig(start_from=str(tmp_path / "two.safetensors")))
    assert all(torch.equal(value, task.network.denoiser.state_dict()[name]) for name, value in denoiser.state_dict().items())


def test_what_is_not_there_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'rawdenoise'"):
        check_start(TrainingConfig(start_from="rawdenois"))
    with pytest.raises(DataError, match="not a run folder"):
        check_start(TrainingConfig(start_from=str(tmp_path)))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        check_start(TrainingConfig(start_from=str(tmp_path)))
    check_start(TrainingConfig(start_from="rawdenoise"))
    check_start(TrainingConfig())


def test_previous_is_for_sweeps_and_a_folder_of_that_name_is_written_as_a_path(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"'previous' is the job before it in a sweep.*a folder of this name: \./previous"):
        check_start(TrainingConfig(start_from="previous"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "previous").mkdir()
    with pytest.raises(DataError, match="not a run folder"):  # so it was looked at
        check_start(TrainingConfig(start_from="./previous"))


def test_a_run_that_begins_again_needs_the_weights_it_began_with(tmp_path):
    one, other = {"file": "a", "sha256": "1"}, {"file": "a", "sha256": "2"}
    check_same_start(None, None, tmp_path)
    check_same_start(one, dict(one), tmp_path)
    for before, now in ((one, other), (None, one), (one, None)):
        with pytest.raises(DataError, match=r"the weights it started from have changed since \(a\)"):
            check_same_start(before, now, tmp_path)
