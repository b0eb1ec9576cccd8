"""Ptychography from Python: make a model, train it on a scan, reconstruct another one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from torch import nn

from photic.apps.ptycho.inference import load_network, network_of, predict_scan
from photic.apps.ptycho.opening import open_scans
from photic.apps.ptycho.raw import RawNPZData, Scans, save_raw_npz
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.solver_options import SolverConfig
from photic.core.errors import ConfigError, DataError, nearest
from photic.core.files import atomic_path
from photic.core.registry import models
from photic.core.schema import Config, Range, field_types
from photic.engine.config import TrainerConfig, TrainingConfig
from photic.inference.predictor import LoadedModel
from photic.models.phase_retrieval import PhaseRetrievalConfig
from photic.tracking.run import Run
from photic.workflows.bundle import bundle
from photic.workflows.config import TrainConfig
from photic.workflows.recipes import recipe
from photic.workflows.train import TrainResult, train

Data = str | Path | Sequence[str | Path] | RawNPZData
NO_NETWORK = "none"
_RECIPE = "ptycho_pinn"
_SIZES = ("size_px", "num_patterns")


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(Config):
    """How a trained model is applied."""

    inference_batch_size: Annotated[int, Range(ge=1)] = 32
    """Patterns at a time."""
    inference_neighbor_count: Annotated[int, Range(ge=1)] = 4
    """Nearest patterns that the others of a group are drawn from, at gridsize 2 and more."""
    probe: Literal["auto", "scan", "model"] = "auto"
    """Whose probe: the scan's, the model's, or (auto) the model's where training refined it."""
    refine_probe: bool = False
    """Refine the probe, too, where `infer(..., refine=n)` goes on with iterations."""
    refine_positions: bool = False
    """Refine the positions, too."""


class Trainer(Protocol):
    """What trains a model; `PtychoModel.train(trainer_cls=...)` takes another than Photic's own."""

    def __init__(self, config: TrainConfig, *, quiet: bool) -> None: ...

    def run(self) -> TrainResult:
        """Train as the configuration says and return the finished run."""
        ...


class PhoticTrainer:
    """Trains with :func:`photic.train`."""

    def __init__(self, config: TrainConfig, *, quiet: bool) -> None:
        self.config, self.quiet = config, quiet

    def run(self) -> TrainResult:
        """Train."""
        return train(self.config, quiet=self.quiet)


class PtychoModel:
    """A network for phase retrieval with all it needs to be trained and used; or, as ``architecture="none"``, the iterative solver alone.

    Args:
        architecture: name of a network (``cnn``, ``fno``, ``hybrid``, ``hybrid_resnet``, or one that a plug-in brings), or ``none``.
        N: side of the patterns in pixels.
        gridsize: gridsize squared neighbouring patterns go in together.
        **options: fields of the network's config (``width_factor=0.5``), of
            :class:`~photic.engine.config.TrainingConfig` (``ema_decay=0.99``), of :class:`~photic.engine.config.TrainerConfig`
            (``num_threads=1``) and of :class:`InferenceConfig`.

    Raises:
        ConfigError: an unknown option, or sizes that the network cannot take.
        UnknownNameError: no such network.

    Example:
        >>> from photic.apps.ptycho import PtychoModel
        >>> model = PtychoModel(architecture="cnn", N=64, gridsize=1, width_factor=0.25)
        >>> made = model.train("train.npz", epochs=20).infer("test.npz", stitching=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        architecture: str = "cnn",
        N: int = 64,  # noqa: N803 - the field's name for the side of a pattern
        gridsize: int = 1,
        **options: Any,
    ) -> None:
        if gridsize < 1:
            raise ConfigError(f"gridsize: expected a whole number from 1, got {gridsize}")
        self.architecture = architecture
        self.N, self.gridsize = N, gridsize
        kinds: dict[str, type[Config]] = {"training": TrainingConfig, "execution": TrainerConfig, "inference": InferenceConfig}
        if architecture != NO_NETWORK:
            kind = models.config_class(architecture, "architecture")
            if not issubclass(kind, PhaseRetrievalConfig):
                raise ConfigError(f"architecture: '{architecture}' is no network for phase retrieval; see `photic list models`")
            kinds["model"] = kind
        chosen = _routed(options, kinds)
        self.model_config: PhaseRetrievalConfig | None = None
        """The network; None for ``none``."""
        if architecture != NO_NETWORK:
            sizes = {"size_px": N, "num_patterns": gridsize**2}
            preset = {"probe_big": True} if "probe_big" in field_types(kinds["model"]) else {}
            self.model_config = kinds["model"].from_dict({**preset, **chosen["model"], **sizes}, "options")  # type: ignore[assignment]
            assert self.model_config is not None
            self.model_config.build()  # refuses sizes now rather than after the data were read
        self._training = chosen["training"]
        self.training_config = recipe(_RECIPE, _under("training", self._training) | {"data.path": "scan.npz"}).training
        """How long and how training goes."""
        self.execution_config: TrainerConfig = TrainerConfig.from_dict(chosen["execution"], "options")
        """Where it runs."""
        self.inference_config: InferenceConfig = InferenceConfig.from_dict(chosen["inference"], "options")
        """How it is applied."""
        self.data_config: Config | None = None
        """The scans it was trained on and how they were grouped; None before training."""
        self.run: Path | None = None
        """Folder of the training run; None before training and for a loaded bundle."""
        self.history: list[dict[str, Any]] = []
        """What each epoch gave: ``epoch``, ``train`` and ``val`` values."""
        self._loaded: LoadedModel | None = None

    @property
    def model(self) -> nn.Module:
        """The trained network.

        Raises:
            ConfigError: it was not trained yet, or there is none.
        """
        return network_of(self._trained()).network

    @property
    def intensity_scale(self) -> float:
        """Factor from modelled amplitudes (probe and object) to measured ones."""
        return float(network_of(self._trained()).graph.intensity_scale.detach())

    def train(
        self,
        data: Data,
        *,
        neighbor_count: int = 4,
        n_groups: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        seed: int = 0,
        test: Data | None = None,
        overrides: dict[str, Any] | None = None,
        output_dir: Path | str = "runs",
        quiet: bool = False,
        trainer_cls: type[Trainer] | None = None,
    ) -> Self:
        """Train on a scan, or on several; the run folder keeps everything, and ``photic train --resume`` can go on with it.

        Args:
            data: a file, several files, or a scan in memory (written into ``output_dir`` first).
            neighbor_count: nearest patterns, itself left out, from which the others of a group are drawn.
            n_groups: training groups; None makes one of every training pattern.
            epochs: passes over the training groups; None is the recipe's.
            batch_size: groups per step; None is the recipe's.
            lr: learning rate; None is the recipe's.
            seed: of weights, split, groups and order.
            test: scans to test on afterwards.
            overrides: further changes to the recipe ``ptycho_pinn``, such as ``{"loss.name": "poisson_nll", "data.supervised": True}``.
            output_dir: where runs go.
            quiet: no progress display.
            trainer_cls: what trains instead of Photic's own workflow.

        Raises:
            DataError: a scan is unusable.
            ConfigError: an override is wrong, or there is no network to train.
        """
        if self.model_config is None:
            raise ConfigError("architecture 'none' has no network to train; reconstruct with infer(data, refine=ITERATIONS)")
        changes: dict[str, Any] = {
            "experiment": "ptycho_model",
            "seed": seed,
            "output_dir": str(output_dir),
            "data.path": _paths(data, Path(output_dir)),
            "data.gridsize": self.gridsize,
            "data.neighbor_count": max(neighbor_count, 1),
            "data.n_groups": n_groups,
            **({} if test is None else {"data.test_path": _paths(test, Path(output_dir))}),
            **({} if batch_size is None else {"data.batch_size": batch_size}),
            **({} if lr is None else {"optimizer.lr": lr}),
            **_under("training", self._training),
            **({} if epochs is None else {"training.num_epochs": epochs}),
            **(overrides or {}),
        }
        config = recipe(_RECIPE, changes).replace(model=self.model_config, trainer=self.execution_config)
        result = (trainer_cls or PhoticTrainer)(config, quiet=quiet).run()
        self.data_config, self.training_config = config.data, config.training
        self.run, self.history = result.run, result.results["history"]
        Run.open(result.run).save_results(inference=self.inference_config.to_dict())  # a bundle takes it along
        self._loaded = load_network(result.run)
        return self

    def infer(
        self,
        data: Data,
        *,
        stitching: bool = False,
        refine: int = 0,
        patches: bool = False,
        seed: int = 0,
    ) -> Reconstruction:
        """Reconstruct a scan.

        Args:
            data: a file, several files that are one scan, or a scan in memory.
            stitching: make one object; otherwise the result holds patches with their positions and ``object`` is None.
            refine: iterations through the forward model, from the network's object on; implies stitching.
            patches: keep the patches beside a stitched object.
            seed: of groups at gridsize 2 and more, and of the order of iterations.

        Raises:
            ConfigError: there is neither a trained network nor a number of iterations.
            DataError: the scan is unusable, or of another size.
        """
        scan = _opened(data).as_one()
        if scan.size_px != self.N:
            size = f"{scan.size_px} x {scan.size_px}"
            raise DataError(
                f"{scan.source}: patterns of {size} pixels, but this model has N={self.N}; crop them, or use a model of their size"
            )
        settings = self.inference_config
        options: dict[str, Any] = {"refine_probe": settings.refine_probe, "refine_positions": settings.refine_positions, "seed": seed}
        if self.model_config is None:
            if not refine:
                raise ConfigError("architecture 'none' is the iterative solver: give a number of iterations, infer(data, refine=50)")
            return reconstruct(scan, SolverConfig(iterations=refine, **options), device="cpu")
        loaded = self._trained()
        made = predict_scan(
            network_of(loaded),
            scan,
            neighbor_count=settings.inference_neighbor_count,
            batch_size=settings.inference_batch_size,
            probe=settings.probe,
            seed=seed,
            device=loaded.device,
            stitching=stitching or refine > 0,
            patches=patches,
            method=self.architecture,
        )
        if not refine:
            return made
        from photic.apps.ptycho.refinement import refine as go_on

        return go_on(made, scan, refine, device=loaded.device, **options)

    def save(self, path: Path | str, *, force: bool = False) -> Path:
        """Write the trained model as a bundle: one file with weights, configuration, normalisation, how to infer, metrics and card.

        Raises:
            ConfigError: it was not trained, or the file is there already.
        """
        loaded, path = self._trained(), Path(path)
        if self.run is not None:
            return bundle(self.run, path, force=force).bundle
        if path.exists() and not force:
            raise ConfigError(f"{path}: is there already; give another name, or force=True to replace it")
        with atomic_path(path) as temporary:
            shutil.copyfile(loaded.source, temporary)
        return path

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> PtychoModel:
        """Load a bundle or the best weights of a run; nothing of the file is executed.

        Raises:
            ConfigError: it holds another kind of model.
            CheckpointError: missing, damaged, altered, or of a newer format.
        """
        loaded = load_network(path, device)
        settings = {name: value for name, value in loaded.config["model"].items() if value is not None}
        architecture = settings.pop("name")
        task = network_of(loaded)
        for name in _SIZES:
            settings.pop(name, None)
        made = cls(architecture=architecture, N=task.network.size_px, gridsize=round(task.network.num_patterns**0.5), **settings)
        made._loaded = loaded
        made.run = Path(path) if Path(path).is_dir() else None
        saved = loaded.description if made.run is None else Run.open(made.run).results
        made.inference_config = InferenceConfig.from_dict(saved.get("inference", {}), f"{path}: inference")
        return made

    def _trained(self) -> LoadedModel:
        if self._loaded is None:
            raise ConfigError("the model is not trained yet; call train(scan) first, or PtychoModel.load(file)")
        return self._loaded


def _routed(options: dict[str, Any], kinds: dict[str, type[Config]]) -> dict[str, dict[str, Any]]:
    """Return each option under the config that has a field of its name."""
    chosen: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    # How large and how many patterns are is said by N and gridsize.
    fields = {kind: [name for name in field_types(config) if name not in _SIZES] for kind, config in kinds.items()}
    known = [name for names in fields.values() for name in names]
    for name, value in options.items():
        places = [kind for kind, names in fields.items() if name in names]
        if not places:
            raise ConfigError(f"PtychoModel: unknown option '{name}'{nearest(name, known)} (options: {', '.join(sorted(known))})")
        chosen[places[0] if "model" not in places else "model"][name] = value
    return chosen


def _under(section: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{section}.{name}": value for name, value in values.items()}


def _opened(data: Data) -> Scans:
    return Scans((data,)) if isinstance(data, RawNPZData) else open_scans(data)


def _paths(data: Data, folder: Path) -> str | list[str]:
    """Return the files of scans; one in memory is written to a file first, since a run must be able to read it again."""
    if isinstance(data, RawNPZData):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(10_000):
            path = folder / f"scan_{number}.npz"
            if not path.exists():
                return str(save_raw_npz(path, data))
        raise DataError(f"{folder}: holds ten thousand scans already; give another output_dir")
    return str(data) if isinstance(data, str | Path) else [str(path) for path in data]
