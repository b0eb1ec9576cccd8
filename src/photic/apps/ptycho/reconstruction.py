"""The result of every reconstruction, learned or iterative: a complex object with where and how it was made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.coverage import Region, bounding_box, well_covered
from photic.apps.ptycho.reconstruction_files import DTYPES, checked_array, read, refuse_existing, write
from photic.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("amplitude", "phase", "coverage", "positions", "probe", "convergence")
"""Names of the pictures that :func:`write_outputs` may write, without their ending."""
_FACTS = ("r_amp", "pixel_size_m", "method", "source", "metadata")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """A complex object, where it lies, and what made it.

    Element ``[r, c]`` of :attr:`object` lies at ``x = c + origin_px[0]``, ``y = r + origin_px[1]`` of the grid that
    the positions are given in. Arrays are converted to the types below and checked against each other when it is made.

    **Files.** :meth:`save` writes, by the ending of the name, one of

    - ``.npz``: the arrays under their names here (``object``, ``coverage``, ``positions_px``, ``origin_px``, ``probe``,
      ``patches``, ``history``; those that are None are left out) and ``_metadata``, a 0-d unicode string that holds a JSON object
      with ``format``, ``schema_version``, ``r_amp``, ``pixel_size_m``, ``method``, ``source`` and ``metadata``;
    - ``.h5``: data sets of the same names, each with the attributes ``axes`` and (where it has one) ``units``, ``object`` and
      ``coverage`` also with ``origin_px`` and ``pixel_size_m``; the facts of ``_metadata`` are attributes of the file,
      ``metadata`` among them as JSON.

    Nothing in either is ever unpickled or executed.

    Raises:
        DataError: an array has a wrong shape or type, does not fit the others or is not finite, named with what was expected.

    >>> made = Reconstruction(object=np.ones((4, 6)), coverage=None, origin_px=(10, 20), positions_px=np.zeros((0, 2)), probe=None)
    >>> made.object.dtype, made.origin_px, made.num_positions
    (dtype('complex64'), (10.0, 20.0), 0)
    """

    object: NDArray[np.complex64] | None
    """``(H, W)``; None where only patches were asked for."""
    coverage: NDArray[np.float32] | None
    """``(H, W)`` summed weights |probe|^2 (or hits), 0 = never seen; None: not known."""
    origin_px: tuple[float, float]
    """``(x0, y0)`` of element [0, 0] of the object."""
    positions_px: NDArray[np.float64]
    """``(M, 2)`` [x, y] of the patch centres as used, refined if they were."""
    probe: NDArray[np.complex64] | None
    """``(P, N, N)``: P incoherent modes."""
    patches: NDArray[np.complex64] | None = None
    """``(M, N, N)``, on request."""
    r_amp: float | None = None
    """Sum of |A_model - A| over sum of A, over all patterns."""
    history: tuple[float, ...] = ()
    """Loss or R_amp of every iteration."""
    pixel_size_m: float | None = None
    """Pixel of the object grid in metres; None: not known, pictures show pixels."""
    method: str = ""
    """What made it, for people: ``cnn + 20 iterations``."""
    source: str = ""
    """Files or data set it was made from."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON facts: seconds, cpu_seconds, seed, settings."""

    def __post_init__(self) -> None:
        for name in DTYPES:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked_array(name, value))
        x0, y0 = self.origin_px
        object.__setattr__(self, "origin_px", (float(x0), float(y0)))
        object.__setattr__(self, "history", tuple(float(value) for value in self.history))
        for name in ("r_amp", "pixel_size_m"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0 and (value > 0 or name == "r_amp")):
                raise DataError(f"{name}: expected a finite value {'>= 0' if name == 'r_amp' else '> 0'} or None, got {value!r}")
        self._check_together()

    def _check_together(self) -> None:
        if self.object is None and self.patches is None:
            raise DataError("object and patches: both are None; a reconstruction holds at least one of them")
        if self.coverage is not None:
            expected = None if self.object is None else self.object.shape
            if self.coverage.shape != expected:
                raise DataError(f"coverage: expected the shape of the object, {expected}, got {self.coverage.shape}")
            if (self.coverage < 0).any():
                raise DataError("coverage: expected values >= 0")
        if self.patches is not None and len(self.patches) != len(self.positions_px):
            raise DataError(f"patches: expected one for each of {len(self.positions_px)} positions, got {len(self.patches)}")

    @property
    def num_positions(self) -> int:
        """How many positions were used."""
        return len(self.positions_px)

    @property
    def extent_px(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge of the object on the position grid, y downwards, as matplotlib's ``extent`` wants them.

        Raises:
            DataError: there is no object.
        """
        height, width = self.stitched().shape
        x0, y0 = self.origin_px
        return x0 - 0.5, x0 + width - 0.5, y0 + height - 0.5, y0 - 0.5

    def stitched(self) -> NDArray[np.complex64]:
        """Return the object.

        Raises:
            DataError: there is none, because only patches were asked for.
        """
        if self.object is None:
            raise DataError("object: None, this reconstruction holds patches only; reconstruct again with stitching=True")
        return self.object

    def well_covered(self, share: float = 0.1) -> NDArray[np.bool_]:
        """Return ``(H, W)``: coverage of at least ``share`` of the typical one; all True where no coverage is known.

        Raises:
            DataError: there is no object, or nothing was covered.
        """
        if self.coverage is None:
            return np.ones(self.stitched().shape, dtype=bool)
        return well_covered(self.coverage, share)

    def crop(self, region: Region) -> Self:
        """Return it with object and coverage cut to a rectangle ``(rows, columns)`` of the array; the origin moves along.

        Raises:
            DataError: there is no object, or the rectangle holds nothing of it.
        """
        height, width = self.stitched().shape
        top, bottom, _ = region[0].indices(height)
        left, right, _ = region[1].indices(width)
        if bottom <= top or right <= left:
            raise DataError(f"region: expected a rectangle inside the {height} x {width} pixels of the object, got {region}")
        return dataclasses.replace(
            self,
            object=self.stitched()[top:bottom, left:right].copy(),
            coverage=None if self.coverage is None else self.coverage[top:bottom, left:right].copy(),
            origin_px=(self.origin_px[0] + left, self.origin_px[1] + top),
        )

    def crop_to_coverage(self, share: float = 0.1) -> Self:
        """Return it cut to the smallest rectangle around the well-covered pixels, for figures and comparisons.

        Args:
            share: of the typical coverage that counts as well covered, in (0, 1]; see :func:`photic.apps.ptycho.coverage.well_covered`.

        Raises:
            DataError: there is no object, or nothing was covered.
        """
        return self.crop(bounding_box(self.well_covered(share)))

    def save(self, path: Path | str, *, force: bool = False) -> Path:
        """Write it to ``path`` (``.npz`` or ``.h5``), whole or not at all; see the class for what is in the files.

        Raises:
            ConfigError: another ending, or the file is there already and is not forced.
            DataError: ``metadata`` is no JSON.
            StorageError: the file cannot be written.
        """
        path = Path(path)
        facts = {name: getattr(self, name) for name in _FACTS}
        arrays = {name: getattr(self, name) for name in DTYPES if getattr(self, name) is not None}
        write(path, {name: np.asarray(value, dtype=DTYPES[name]) for name, value in arrays.items()}, facts, force=force)
        return path

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigError: the name ends in neither .npz nor .h5.
            DataError: the file is missing, damaged or holds something else: key, shape found and shape expected are named.
        """
        path = Path(path)
        arrays, facts = read(path)
        origin, history = arrays.pop("origin_px"), arrays.pop("history", ())
        missing = dict.fromkeys(("object", "coverage", "probe"))
        try:
            return cls(origin_px=(origin[0], origin[1]), history=tuple(history), **{**missing, **arrays, **facts})
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def refuse_outputs(folder: Path | str, *, force: bool) -> None:
    """Refuse a folder that :func:`write_outputs` would refuse, before anything is computed for it.

    Raises:
        ConfigError: it is a file, or one of the files to write is there already and is not forced.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder, found a file")
    refuse_existing(
        [*(folder / f"object.{ending}" for ending in ("npz", "h5")), *(folder / f"{name}.png" for name in PICTURES)], force=force
    )


def write_outputs(reconstruction: Reconstruction, folder: Path | str, *, force: bool = False, pictures: bool = True) -> dict[str, Path]:
    """Write a reconstruction and its pictures into a folder.

    Always ``object.npz`` and ``object.h5``; pictures of what there is: ``amplitude.png``, ``phase.png`` and ``coverage.png`` of an object,
    ``positions.png``, ``probe.png`` (amplitude and phase of every mode) and ``convergence.png`` of a history. Colour limits come from
    the well-covered area.

    Args:
        reconstruction: what to write.
        folder: made if it is not there.
        force: replace what is there; pictures of these names that do not belong to this reconstruction are removed.
        pictures: draw pictures, too.

    Returns:
        Paths of the files written by their names without ending; ``npz`` and ``h5`` for the first two.

    Raises:
        ConfigError: one of the files is there already and is not forced; nothing is written then.
        StorageError: a file cannot be written.
    """
    folder = Path(folder)
    makers = pictures_of(reconstruction) if pictures else {}
    files = {"npz": folder / "object.npz", "h5": folder / "object.h5"}
    refuse_outputs(folder, force=force)
    for path in files.values():
        reconstruction.save(path, force=force)
    for name in PICTURES:
        path = folder / f"{name}.png"
        if name in makers:
            from photic.apps.ptycho import figures  # matplotlib is slow to import

            figures.save(makers[name](), path, force=force)
            files[name] = path
        else:
            path.unlink(missing_ok=True)
    return files


def pictures_of(made: Reconstruction) -> dict[str, Callable[[], Figure]]:
    """Return what draws each picture of :data:`PICTURES` that there is data for, by name.

    Object and coverage are cut to the well-covered area with a little around it.
    """
    from photic.apps.ptycho import figures  # matplotlib is slow to import

    field_px = None if made.probe is None else made.probe.shape[-1]
    makers: dict[str, Callable[[], Figure]] = {"positions": lambda: figures.positions(made.positions_px, field_px=field_px)}
    if made.object is not None:
        rows, columns = bounding_box(made.well_covered())
        margin = max(2, (rows.stop - rows.start + columns.stop - columns.start) // 80)
        cut = made.crop(
            (slice(max(0, rows.start - margin), rows.stop + margin), slice(max(0, columns.start - margin), columns.stop + margin))
        )
        seen, pixel, name = cut.stitched(), made.pixel_size_m, f": {made.method}" if made.method else ""
        makers["amplitude"] = lambda: figures.amplitude(seen, cut.coverage, pixel_size_m=pixel, title=f"Amplitude{name}")
        makers["phase"] = lambda: figures.phase(seen, cut.coverage, pixel_size_m=pixel, title=f"Phase{name}")
        if made.coverage is not None:
            whole = made.coverage
            makers["coverage"] = lambda: figures.coverage(whole, pixel_size_m=pixel)
    if made.probe is not None:
        modes = made.probe
        makers["probe"] = lambda: figures.probe(modes, pixel_size_m=made.pixel_size_m)
    if made.history:
        makers["convergence"] = lambda: figures.convergence(made.history)
    return makers
