"""Settings of the Python interface: what is refused, each with its own message, and where settings come from."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from photic.apps.rawnind import DatasetConfig, InferenceConfig, TrainingConfig, create_bayer_denoiser, create_denoiser_trainer
from photic.core.errors import ConfigError

TINY: dict[str, Any] = {"model_architecture": "unet", "filter_units": 2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss_function": "ms_ssim", "crop_size": 160}, r"crop_size: ms_ssim needs crops of more than 160 pixels.*got 160"),
        ({"loss_function": "ms_ssim", "crop_size": 200, "val_crop_size": 128}, r"val_crop_size: ms_ssim needs.*got 128"),
        ({"additional_metrics": ["psnr", "ms_ssim"], "crop_size": 128}, r"val_crop_size: ms_ssim needs.*got 128"),
        ({"input_channels": 4, "crop_size": 129}, r"crop_size: crops of a Bayer mosaic need even sides, got 129; use 130"),
        ({"input_channels": 4, "test_crop_size": 257}, r"test_crop_size: crops of a Bayer mosaic need even sides"),
        ({"learning_rate": 0.0}, r"learning_rate: expected a finite value above 0, got 0.0"),
        ({"learning_rate": -1e-4}, r"learning_rate: expected a finite value above 0"),
        ({"learning_rate": float("nan")}, r"learning_rate"),
        ({"model_architecture": "unett"}, r"model_architecture: unknown architecture 'unett'; did you mean .*'unet'"),
        ({"model_architecture": "convnext_tiny_cbam"}, r"model_architecture: .*does not denoise raw pictures; use one of .*standard"),
        ({"loss_function": "msssim"}, r"loss_function: expected one of 'mse', 'l1', 'ms_ssim', got 'msssim'.*did you mean 'ms_ssim'"),
        ({"additional_metrics": ["msssim"]}, r"additional_metrics: .*msssim.*did you mean .*'ms_ssim'"),
        ({"additional_metrics": ["macro_ap"]}, r"additional_metrics: "),
        ({"additional_metrics": ["f1"]}, r"additional_metrics: 'f1' does not judge pictures"),
        ({"match_gain": "always"}, r"match_gain: expected one of 'never', 'input', 'output'"),
        ({"transfer_function": "gamma"}, r"transfer_function: expected one of"),
        ({"device": "gpu0"}, r"device: 'gpu0' is none"),
        ({"device": -2}, r"device: expected .*got -2"),
        ({"input_channels": 5}, r"input_channels: expected 3 \(RGB\) or 4"),
        ({"output_channels": 1}, r"output_channels: expected 3"),
        ({"model_architecture": "standard", "filter_units": 20}, r"filter_units: 'standard' has sizes of 16, 32, 48, 64"),
        ({"lr_decay_factor": 1.5}, r"lr_decay_factor: expected a value"),
        ({"patience": 0}, r"patience: expected a value"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_training_refuses_says_why(fields, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**fields)


def test_ms_ssim_takes_161_pixels():
    assert TrainingConfig(loss_function="ms_ssim", crop_size=161).crop_size == 161
    assert TrainingConfig(additional_metrics=["ms_ssim"], crop_size=64, val_crop_size=161).val_crop_size == 161
    with pytest.raises(ConfigError, match="even sides, got 161"):
        create_denoiser_trainer("bayer_to_rgb", TrainingConfig(**TINY, loss_function="ms_ssim", crop_size=161))


def test_a_misspelt_field_is_named():
    with pytest.raises(ConfigError, match="learning_rat.*did you mean 'learning_rate'"):
        create_denoiser_trainer("rgb_to_rgb", {"learning_rat": 1e-3})


def test_the_kind_of_training_and_the_channels_fit_each_other():
    with pytest.raises(ConfigError, match="training_type: expected one of rgb_to_rgb, bayer_to_rgb, got 'bayer_to_rg'.*did you mean"):
        create_denoiser_trainer("bayer_to_rg", TrainingConfig(**TINY))
    with pytest.raises(ConfigError, match="bayer_to_rgb takes 4 channels, not 3"):
        create_denoiser_trainer("bayer_to_rgb", TrainingConfig(**TINY, input_channels=3))
    with pytest.raises(ConfigError, match="even sides, got 33"):
        create_denoiser_trainer("bayer_to_rgb", TrainingConfig(**TINY, crop_size=33))
    assert create_denoiser_trainer("bayer_to_rgb", TrainingConfig(**TINY, input_channels=4)).model.measurement == "mosaic"
    with pytest.raises(ConfigError, match="nothing to train"):
        create_denoiser_trainer("rgb_to_rgb", TrainingConfig(model_architecture="identity"))


def test_settings_come_from_yaml(tmp_path):
    file = tmp_path / "training.yaml"
    file.write_text("model_architecture: unet\nfilter_units: 2\nlearning_rate: 1e-4\nadditional_metrics: [psnr]\ndevice: -1\n")
    config = TrainingConfig.from_yaml(file)
    assert (config.learning_rate, config.additional_metrics, config.device) == (1e-4, ("psnr",), "cpu")
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert create_denoiser_trainer("rgb_to_rgb", file).config == config
    file.write_text("loss_function: ms_ssim\ncrop_size: 100\n")
    with pytest.raises(ConfigError, match="crop_size: ms_ssim needs crops"):
        TrainingConfig.from_yaml(file)


@pytest.mark.parametrize("device", ["cpu", -1, torch.device("cpu")], ids=str)
def test_devices_that_are_there(device):
    assert create_bayer_denoiser("identity", device=device).device == torch.device("cpu")
    assert create_denoiser_trainer("rgb_to_rgb", TrainingConfig(**TINY, device=device)).device == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:99", 99, torch.device("cuda", 99)], ids=str)
def test_a_device_that_is_not_there_is_a_clear_error(device):
    for make in (
        lambda: create_bayer_denoiser("unet", device=device, filter_units=2),
        lambda: create_denoiser_trainer("rgb_to_rgb", TrainingConfig(**TINY, device=device)),
    ):
        with pytest.raises(ConfigError, match="device 'cuda:99' is not available here"):
            make()


def test_precision_has_two_spellings():
    assert InferenceConfig(precision="float32").precision == InferenceConfig(precision="fp32").precision == "fp32"
    with pytest.raises(ConfigError, match="precision: expected one of"):
        InferenceConfig(precision="int8")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset_type": "bayer"}, "dataset_type: expected one of"),
        ({"dataset_type": "rgb_pairs", "input_channels": 4}, r"input_channels: rgb_pairs gives 3 \(RGB\), not 4"),
        ({"crop_size": 65}, "crop_size: crops need even sides, got 65; use 66"),
        ({"augmentations": ["flip"]}, "augmentations: unknown 'flip'; did you mean 'flips'"),
        ({"dataset_type": "clean_only", "augmentations": []}, "clean_only always mirrors and turns"),
        ({"dataset_type": "clean_only", "test_reserve_images": ["a"]}, "test_reserve_images: clean_only draws"),
        ({"min_valid_pixels_ratio": 1.5}, "min_valid_pixels_ratio: expected a value"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "leave no training"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_data_sets_refuse_says_why(fields, message):
    with pytest.raises(ConfigError, match=message):
        DatasetConfig(**fields)
