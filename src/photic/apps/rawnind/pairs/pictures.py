"""What has to be known of a raw picture before pairs are formed: its camera, exposure, noise, and whether it can be used."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.pairs.alignment import green_of
from photic.apps.rawnind.pairs.layouts import FoundPicture
from photic.apps.rawnind.pairs.masks import exposure_shares, overexposure_bound
from photic.apps.rawnind.pairs.tiles import pack_mosaic
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import DataError
from photic.data.near_duplicates import COLUMNS, ROWS, signature
from photic.functional.noise_estimation import estimate_noise

EXPOSURE_GATE = 0.75
"""Share of over-exposed and black values together above which a picture is rejected."""
_LEAST_PACKED_PX = 32


@dataclass(frozen=True)
class PictureFacts:
    """What a raw file holds, as far as pairing needs it; written to disk between runs."""

    name: str
    """Its path below the folder of the originals."""
    camera: str = ""
    pattern: str = ""
    """Order of its colour filter array, as the sensor has it: rows joined by ``/``, colours as digits."""
    size: tuple[int, int] = (0, 0)
    """Height and width in packed pixels."""
    iso: float | None = None
    exposure_s: float | None = None
    aperture: float | None = None
    level: float = 0.0
    """Mean of green."""
    overexposure: float = 1.0
    """Level from which a value counts as over-exposed."""
    over_share: float = 0.0
    """Share of values that are."""
    black_share: float = 0.0
    """Share of values that are black."""
    noise: tuple[float, float] | None = None
    signature: tuple[float, ...] = ()
    """Fine structure by which pictures of one scene are known; only where names do not say the scene."""
    problem: str = ""
    """Why it cannot be used at all; empty if it can."""
    problem_kind: str = ""

    @property
    def photons(self) -> float | None:
        """Exposure time over the square of the aperture, to which the number of photons is proportional; None where unknown."""
        return None if not self.exposure_s or not self.aperture else self.exposure_s / self.aperture**2

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PictureFacts:
        """Return what :meth:`to_dict` gave."""
        given = dict(values)
        for name in ("size", "noise", "signature"):
            given[name] = None if given[name] is None else tuple(given[name])
        return cls(**given)


def bayer_picture(path: Path) -> RawPicture:
    """Read a raw file as a Bayer picture that begins with red, green / green, blue, with even sides.

    Raises:
        DataError: it cannot be read, or is no Bayer mosaic.
    """
    picture = read_raw(path)
    if not picture.is_bayer:
        what = "linear RGB" if picture.pattern is None else "a mosaic that is not Bayer"
        raise DataError(f"{path}: holds {what}; pairs are prepared of Bayer mosaics (X-Trans and linear files cannot be packed)")
    return picture.in_rggb_order()


def look(found: FoundPicture, with_signature: bool) -> PictureFacts:
    """Read a raw file and say what pairing needs; whatever is wrong with it is in ``problem``."""
    try:
        whole = read_raw(found.path)
        pattern = "" if whole.pattern is None else "/".join("".join(map(str, row)) for row in whole.pattern)
        facts = PictureFacts(
            name=found.name,
            camera=whole.camera,
            pattern=pattern,
            iso=whole.iso if whole.iso is not None else found.iso,
            exposure_s=whole.exposure_s,
            aperture=whole.aperture,
        )
        if not whole.is_bayer:
            what = "linear RGB" if whole.pattern is None else f"a mosaic of {len(whole.pattern)} x {len(whole.pattern[0])} cells"
            return replace(facts, problem=f"holds {what}; pairs are prepared of Bayer mosaics", problem_kind="not Bayer")
        packed = pack_mosaic(whole.in_rggb_order().values)
    except DataError as error:
        return PictureFacts(name=found.name, problem=str(error), problem_kind="unreadable")
    green = green_of(packed)
    bound = overexposure_bound(packed)
    over, black = exposure_shares(packed, bound)
    facts = replace(
        facts,
        size=(packed.shape[1], packed.shape[2]),
        level=round(float(green.mean(dtype=np.float64)), 8),
        overexposure=bound,
        over_share=round(over, 6),
        black_share=round(black, 6),
    )
    if min(packed.shape[1:]) < _LEAST_PACKED_PX:
        shape = f"{2 * packed.shape[1]} x {2 * packed.shape[2]}"
        return replace(facts, problem=f"has {shape} pixels, expected {2 * _LEAST_PACKED_PX} and more", problem_kind="too small")
    if over + black > EXPOSURE_GATE:
        return replace(facts, problem=_gate(over, black), problem_kind="exposure")
    return replace(facts, noise=_noise(whole), signature=_signature(green) if with_signature else ())


def _gate(over: float, black: float) -> str:
    return f"{over + black:.0%} of its values are over-exposed ({over:.0%}) or black ({black:.0%}); at most {EXPOSURE_GATE:.0%} may be"


def _noise(raw: RawPicture) -> tuple[float, float] | None:
    """Return a and b as the picture shows them, or as its file says where it shows nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an uncertain estimate is an upper bound, which will do
        try:
            a, b = estimate_noise(raw.values, raw.pattern)
        except DataError:
            if raw.noise is None:
                return None
            a, b = raw.noise
    return float(f"{a:.6g}"), float(f"{b:.6g}")


def _signature(green: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the fine structure in logarithmic light, which exposure does not change."""
    level = max(float(green.mean()), 1e-9)
    grey = 255 / math.log2(64) * np.log2(1 + np.clip(green / level * 16, 0, None))
    small = Image.fromarray(grey.astype(np.float32)).resize((COLUMNS, ROWS), Image.Resampling.BOX)
    return tuple(round(float(value), 4) for value in signature(np.asarray(small)))
