"""Every registered network goes into a bundle and comes out the same."""

from pathlib import Path

import pytest
import torch

from photic.core.errors import CheckpointError
from photic.core.registry import losses, models
from photic.core.schema import field_types
from photic.data.base import PreparedData
from photic.functional.cfa import RGGB, cfa_planes
from photic.inference.bundle import same_deployment, write_bundle
from photic.inference.card import card
from photic.inference.description import describe
from photic.inference.predictor import load
from photic.losses.bce import BCEWithLogitsConfig
from photic.models import get_registry
from photic.models.base import ClassifierConfig
from photic.models.compression import CompressorConfig
from photic.models.enhancement import EnhancerConfig
from photic.models.phase_retrieval import PhaseRetrievalConfig
from photic.models.raw_denoising import RawDenoiserConfig
from photic.tasks.classification import MultilabelClassificationConfig
from photic.tasks.compression import CompressionConfig
from photic.tasks.enhancement import EnhancementConfig
from photic.tasks.ptychography import PtychographyConfig
from photic.tasks.raw_denoising import RawDenoisingConfig

NAMES = get_registry().list_models()
CLASSIFIERS = [name for name in NAMES if issubclass(models.config_class(name), ClassifierConfig)]
PHASE_RETRIEVAL = [name for name in NAMES if issubclass(models.config_class(name), PhaseRetrievalConfig)]
ENHANCERS = [name for name in NAMES if issubclass(models.config_class(name), EnhancerConfig)]
RAW_DENOISERS = [name for name in NAMES if issubclass(models.config_class(name), RawDenoiserConfig)]
COMPRESSORS = [name for name in NAMES if issubclass(models.config_class(name), CompressorConfig)]
N = 16


def test_every_network_is_of_a_kind_that_is_bundled_here() -> None:
    assert sorted([*CLASSIFIERS, *ENHANCERS, *PHASE_RETRIEVAL, *RAW_DENOISERS, *COMPRESSORS]) == NAMES


def refuse_damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the content has changed|damaged"):
        load(path, "cpu")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_round_trips_through_a_bundle(name: str, tmp_path: Path) -> None:
    model = models.configure(name, **({"pretrained": False} if "pretrained" in field_types(models.config_class(name)) else {}))
    task_config = MultilabelClassificationConfig()
    torch.manual_seed(0)
    task = task_config.build(model, BCEWithLogitsConfig(), {"classes": ["a", "b", "c"], "thresholds": [0.2, 0.5, 0.8]}).eval()
    config = {"task": task_config.to_dict(), "model": model.to_dict(), "data": {"name": "voc", "image_size": [64, 96]}}
    facts = {"photic": "0", "created": "today", **describe(config, {}, f"contract/{name}")}
    path = write_bundle(tmp_path / "m.photic", task, {**facts, "card": card(facts | task.description())})
    torch.manual_seed(99)
    loaded = load(path, "cpu")
    assert type(loaded.task.network) is type(task.network)
    assert (loaded.classes, loaded.thresholds, loaded.image_size) == (("a", "b", "c"), (0.2, 0.5, 0.8), (64, 96))
    assert same_deployment(task, loaded.task)
    picture = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.predict_batch(picture), task.deployable()(picture))
    refuse_damaged(path)


@pytest.mark.parametrize("trained", [False, True], ids=["given probe", "trained probe"])
@pytest.mark.parametrize("name", PHASE_RETRIEVAL)
def test_a_network_for_phase_retrieval_round_trips_through_a_bundle(name: str, trained: bool, tmp_path: Path) -> None:
    """With its probe, its normalisation and its scale."""
    small = {"width_factor": 0.125, "width": 4, "modes": 3}
    fields = field_types(models.config_class(name))
    model = models.configure(name, **{key: value for key, value in small.items() if key in fields})
    task_config = PtychographyConfig(train_probe=trained, train_intensity_scale=trained)
    torch.manual_seed(0)
    facts = {
        "size_px": N,
        "num_patterns": 4,
        "probes": torch.randn(2, 3, N, N, dtype=torch.complex64),
        "mask": torch.rand(N, N) > 0.1,
        "normalisation": 0.0123,
        "intensity_scale": 1.5,
        "num_positions": 7,
        "supervised": False,
        "refined_probe": trained,
        "scaled_probe": not trained,
        "scans": ["a.npz", "b.npz"],
    }
    data = PreparedData(splits={}, names={}, extras=facts)
    task = task_config.build(model, losses.configure("amplitude_mae"), data).eval()  # type: ignore[arg-type]
    config = {"task": task_config.to_dict(), "model": model.to_dict(), "data": {"name": "ptycho_scan"}}
    said = {"photic": "0", "created": "today", **describe(config, {}, f"contract/{name}")}
    path = write_bundle(tmp_path / "m.photic", task, {**said, "card": card(said | task.description(), task.usage)})
    torch.manual_seed(99)
    loaded = load(path, "cpu")
    assert same_deployment(task, loaded.task)
    amplitude = 20 * torch.rand(2, 4, N, N, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.task.deployable()(amplitude), task.deployable()(amplitude))
    assert torch.equal(loaded.task.graph.probes, task.graph.probes)
    assert float(loaded.task.graph.normalisation) == float(task.graph.normalisation)
    assert float(loaded.task.graph.intensity_scale.detach()) == pytest.approx(1.5)
    assert loaded.description["ptychography"]["scans"] == ["a.npz", "b.npz"]
    refuse_damaged(path)


@pytest.mark.parametrize("name", ENHANCERS)
def test_an_enhancer_round_trips_through_a_bundle(name: str, tmp_path: Path) -> None:
    small = {"width": 8, "backbone": "test_efficientnet", "semantic_dim": 8}
    fields = field_types(models.config_class(name))
    model = models.configure(name, **{key: value for key, value in small.items() if key in fields})
    task_config = EnhancementConfig(metrics=("psnr",))
    torch.manual_seed(0)
    task = task_config.build(model, losses.configure("l1"), PreparedData(splits={}, names={})).eval()  # type: ignore[arg-type]
    config = {"task": task_config.to_dict(), "model": model.to_dict(), "data": {"name": "lowlight_pairs"}}
    said = {"photic": "0", "created": "today", **describe(config, {}, f"contract/{name}")}
    path = write_bundle(tmp_path / "m.photic", task, {**said, "card": card(said | task.description(), task.usage)})
    torch.manual_seed(99)
    loaded = load(path, "cpu")
    assert same_deployment(task, loaded.task)
    picture = 0.2 * torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.task.deployable()(picture), task.deployable()(picture))
    refuse_damaged(path)


@pytest.mark.parametrize("measurement", ["mosaic", "rgb"])
@pytest.mark.parametrize("name", RAW_DENOISERS)
def test_a_raw_denoiser_round_trips_through_a_bundle(name: str, measurement: str, tmp_path: Path) -> None:
    """With the kind of measurement it takes."""
    small = {"width": 4, "num_latents": 4, "size": "tiny"}
    fields = field_types(models.config_class(name))
    model = models.configure(name, measurement=measurement, **{key: value for key, value in small.items() if key in fields})
    task_config = RawDenoisingConfig()
    torch.manual_seed(0)
    data = PreparedData(splits={}, names={}, extras={"measurement": measurement, "iso": (100.0, 6400.0)})
    task = task_config.build(model, losses.configure("l1"), data).eval()  # type: ignore[arg-type]
    config = {"task": task_config.to_dict(), "model": model.to_dict(), "data": {"name": "raw_pairs"}}
    said = {"photic": "0", "created": "today", **describe(config, {}, f"contract/{name}")}
    path = write_bundle(tmp_path / "m.photic", task, {**said, "card": card(said | task.description(), task.usage)})
    torch.manual_seed(99)
    loaded = load(path, "cpu")
    assert type(loaded.task.network) is type(task.network)
    assert loaded.task.network.measurement == measurement
    assert same_deployment(task, loaded.task)
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 1 if measurement == "mosaic" else 3, 40, 56, generator=generator)
    planes = cfa_planes(RGGB, 40, 56)[None] if measurement == "mosaic" else torch.ones(1, 3, 40, 56)
    given = picture, planes, torch.tensor([[1e-3, 1e-5]]), torch.tensor([[2.0, 1.0, 1.5]])
    with torch.inference_mode():
        assert torch.equal(loaded.task.deployable()(*given), task.deployable()(*given))
    refuse_damaged(path)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_compressor_round_trips_through_a_bundle(name: str, tmp_path: Path) -> None:
    """With the integer tables that files are coded with: they are not made of the weights again."""
    small = {
        "width": 4,
        "num_latents": 4,
        "num_strides": 2,
        "num_priors": 3,
        "denoiser": {"name": "standard", "size": "tiny"},
        "compressor": {"name": "factorized", "measurement": "rgb", "width": 4, "num_latents": 4, "num_strides": 2},
    }
    fields = field_types(models.config_class(name))
    model = models.configure(name, **{key: value for key, value in small.items() if key in fields})
    task_config = CompressionConfig()
    torch.manual_seed(0)
    saved = {"measurement": "mosaic", "iso": (100.0, 6400.0)}
    task = task_config.build(model, losses.configure("rate_distortion"), saved).eval()  # type: ignore[arg-type]
    estimator = task.network.bit_estimator
    estimator.fix()
    marked = [key for key, _ in estimator.named_buffers() if key.endswith("lowest")]
    for key in marked:
        estimator.get_buffer(key).sub_(2)
    config = {"task": task_config.to_dict(), "model": model.to_dict(), "data": {"name": "raw_pairs"}}
    said = {"photic": "0", "created": "today", **describe(config, {}, f"contract/{name}")}
    path = write_bundle(tmp_path / "m.photic", task, {**said, "card": card(said | task.description(), task.usage)})
    torch.manual_seed(99)
    loaded = load(path, "cpu")
    assert type(loaded.task.network) is type(task.network)
    assert same_deployment(task, loaded.task)
    generator = torch.Generator().manual_seed(0)
    picture, planes = torch.rand(1, 1, 40, 56, generator=generator), cfa_planes(RGGB, 40, 56)[None]
    given = picture, planes, torch.tensor([[1e-3, 1e-5]]), torch.tensor([[2.0, 1.0, 1.5]])
    with torch.inference_mode():
        made, own = loaded.task.deployable()(*given), task.deployable()(*given)
    assert torch.equal(made.picture, own.picture)
    assert all(torch.equal(made.bits[key], own.bits[key]) for key in own.bits)
    files = [one.network.bit_estimator.coder().encode(own.analysed[0], 4) for one in (task, loaded.task)]  # type: ignore[union-attr]
    assert (files[0].side, files[0].tiles) == (files[1].side, files[1].tiles)
    assert marked
    for key in marked:
        assert torch.equal(loaded.task.network.bit_estimator.get_buffer(key), estimator.get_buffer(key)), key  # type: ignore[union-attr]
    refuse_damaged(path)
