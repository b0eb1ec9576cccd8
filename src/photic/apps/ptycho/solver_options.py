"""Settings of the iterative solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from photic.core.errors import ConfigError
from photic.core.schema import Config, Range

Likelihood = Literal["amplitude", "poisson"]
POISSON_BELOW_COUNTS = 10.0
"""Mean counts of a valid pixel below which `likelihood="auto"` takes the Poisson likelihood."""


@dataclass(frozen=True, kw_only=True)
class SolverConfig(Config):
    """Mini-batch gradient reconstruction of one object, and on request of probe and positions.

    A poor result? Spots or grids in the object: more iterations, or `refine_probe`. A blurred object: wrong positions (`refine_positions`),
    wrong axes, or a wrong probe. Washed-out patterns: `num_modes=2` or 3. A diverging R_amp: halve `object_step` and `probe_step`.

    Raises:
        ConfigError: a value is out of range, or the fields contradict each other.

    >>> SolverConfig(iterations=30, refine_probe=False).batch_size
    8
    """

    iterations: Annotated[int, Range(ge=1)] = 40
    """Passes over all patterns."""
    batch_size: Annotated[int, Range(ge=1)] = 8
    """Patterns per update. Fewer converge in fewer passes; more are faster per pass, above all on a GPU."""
    likelihood: Literal["auto", "amplitude", "poisson"] = "auto"
    """What is fitted: `amplitude` = sum (sqrt(I) - sqrt(n))^2, robust against what the model does not know; `poisson` = sum I - n log I,
    better where most pixels count a few photons at most. `auto` is `poisson` where a valid pixel counts below 10 photons on average."""
    interpolation: Literal["fourier", "bilinear"] = "fourier"
    """Between pixels: `fourier` shifts the probe by the fraction, exact for a band-limited probe; `bilinear` interpolates the object, which
    is the operator that networks train and simulations measure through, and which smooths."""
    object_step: Annotated[float, Range(gt=0, le=2)] = 1.5
    """Step of the object at the start, relative to the one that fits a single pattern at once where the light is strongest."""
    momentum: Annotated[float, Range(ge=0, le=0.95)] = 0.5
    """Share of an object's update that goes on in the next one; 0 is none. More is faster as long as it is stable."""
    damping: Annotated[float, Range(gt=0, le=1)] = 0.3
    """How much steps are held back where there is little light: near 0 hardly (fast, noisy edges), 1 in proportion to the light (ePIE)."""
    decay: Literal["cosine", "linear", "none"] = "cosine"
    """How steps go to zero over the run. Without decay the result keeps the noise of the last mini-batches."""
    refine_probe: bool = True
    """Improve the probe too; set it to false where the probe is known better than the scan can tell."""
    probe_step: Annotated[float, Range(gt=0, le=2)] = 1.0
    """Step of the probe, relative like `object_step`."""
    probe_momentum: Annotated[float, Range(ge=0, le=0.95)] = 0.8
    """Share of a probe's update that goes on in the next one; weak modes grow slowly without."""
    probe_start: Annotated[int, Range(ge=0)] | None = None
    """Iterations before the probe is touched, while the object takes shape; null: 1, or none of fewer than 4."""
    num_modes: Annotated[int, Range(ge=1, le=64)] | None = None
    """Incoherent modes of the probe; null takes those of the given probe. Further modes need `refine_probe`."""
    refine_positions: bool = False
    """Improve the positions too."""
    position_step: Annotated[float, Range(gt=0, le=2)] = 0.5
    """Share of the Gauss-Newton step of a position that is taken."""
    position_start: Annotated[int, Range(ge=0)] | None = None
    """Iterations before positions are touched; null: 3, at most a quarter of all."""
    position_limit_px: Annotated[float, Range(gt=0)] = 3.0
    """How far a position may move from where it was given, in x and in y."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Order of the patterns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for switch, start in (("refine_probe", self.first_probe_iteration), ("refine_positions", self.first_position_iteration)):
            if getattr(self, switch) and start >= self.iterations:
                raise ConfigError(
                    f"SolverConfig.{switch}: true, but to begin after {start} of {self.iterations} iterations; "
                    f"begin earlier, give more iterations, or set {switch} to false"
                )

    @property
    def first_probe_iteration(self) -> int:
        """Iterations before the probe is touched."""
        return min(1, self.iterations // 4) if self.probe_start is None else self.probe_start

    @property
    def first_position_iteration(self) -> int:
        """Iterations before positions are touched."""
        return min(3, self.iterations // 4) if self.position_start is None else self.position_start
