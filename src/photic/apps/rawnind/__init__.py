"""Raw photographs: developed, denoised, demosaiced and compressed by networks; from files and from Python.

>>> from photic.apps.rawnind import create_bayer_denoiser, create_denoiser_trainer, load_model_from_checkpoint
>>> from photic.apps.rawnind import create_compressor, create_denoise_compress_trainer
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from photic.core.registry import lazy_attributes

if TYPE_CHECKING:
    from photic.apps.rawnind.api.bitstream import Bitstream
    from photic.apps.rawnind.api.compression_trainer import CleanDenoiseCompressTrainer, create_denoise_compress_trainer
    from photic.apps.rawnind.api.compressor import CleanCompressor, create_compressor
    from photic.apps.rawnind.api.dataset_api import (
        PairBatches,
        create_datasets,
        create_test_dataset,
        create_training_dataset,
        create_validation_dataset,
        prepare_dataset_splits,
        validate_dataset_format,
    )
    from photic.apps.rawnind.api.dataset_config import DatasetConfig
    from photic.apps.rawnind.api.experiment import CleanExperimentManager, create_experiment_manager
    from photic.apps.rawnind.api.image_metrics import compute_image_metrics
    from photic.apps.rawnind.api.inference import CleanBayerDenoiser, CleanDenoiser, create_bayer_denoiser, create_rgb_denoiser
    from photic.apps.rawnind.api.inference_config import InferenceConfig
    from photic.apps.rawnind.api.loading import load_model_from_checkpoint
    from photic.apps.rawnind.api.trainers import CleanDenoiserTrainer, create_denoiser_trainer
    from photic.apps.rawnind.api.training_config import TrainingConfig

__all__ = [
    "Bitstream",
    "CleanBayerDenoiser",
    "CleanCompressor",
    "CleanDenoiseCompressTrainer",
    "CleanDenoiser",
    "CleanDenoiserTrainer",
    "CleanExperimentManager",
    "DatasetConfig",
    "InferenceConfig",
    "PairBatches",
    "TrainingConfig",
    "compute_image_metrics",
    "create_bayer_denoiser",
    "create_compressor",
    "create_datasets",
    "create_denoise_compress_trainer",
    "create_denoiser_trainer",
    "create_experiment_manager",
    "create_rgb_denoiser",
    "create_test_dataset",
    "create_training_dataset",
    "create_validation_dataset",
    "load_model_from_checkpoint",
    "prepare_dataset_splits",
    "validate_dataset_format",
]

_PLACES = {
    "api.bitstream": ("Bitstream",),
    "api.compression_trainer": ("CleanDenoiseCompressTrainer", "create_denoise_compress_trainer"),
    "api.compressor": ("CleanCompressor", "create_compressor"),
    "api.dataset_api": (
        "PairBatches",
        "create_datasets",
        "create_test_dataset",
        "create_training_dataset",
        "create_validation_dataset",
        "prepare_dataset_splits",
        "validate_dataset_format",
    ),
    "api.dataset_config": ("DatasetConfig",),
    "api.experiment": ("CleanExperimentManager", "create_experiment_manager"),
    "api.image_metrics": ("compute_image_metrics",),
    "api.inference": ("CleanBayerDenoiser", "CleanDenoiser", "create_bayer_denoiser", "create_rgb_denoiser"),
    "api.inference_config": ("InferenceConfig",),
    "api.loading": ("load_model_from_checkpoint",),
    "api.trainers": ("CleanDenoiserTrainer", "create_denoiser_trainer"),
    "api.training_config": ("TrainingConfig",),
}

# Imported on use: the command line lists this application without importing torch.
__getattr__ = lazy_attributes(__name__, {name: f"{__name__}.{module}" for module, names in _PLACES.items() for name in names})
