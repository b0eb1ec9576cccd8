"""The index of prepared pairs: a versioned YAML file, and RawNIND's own list of pairs in the same terms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from photic.core.errors import DataError
from photic.core.files import write_text

INDEX_NAME = "index.yaml"
FORMAT, VERSION = "photic raw pairs", 1
SHIFT_CONVENTION = (
    "shift is (dy, dx) in packed pixels (cells of 2 x 2 of the mosaic): other[y + dy, x + dx] <-> anchor[y, x], the anchor being the "
    "picture of gt_path, the other one that of noisy_path, both cut to begin with red, green / green, blue. subpixel_residual is what is "
    "left beside it, the same way round: content lies at shift + subpixel_residual. It is not corrected, which would interpolate noise."
)
_THEIR_KEYS = {"gt_fpath", "f_fpath", "image_set", "best_alignment"}


@dataclass(frozen=True)
class Crop:
    """One tile of a pair."""

    position: tuple[int, int]
    """``(y, x)`` in packed pixels of the anchor."""
    valid_share: float
    """Share of its pixels that count."""
    gt_path: str
    """Packed anchor ``(4, h, w)``, float16."""
    gt_rgb_path: str
    """The anchor demosaiced, camera colours ``(3, 2h, 2w)``, float16; what a network learns to give."""
    noisy_path: str
    """Packed noisy picture ``(4, h, w)``, float16."""
    mask_path: str
    """``(h, w)`` bool: 1 counts; one value per packed pixel."""


@dataclass(frozen=True)
class PairEntry:
    """A pair that can be used."""

    name: str
    image_set: str
    """The scene."""
    gt_path: str
    """The clean picture, below the folder of the originals."""
    noisy_path: str
    """The noisy picture, likewise."""
    shift: tuple[int, int]
    """``(dy, dx)`` in packed pixels, see :data:`SHIFT_CONVENTION`."""
    loss: float
    """Mean absolute difference of green after alignment, in the anchor's scale."""
    mask_path: str
    """Mask of the whole anchor as a PNG picture, one pixel per packed pixel; relative to the index."""
    mask_mean: float
    """Share of the anchor's pixels that count."""
    is_bayer: bool
    rgb_xyz_matrix: tuple[tuple[float, ...], ...] | None
    """``(3, 3)``: XYZ (D65) to camera colours."""
    overexposure: float
    """Level from which the anchor counts as over-exposed."""
    raw_gain: float
    """What the noisy picture is multiplied by to have the anchor's exposure, from valid raw values."""
    rgb_gain: float
    """The same from the means of linear Rec.2020 colours."""
    iso: float | None = None
    """Of the noisy picture."""
    gt_iso: float | None = None
    camera: str = ""
    size: tuple[int, int] | None = None
    """Height and width of both, in packed pixels."""
    subpixel_residual: tuple[float, float] | None = None
    """``(dy, dx)`` in packed pixels that the shift leaves."""
    drift_px: float | None = None
    """By how much that differs from part to part of the picture."""
    psnr: float | None = None
    """Of green over valid pixels in the brighter picture's scale, noise included, in dB."""
    coarse_psnr: float | None = None
    """The same of means over 8 x 8 packed pixels."""
    noisy_overexposure: float | None = None
    noise: tuple[float, float] | None = None
    """(a, b) of the variance a x + b of the noisy picture's noise."""
    gt_noise: tuple[float, float] | None = None
    white_balance: tuple[float, ...] | None = None
    """Factors of red, green, blue that the camera chose for the noisy picture, green 1."""
    mask_bound: float | None = None
    """Differences below it counted as the same content."""
    mask_window: int | None = None
    """Side of the windows whose means were compared, in packed pixels."""
    test_reserve: bool = False
    """The scene is kept for the test."""
    crops: tuple[Crop, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A pair, or a picture, that cannot be used."""

    noisy_path: str
    gt_path: str | None
    """None where the picture has no clean one."""
    image_set: str | None
    kind: str
    """Short name of what is wrong, for counting."""
    reason: str
    measured: dict[str, Any] = field(default_factory=dict)
    """What was found before it was rejected."""


@dataclass(frozen=True)
class PairIndex:
    """Everything that an index says."""

    source: str
    """Folder of the originals, relative to that of the index."""
    settings: dict[str, Any]
    """What it was prepared with."""
    pairs: tuple[PairEntry, ...]
    rejected: tuple[Rejected, ...] = ()
    folder: Path = Path()
    """Where it lies."""

    def original(self, path: str) -> Path:
        """Return where one of the original pictures lies."""
        return self.folder / self.source / path


def write_index(path: Path, index: PairIndex) -> Path:
    """Write an index, whole or not at all; the same content gives the same bytes.

    Raises:
        StorageError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "shift_convention": SHIFT_CONVENTION,
        "source": index.source,
        "settings": index.settings,
        "pairs": [plain(entry) for entry in index.pairs],
        "rejected": [plain(entry) for entry in index.rejected],
    }
    return write_text(path, yaml.dump(content, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=140))


def read_index(path: Path) -> PairIndex:
    """Read an index of ours, or RawNIND's list of pairs (``RawNIND_masks_and_alignments.yaml``).

    RawNIND states shifts in sensor pixels and the other way round: anchor[y + dy, x + dx] <-> other[y, x]. They are turned into ours.

    Args:
        path: the file, or the folder it lies in.

    Raises:
        DataError: it is not there, cannot be read, or comes from a newer version.
    """
    path = path / INDEX_NAME if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the {INDEX_NAME} that `photic data prepare rawnind ROOT` writes")
    try:
        content = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no YAML that can be read ({error})") from error
    if isinstance(content, list):
        return _theirs(content, path)
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise DataError(f"{path}: no index of raw pairs (expected 'format: {FORMAT}', or RawNIND's list of pairs)")
    if content.get("version") != VERSION:
        raise DataError(
            f"{path}: has version {content.get('version')}, this Photic reads {VERSION}; prepare the pairs again or update Photic"
        )
    try:
        pairs = tuple(entry_from(values) for values in content["pairs"])
        rejected = tuple(Rejected(**values) for values in content["rejected"])
        return PairIndex(str(content["source"]), dict(content["settings"]), pairs, rejected, path.parent)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged: {error!r}; prepare the pairs again") from error


def entry_from(values: Mapping[str, Any]) -> PairEntry:
    """Return an entry from what :func:`plain` made of it."""
    given = dict(values)
    given["crops"] = tuple(Crop(**{**crop, "position": tuple(crop["position"])}) for crop in given.get("crops") or ())
    for name in ("shift", "size", "subpixel_residual", "noise", "gt_noise", "white_balance"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    if given.get("rgb_xyz_matrix") is not None:
        given["rgb_xyz_matrix"] = tuple(tuple(row) for row in given["rgb_xyz_matrix"])
    return PairEntry(**given)


def _theirs(content: list[Any], path: Path) -> PairIndex:
    """Return RawNIND's list of pairs in our terms; paths are below the folder of the list."""
    pairs = []
    for number, values in enumerate(content):
        if not isinstance(values, Mapping) or not set(values) >= _THEIR_KEYS:
            missing = ", ".join(sorted(_THEIR_KEYS - set(values))) if isinstance(values, Mapping) else "no mapping"
            raise DataError(f"{path}, entry {number}: is no pair as RawNIND lists them (missing: {missing})")
        try:
            pairs.append(_their_entry(values))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, entry {number} ({values['f_fpath']}): {error!r}") from error
    return PairIndex(".", {"from": "RawNIND"}, tuple(pairs), (), path.parent)


def _their_entry(values: Mapping[str, Any]) -> PairEntry:
    from photic.apps.rawnind.pairs.layouts import scene_in_name

    scene, noisy = str(values["image_set"]), str(values["f_fpath"])
    down, right = (int(number) for number in values["best_alignment"])
    is_bayer = bool(values["is_bayer"])
    if is_bayer and (down % 2 or right % 2):
        raise ValueError(f"best_alignment {[down, right]} would change the phase of the mosaic")
    matrix = values.get("rgb_xyz_matrix")
    named = scene_in_name(Path(noisy).stem)
    return PairEntry(
        name=f"{scene}/{Path(noisy).stem}",
        image_set=scene,
        gt_path=f"{scene}/{values['gt_fpath']}",
        noisy_path=f"{scene}/{noisy}",
        shift=(-down // 2, -right // 2) if is_bayer else (-down, -right),
        loss=float(values["best_alignment_loss"]),
        mask_path=str(values["mask_fpath"]),
        mask_mean=float(values["mask_mean"]),
        is_bayer=is_bayer,
        rgb_xyz_matrix=None if matrix is None else tuple(tuple(float(value) for value in row) for row in matrix[:3]),
        overexposure=float(values["overexposure_lb"]),
        raw_gain=float(values["raw_gain"]),
        rgb_gain=float(values["rgb_gain"]),
        test_reserve=named is not None and named[2],
    )


def plain(value: Any) -> Any:
    """Return what YAML and JSON write: no tuples, no numbers that other readers do not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _dumper() -> Any:
    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_list(dumper: Any, data: list[Any]) -> Any:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=all(isinstance(one, int | float) for one in data))

    Dumper.add_representer(list, represent_list)
    return Dumper
