"""The Python API: make, train, infer, save, load."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from photic.apps.ptycho import PtychoModel, RawNPZData, Reconstruction, group_raw_npz, load_raw_npz, save_raw_npz
from photic.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from photic.core.registry import models
from photic.models.phase_retrieval import PhaseRetrievalConfig, PhaseRetrievalNetwork
from photic.workflows.train import TrainResult

N = 16
TINY: dict[str, Any] = {"width_factor": 0.125, "num_threads": 1}
QUICK: dict[str, Any] = {"epochs": 1, "quiet": True, "overrides": {"data.probe_iterations": 0}}


def same(one: Reconstruction, other: Reconstruction) -> None:
    """Hold two results to the same bits."""
    for name in ("object", "coverage", "positions_px", "probe", "patches"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None), name
        if first is not None:
            np.testing.assert_array_equal(first, second, err_msg=name)
    assert one.origin_px == other.origin_px
    assert one.r_amp == other.r_amp


# --- as on the design page -----------------------------------------------------------------------


def test_the_example_of_the_design_page(scan_file: Path, scan: RawNPZData, tmp_path: Path) -> None:
    model = PtychoModel(architecture="cnn", N=16, gridsize=1, **TINY)
    returned = model.train(str(scan_file), neighbor_count=4, n_groups=40, epochs=2, seed=0, output_dir=tmp_path, quiet=True)
    assert returned is model
    assert [entry["epoch"] for entry in model.history] == [1, 2]
    assert all(np.isfinite(entry["val"]["r_amp"]) for entry in model.history)
    recon = model.infer(str(scan_file), stitching=True)
    assert isinstance(recon, Reconstruction)  # never the grouped dict
    assert recon.object is not None and np.iscomplexobj(recon.object)
    assert recon.coverage is not None and recon.coverage.shape == recon.object.shape
    assert len(recon.origin_px) == 2
    path = model.save(tmp_path / "model.photic")
    same(PtychoModel.load(path).infer(scan_file, stitching=True), recon)
    for name in ("model_config", "data_config", "training_config", "inference_config", "execution_config", "model", "intensity_scale"):
        assert getattr(model, name) is not None
    assert load_raw_npz(scan_file).num_patterns == scan.num_patterns
    assert group_raw_npz(scan, N=16, gridsize=1, neighbor_count=4, n_groups=5)["X_full"].shape == (5, 16, 16, 1)


def test_without_stitching_there_are_patches_with_their_positions(trained: PtychoModel, scan: RawNPZData) -> None:
    recon = trained.infer(scan)
    assert isinstance(recon, Reconstruction)
    assert recon.object is None
    assert recon.patches is not None and recon.patches.shape == (60, N, N)
    np.testing.assert_array_equal(recon.positions_px, scan.positions_px)


def test_patches_beside_the_object_on_request(trained: PtychoModel, scan: RawNPZData) -> None:
    assert trained.infer(scan, stitching=True).patches is None
    both = trained.infer(scan, stitching=True, patches=True)
    assert both.object is not None and both.patches is not None
    np.testing.assert_array_equal(both.patches, trained.infer(scan).patches)


def test_refinement_in_one_call(trained: PtychoModel, scan: RawNPZData) -> None:
    plain, refined = trained.infer(scan, stitching=True), trained.infer(scan, refine=5)
    assert plain.r_amp is not None and refined.r_amp is not None
    assert refined.r_amp < plain.r_amp
    assert refined.method == "cnn + 5 iterations"
    same(trained.infer(scan, refine=5), refined)


def test_a_scan_in_several_files_is_one_scan(trained: PtychoModel, scan: RawNPZData, tmp_path: Path) -> None:
    halves = [save_raw_npz(tmp_path / f"{i}.npz", scan.take(np.arange(i, 60, 2))) for i in (0, 1)]
    made = trained.infer(halves, stitching=True)
    np.testing.assert_allclose(made.stitched(), trained.infer(scan, stitching=True).stitched(), atol=1e-4)


# --- options -------------------------------------------------------------------------------------


def test_options_go_where_they_belong() -> None:
    options = {
        "width_factor": 0.25,
        "output": "real_imag",
        "ema_decay": 0.9,
        "num_threads": 1,
        "inference_batch_size": 7,
        "refine_probe": True,
    }
    model = PtychoModel(architecture="cnn", N=32, **options)
    assert model.model_config is not None
    assert (model.model_config.width_factor, model.model_config.output) == (0.25, "real_imag")  # type: ignore[attr-defined]
    assert (model.model_config.size_px, model.model_config.num_patterns) == (32, 1)
    assert model.training_config.ema_decay == 0.9
    assert model.execution_config.num_threads == 1
    assert (model.inference_config.inference_batch_size, model.inference_config.refine_probe) == (7, True)
    assert model.data_config is None
    assert PtychoModel(N=32, gridsize=2, width_factor=0.25).model_config.num_patterns == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("architecture", ["cnn", "fno", "hybrid", "hybrid_resnet"])
def test_every_architecture_can_be_made(architecture: str) -> None:
    model = PtychoModel(architecture=architecture, N=32)
    assert model.model_config is not None
    assert model.model_config.registry_name == architecture


def test_wrong_options_are_refused_with_suggestions() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'width_facto'.*mean.*'width_factor'"):
        PtychoModel(width_facto=0.5)
    with pytest.raises(ConfigError, match=r"width_factor"):
        PtychoModel(width_factor="wide")
    with pytest.raises(ConfigError, match=r"inference_batch_size"):
        PtychoModel(inference_batch_size=0)
    with pytest.raises(UnknownNameError, match="hybrid_resnett.*hybrid_resnet"):
        PtychoModel(architecture="hybrid_resnett")
    with pytest.raises(ConfigError, match="'tiny' is no network for phase retrieval"):
        PtychoModel(architecture="tiny")
    with pytest.raises(ConfigError, match="not divisible by 8"):
        PtychoModel(N=20)
    for gridsize in (0, -1):
        with pytest.raises(ConfigError, match=r"gridsize|num_patterns"):
            PtychoModel(gridsize=gridsize)


def test_sizes_belong_to_the_model_and_are_no_options() -> None:
    """N and gridsize say them; an option that silently loses would be worse than none."""
    with pytest.raises(ConfigError, match="size_px"):
        PtychoModel(N=32, size_px=64)


def test_training_options_reach_the_run(scan_file: Path, tmp_path: Path) -> None:
    model = PtychoModel(N=N, ema_decay=0.9, gradient_clip_norm=0.5, **TINY)
    model.train(scan_file, lr=3e-4, batch_size=5, seed=3, output_dir=tmp_path, **QUICK)
    assert model.run is not None
    import yaml

    config = yaml.safe_load((model.run / "config.yaml").read_text())
    assert config["training"]["ema_decay"] == 0.9
    assert config["training"]["gradient_clip_norm"] == 0.5
    assert config["optimizer"]["lr"] == 3e-4
    assert config["data"]["batch_size"] == 5
    assert config["seed"] == 3
    assert config["model"]["width_factor"] == 0.125
    assert model.data_config is not None
    assert model.training_config.num_epochs == 1


# --- training ------------------------------------------------------------------------------------


def test_a_scan_in_memory_is_trained_on_like_its_file(scan: RawNPZData, scan_file: Path, tmp_path: Path) -> None:
    one = PtychoModel(N=N, **TINY).train(scan, output_dir=tmp_path / "memory", **QUICK)
    other = PtychoModel(N=N, **TINY).train(scan_file, output_dir=tmp_path / "file", **QUICK)
    same(one.infer(scan, stitching=True), other.infer(scan, stitching=True))
    assert len(list((tmp_path / "memory").glob("*.npz"))) == 1  # kept, so that the run can be resumed


def test_several_files_and_a_test_scan(scan: RawNPZData, tmp_path: Path) -> None:
    files = [save_raw_npz(tmp_path / f"{i}.npz", scan.take(np.arange(i, 60, 3))) for i in range(3)]
    model = PtychoModel(N=N, **TINY).train(files[:2], test=files[2], output_dir=tmp_path / "runs", **QUICK)
    assert model.run is not None
    results = json.loads((model.run / "results.json").read_text())
    assert results["test"]["r_amp"] > 0


def test_the_same_seed_gives_the_same_bits(scan_file: Path, tmp_path: Path) -> None:
    made = [
        PtychoModel(N=N, **TINY).train(scan_file, seed=seed, output_dir=tmp_path, **QUICK).infer(scan_file, stitching=True)
        for seed in (0, 0, 1)
    ]
    same(made[0], made[1])
    assert not np.array_equal(made[0].stitched(), made[2].stitched())


def test_training_again_trains_anew(scan_file: Path, tmp_path: Path) -> None:
    model = PtychoModel(N=N, **TINY).train(scan_file, output_dir=tmp_path, **QUICK)
    first = model.infer(scan_file, stitching=True)
    same(model.train(scan_file, output_dir=tmp_path, **QUICK).infer(scan_file, stitching=True), first)
    assert len(model.history) == 1


def test_supervised_training_with_a_known_object(scan_file: Path, scan: RawNPZData, tmp_path: Path) -> None:
    overrides = {"data.supervised": True, "loss.name": "complex_mae", "data.probe_iterations": 0, "optimizer.lr": 3e-3}
    model = PtychoModel(N=N, **TINY).train(scan_file, epochs=8, overrides=overrides, output_dir=tmp_path, quiet=True)
    losses = [entry["train"]["loss"] for entry in model.history]
    assert losses[-1] < losses[0]


def test_a_scan_of_another_size_is_refused_before_training(scan_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="size_px: 32 does not fit the data, which have 16"):
        PtychoModel(N=32, **TINY).train(scan_file, output_dir=tmp_path, **QUICK)


def test_probe_modes_and_positions_can_be_trained(scan_file: Path, tmp_path: Path) -> None:
    overrides = {"task.num_modes": 2, "task.train_probe": True, "task.refine_positions": True, "data.probe_iterations": 0}
    model = PtychoModel(N=N, gridsize=2, **TINY).train(scan_file, epochs=1, overrides=overrides, output_dir=tmp_path, quiet=True)
    recon = model.infer(scan_file, stitching=True)
    assert recon.probe is not None and recon.probe.shape == (2, N, N)  # the trained one
    same(PtychoModel.load(model.save(tmp_path / "m.photic")).infer(scan_file, stitching=True), recon)


def test_another_trainer_can_be_brought(scan_file: Path, tmp_path: Path) -> None:
    seen: list[Any] = []

    class Mine:
        def __init__(self, config: Any, *, quiet: bool) -> None:
            seen.append((config, quiet))
            self.config = config

        def run(self) -> TrainResult:
            import photic

            return photic.train(self.config, quiet=True)

    PtychoModel(N=N, **TINY).train(scan_file, output_dir=tmp_path, trainer_cls=Mine, **QUICK)
    ((config, quiet),) = seen
    assert quiet is True
    assert config.model.size_px == N


# --- saving and loading --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["bundle", "run", "bundle of a loaded bundle"])
def test_a_loaded_model_gives_the_same_answer_to_the_bit(how: str, trained: PtychoModel, scan: RawNPZData, tmp_path: Path) -> None:
    assert trained.run is not None
    path = trained.run if how == "run" else trained.save(tmp_path / "model.photic")
    loaded = PtychoModel.load(path)
    if how.endswith("loaded bundle"):
        loaded = PtychoModel.load(loaded.save(tmp_path / "again.photic"))
    for options in ({"stitching": True}, {"patches": True}, {"refine": 3}):
        same(loaded.infer(scan, **options), trained.infer(scan, **options))  # type: ignore[arg-type]
    assert loaded.N == N and loaded.gridsize == 1 and loaded.architecture == "cnn"
    assert loaded.model_config == trained.model_config
    assert loaded.intensity_scale == trained.intensity_scale


def test_the_normalisation_is_saved_and_not_computed_again(trained: PtychoModel, scan: RawNPZData, tmp_path: Path) -> None:
    """A scan with other photons gets the training set's number from a loaded model, too."""
    loaded = PtychoModel.load(trained.save(tmp_path / "model.photic"))
    brighter = dataclasses.replace(scan, diffraction=2 * scan.diffraction[:])
    seen: list[Tensor] = []
    loaded.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    loaded.infer(scan)
    loaded.infer(brighter)
    torch.testing.assert_close(seen[-1], 2 * seen[0][: len(seen[-1])] if len(seen) == 2 else 2 * seen[len(seen) // 2 - 1])
    same(loaded.infer(brighter), trained.infer(brighter))


def test_settings_of_inference_are_part_of_the_model(scan_file: Path, tmp_path: Path) -> None:
    """They decide what comes out, so a saved model that forgot them would answer otherwise."""
    options = {"inference_neighbor_count": 9, "inference_batch_size": 5, "refine_probe": True}
    model = PtychoModel(N=N, gridsize=2, **TINY, **options).train(scan_file, output_dir=tmp_path, **QUICK)  # type: ignore[arg-type]
    loaded = PtychoModel.load(model.save(tmp_path / "model.photic"))
    assert model.run is not None
    assert loaded.inference_config == model.inference_config == PtychoModel.load(model.run).inference_config
    same(loaded.infer(scan_file, refine=3), model.infer(scan_file, refine=3))


def test_save_refuses_what_is_there_and_an_untrained_model(trained: PtychoModel, tmp_path: Path) -> None:
    path = trained.save(tmp_path / "model.photic")
    with pytest.raises(ConfigError, match="is there already"):
        trained.save(path)
    trained.save(path, force=True)
    loaded = PtychoModel.load(path)
    other = loaded.save(tmp_path / "other.photic")
    assert other.read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        loaded.save(path)
    with pytest.raises(ConfigError, match="not trained yet"):
        PtychoModel(N=N, **TINY).save(tmp_path / "nothing.photic")
    assert not (tmp_path / "nothing.photic").exists()


def test_load_refuses_other_and_damaged_files(trained: PtychoModel, tmp_path: Path) -> None:
    path = trained.save(tmp_path / "model.photic")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.photic").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.photic"):
        PtychoModel.load(tmp_path / "damaged.photic")
    with pytest.raises(CheckpointError, match=r"missing\.photic"):
        PtychoModel.load(tmp_path / "missing.photic")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    import photic

    small = {"data.num_samples": 120, "data.height": 32, "data.width": 64, "training.num_epochs": 1, "output_dir": str(tmp_path)}
    run = photic.train(photic.recipe("quick_strips", small), quiet=True, page=False).run
    with pytest.raises(ConfigError, match="not for ptychography"):
        PtychoModel.load(run)


def test_an_untrained_model_says_what_to_do(scan: RawNPZData) -> None:
    model = PtychoModel(N=N, **TINY)
    for use in (lambda: model.infer(scan), lambda: model.model, lambda: model.intensity_scale):
        with pytest.raises(ConfigError, match=r"not trained yet; call train\(scan\) first"):
            use()


# --- without a network ---------------------------------------------------------------------------


def test_none_is_the_iterative_solver_alone(scan: RawNPZData, scan_file: Path) -> None:
    model = PtychoModel(architecture="none", N=N)
    assert model.model_config is None
    found = model.infer(scan_file, refine=20)
    assert found.r_amp is not None and found.r_amp < 0.2
    assert len(found.history) == 20
    with pytest.raises(ConfigError, match=r"give a number of iterations, infer\(data, refine=50\)"):
        model.infer(scan, stitching=True)
    with pytest.raises(ConfigError, match="has no network to train"):
        model.train(scan_file)
    with pytest.raises(ConfigError, match="unknown option 'width_factor'"):
        PtychoModel(architecture="none", width_factor=0.5)


def test_none_refuses_scans_of_another_size(scan: RawNPZData) -> None:
    with pytest.raises(DataError, match="patterns of 16 x 16 pixels, but this model has N=64"):
        PtychoModel(architecture="none", N=64).infer(scan, refine=2)


# --- third parties -------------------------------------------------------------------------------


class Shallow(PhaseRetrievalNetwork):
    """Two convolutions."""

    def __init__(self, num_patterns: int, size_px: int, hidden: int) -> None:
        super().__init__(num_patterns, size_px)
        self.body = nn.Sequential(nn.Conv2d(num_patterns, hidden, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(hidden, 2 * num_patterns, 3, padding=1)
        self.start_flat(self.head)

    def parts(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.head(self.body(amplitude)).chunk(2, dim=1)
        return first, second


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register a network as a third party would, for one test."""
    for name in ("classes", "added", "_places"):
        monkeypatch.setattr(models.catalogue, name, dict(getattr(models.catalogue, name)))

    @models.register("shallow")
    @dataclass(frozen=True, kw_only=True)
    class ShallowConfig(PhaseRetrievalConfig):
        """Two convolutions."""

        hidden: int = 8
        """Channels."""

        def build(self) -> Shallow:
            return Shallow(*self.sizes(), self.hidden)

    return "shallow"


def test_a_third_partys_architecture_is_used_by_its_name(shallow: str, scan_file: Path, tmp_path: Path) -> None:
    model = PtychoModel(architecture=shallow, N=N, hidden=6, num_threads=1).train(scan_file, output_dir=tmp_path, **QUICK)
    assert isinstance(model.model, Shallow)
    recon = model.infer(scan_file, stitching=True)
    assert recon.method == "shallow"
    loaded = PtychoModel.load(model.save(tmp_path / "m.photic"))
    assert loaded.architecture == "shallow"
    same(loaded.infer(scan_file, stitching=True), recon)
