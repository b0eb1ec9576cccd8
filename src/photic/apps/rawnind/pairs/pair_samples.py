"""Prepared pairs of raw pictures as samples: random crops of tiles for training, one part of each picture for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.pairs.index import Crop, PairEntry, PairIndex
from photic.apps.rawnind.pairs.tiles import OpenTiles, unpack_mosaic
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.data.augment import Augmented
from photic.functional.cfa import RGGB, cfa_planes
from photic.functional.demosaic import MALVAR_REACH_PX, malvar
from photic.functional.menon import MENON_REACH_PX, menon
from photic.functional.raw_colour import XYZ_TO_SRGB, daylight_balance

MatchGain = Literal["never", "input", "output"]
Measurement = Literal["mosaic", "rgb"]
Demosaic = Literal["malvar", "menon"]
_UNKNOWN_ISO = 100.0
_DRAWS = 8  # of a place for a crop, until enough of it counts


@dataclass(frozen=True)
class Window:
    """A part of a packed tile, mirrored and turned so that it still begins with red, green / green, blue.

    A mosaic that is mirrored as it is begins with another colour. So a mirrored window begins one pixel later and ends one pixel later,
    which makes its last column one of red: one packed row and column more than the window's size are needed.
    """

    top: int
    """First row, in packed pixels."""
    left: int
    """First column, in packed pixels."""
    height: int
    """Rows in packed pixels, before it is turned."""
    width: int
    upside_down: bool = False
    mirrored: bool = False
    turned: bool = False
    """Rows and columns are exchanged, last."""

    def of_pixels(self, pixels: NDArray[Any], scale: int = 1) -> NDArray[Any]:
        """Return the window of an array ``(..., H, W)`` in sensor pixels, of which ``scale`` pixels are one value."""
        rows = _span(2 * self.top, 2 * self.height, self.upside_down)
        columns = _span(2 * self.left, 2 * self.width, self.mirrored)
        if scale == 1:
            cut = pixels[..., rows[0] : rows[1], columns[0] : columns[1]]
        else:
            places = [np.arange(*span) // scale for span in (rows, columns)]
            cut = pixels[..., places[0][0] : places[0][-1] + 1, places[1][0] : places[1][-1] + 1]
            cut = cut[..., (places[0] - places[0][0])[:, None], (places[1] - places[1][0])[None, :]]
        return self._laid(cut)

    def of_packed(self, packed: NDArray[Any]) -> NDArray[Any]:
        """Return the window of packed planes ``(4, H, W)`` as a mosaic ``(2 height, 2 width)``."""
        more = int(self.upside_down), int(self.mirrored)
        part = packed[:, self.top : self.top + self.height + more[0], self.left : self.left + self.width + more[1]]
        local = Window(0, 0, self.height, self.width, self.upside_down, self.mirrored, self.turned)
        return local.of_pixels(unpack_mosaic(np.asarray(part)))

    def _laid(self, cut: NDArray[Any]) -> NDArray[Any]:
        cut = cut[..., ::-1, :] if self.upside_down else cut
        cut = cut[..., ::-1] if self.mirrored else cut
        return np.swapaxes(cut, -1, -2) if self.turned else cut


def _span(start: int, length: int, reversed_: bool) -> tuple[int, int]:
    return (start + 1, start + length + 1) if reversed_ else (start, start + length)


@dataclass(frozen=True)
class SampleSettings:
    """What samples of pairs are."""

    measurement: Measurement = "mosaic"
    match_gain: MatchGain = "output"
    demosaic: Demosaic = "malvar"
    """Makes three colours of the noisy mosaic, where the measurement is rgb."""


class TilePairs:
    """One part of each pair, never changed: what validation and tests measure on.

    Args:
        index: of the prepared pairs.
        entries: which pairs, in order.
        rows: their rows in the whole set.
        settings: what a sample is.
        crop_px: side of the part, in sensor pixels, even: that nearest to the picture's middle; smaller tiles are used whole. None: the
            whole pictures, from the original files.
    """

    def __init__(
        self, index: PairIndex, entries: Sequence[PairEntry], rows: Sequence[int], *, settings: SampleSettings, crop_px: int | None
    ) -> None:
        self.index, self.entries, self.rows, self.settings, self.crop_px = index, list(entries), list(rows), settings, crop_px
        self.names = [entry.name for entry in self.entries]
        self.tiles = OpenTiles(index.folder)

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, position: int, draw: int = 0) -> dict[str, Any]:
        """Return the part of a pair: the keys that :class:`photic.tasks.raw_denoising.RawDenoisingTask` takes, index, name and gain.

        ``draw`` makes no difference.

        Raises:
            DataError: a tile, or an original picture, is missing or damaged.
        """
        entry = self.entries[position]
        if self.crop_px is None:
            from photic.apps.rawnind.pairs.whole_pairs import whole_pair

            noisy, target, mask = whole_pair(self.index, entry)
            return self.made(position, noisy, target, mask)
        crop, top, left, height, width = _middle(entry, self.crop_px // 2, self.tiles)
        return self.of_window(position, crop, Window(top, left, height, width))

    def of_window(self, position: int, crop: Crop, window: Window) -> dict[str, Any]:
        """Return a sample of a window of a tile."""
        packed = self.tiles[crop.noisy_path]
        target = window.of_pixels(self.tiles[crop.gt_rgb_path])
        mask = window.of_pixels(self.tiles[crop.mask_path], scale=2)
        if self.settings.measurement == "mosaic":
            return self.made(position, window.of_packed(packed), target, mask)
        # Demosaiced with what lies around, before it is mirrored, so that crops are as the whole picture would be.
        reach = (MENON_REACH_PX if self.settings.demosaic == "menon" else MALVAR_REACH_PX) // 2 + 1
        first = max(0, window.top - reach), max(0, window.left - reach)
        around = np.asarray(packed[:, first[0] : window.top + window.height + 1 + reach, first[1] : window.left + window.width + 1 + reach])
        colours = _demosaiced(unpack_mosaic(around).astype(np.float32), _balance(self.entries[position]), self.settings.demosaic)
        inside = Window(
            window.top - first[0], window.left - first[1], window.height, window.width, window.upside_down, window.mirrored, window.turned
        )
        return self.made(position, inside.of_pixels(colours), target, mask)

    def made(self, position: int, noisy: NDArray[Any], target: NDArray[Any], mask: NDArray[Any]) -> dict[str, Any]:
        """Return a sample of arrays: the noisy mosaic ``(H, W)`` or RGB ``(3, H, W)``, the target ``(3, H, W)``, the mask ``(H, W)``."""
        entry, settings = self.entries[position], self.settings
        measurement, clean = _tensor(noisy), _tensor(target)
        if settings.measurement == "mosaic":
            planes = cfa_planes(RGGB, *clean.shape[-2:])
            measurement = measurement[None]
        else:
            planes = torch.ones_like(clean)
            if measurement.ndim == 2:
                measurement = _tensor(_demosaiced(measurement.numpy(), _balance(entry), settings.demosaic))
        a, b = _noise(entry)
        gain = entry.raw_gain
        if settings.match_gain == "input":
            measurement, a, b = measurement * gain, a * gain, b * gain**2
        elif settings.match_gain == "output":
            clean = clean / gain
        return {
            "measurement": measurement,
            "planes": planes,
            "target": clean,
            "mask": _tensor(mask)[None],
            "noise": torch.tensor([a, b], dtype=torch.float32),
            "balance": torch.from_numpy(_balance(entry).astype(np.float32)),
            "xyz_to_camera": torch.from_numpy(_matrix(entry).astype(np.float32)),
            "iso": torch.tensor(float("nan") if entry.iso is None else entry.iso, dtype=torch.float32),
            "gain": torch.tensor(gain, dtype=torch.float32),
            "index": self.rows[position],
            "name": entry.name,
        }


class TileCrops(Augmented):
    """Training crops of prepared pairs: a random place in a random tile, where enough counts, mirrored and turned.

    Everything random comes from (seed, ``rawnind.pair_crop``, draw, position) alone.

    Args:
        samples: the pairs.
        seed: of the run.
        crop_px: side of the crops in sensor pixels, even.
        crops_per_picture: how often a pair comes in an epoch.
        flips: mirror and turn.
        min_valid_share: share of a crop's pixels that count; of several places, the first that has it is taken, else the best.
    """

    samples: TilePairs

    def __init__(self, samples: TilePairs, seed: int, *, crop_px: int, crops_per_picture: int, flips: bool, min_valid_share: float) -> None:
        super().__init__(samples, {}, seed)
        self.crop_px, self.crops_per_picture, self.flips, self.min_valid_share = crop_px, crops_per_picture, flips, min_valid_share

    def __len__(self) -> int:
        return len(self.samples) * self.crops_per_picture

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return a crop of pair ``position`` (modulo their number), placed by ``draw``.

        Raises:
            DataError: a tile is missing, damaged, or smaller than a crop.
        """
        place = position % len(self.samples)
        rng = numpy_generator(self.seed, "rawnind.pair_crop", draw, position)
        lies = [bool(flag) for flag in rng.integers(2, size=3)] if self.flips else [False] * 3
        best: tuple[float, Crop, Window] | None = None
        for _ in range(_DRAWS):
            crop, window = self._place(rng, self.samples.entries[place], lies)
            mask = self.samples.tiles[crop.mask_path]
            share = float(mask[window.top : window.top + window.height, window.left : window.left + window.width].mean())
            if best is None or share > best[0]:
                best = (share, crop, window)
            if share >= self.min_valid_share:
                break
        assert best is not None
        return self.samples.of_window(place, best[1], best[2])

    def _place(self, rng: np.random.Generator, entry: PairEntry, lies: list[bool]) -> tuple[Crop, Window]:
        crop = entry.crops[int(rng.integers(len(entry.crops)))]
        size = self.samples.tiles[crop.mask_path].shape
        side, more = self.crop_px // 2, int(self.flips)
        if min(size) < side + more:
            raise DataError(
                f"{entry.name}: a tile has {2 * size[0]} x {2 * size[1]} sensor pixels, a crop of {self.crop_px} needs "
                f"{2 * (side + more)}{' with data.flips' if more else ''}; set a smaller data.crop_px"
            )
        top, left = (int(rng.integers(length - side - more + 1)) for length in size)
        return crop, Window(top, left, side, side, *lies)


def _middle(entry: PairEntry, side: int, tiles: OpenTiles) -> tuple[Crop, int, int, int, int]:
    """Return tile, place and size of the part of a picture nearest to its middle."""
    found: list[tuple[float, int, Crop, int, int, int, int]] = []
    ends = entry.size or (0, 0)
    for number, crop in enumerate(entry.crops):
        shape = tiles[crop.mask_path].shape
        size = [min(side, length) for length in shape]
        wanted = [(end - length) / 2 - start for end, length, start in zip(ends, size, crop.position, strict=True)]
        top, left = (int(np.clip(place, 0, length - cut)) for place, length, cut in zip(wanted, shape, size, strict=True))
        far = (top - wanted[0]) ** 2 + (left - wanted[1]) ** 2
        found.append((far, number, crop, top, left, size[0], size[1]))
    _, _, crop, top, left, height, width = min(found, key=lambda one: one[:2])
    return crop, top, left, height, width


def _demosaiced(mosaic: NDArray[np.float32], balance: NDArray[np.float64], method: Demosaic) -> NDArray[np.float32]:
    """Return three colours ``(3, H, W)`` of a mosaic, balanced while colours are compared."""
    factors = torch.tensor(balance, dtype=torch.float32)[:, None, None]
    planes = cfa_planes(RGGB, *mosaic.shape)
    balanced = torch.from_numpy(mosaic)[None] * (planes * factors).sum(dim=0, keepdim=True)
    make = menon if method == "menon" else malvar
    made: NDArray[np.float32] = (make(balanced[None], planes[None])[0] / factors).numpy()
    return made


def _tensor(values: NDArray[Any] | Tensor) -> Tensor:
    """Return values as float32, in memory of their own."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _noise(entry: PairEntry) -> tuple[float, float]:
    if entry.noise is not None:
        return entry.noise
    typical = noise_at(entry.iso or _UNKNOWN_ISO)
    return typical.shot, typical.read


def _matrix(entry: PairEntry) -> NDArray[np.float64]:
    return XYZ_TO_SRGB if entry.rgb_xyz_matrix is None else np.array(entry.rgb_xyz_matrix, dtype=np.float64)


def _balance(entry: PairEntry) -> NDArray[np.float64]:
    """Return the camera's white balance; that of daylight, where it chose none; ones, where its colours are not known."""
    if entry.white_balance is not None:
        return np.array(entry.white_balance, dtype=np.float64)
    return np.ones(3) if entry.rgb_xyz_matrix is None else daylight_balance(np.array(entry.rgb_xyz_matrix))
