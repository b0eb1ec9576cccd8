"""Options of commands that develop what they make: white balance, exposure, highlights, space, bits, quality."""

from __future__ import annotations

import argparse
from collections.abc import Collection

from photic.apps.rawnind.files.developing import Development
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError

_FIELDS = {"white_balance": "white_balance", "exposure": "exposure_ev", "highlights": "highlights", "space": "space"}
_FOR_SCREENS = {".png", ".jpg", ".jpeg"}


def white_balance(text: str) -> str | tuple[float, ...]:
    """Return what the option for white balance says.

    Raises:
        argparse.ArgumentTypeError: it says something else.
    """
    if text in ("as-shot", "daylight"):
        return text
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        factors = ()
    if len(factors) != 3 or not all(0 < factor < 100 for factor in factors):
        raise argparse.ArgumentTypeError(f"expected as-shot, daylight or three factors R,G,B above 0 such as 2.1,1,1.4; got '{text}'")
    return factors


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, in a group of their own."""
    group = parser.add_argument_group("development", "of every format but .dng, which is left to a raw developer")
    group.add_argument(
        "--white-balance",
        type=white_balance,
        metavar="WB",
        help="as-shot, daylight, or factors R,G,B such as 2.1,1,1.4 (default: as-shot; daylight where there is none)",
    )
    group.add_argument("--exposure", type=float, metavar="EV", help="brighter by so many stops, darker if negative (default: 0)")
    group.add_argument("--highlights", choices=("clip", "keep"), help="clip: full pixels are white; keep: as measured (default: clip)")
    group.add_argument("--space", choices=("rec2020", "srgb"), help="of .exr and .tif (default: rec2020); .png and .jpg are sRGB")
    group.add_argument("--bits", type=int, choices=(8, 16, 32), help="per channel: .exr and .tif 16 or 32 (floats), .png 8 or 16")
    group.add_argument("--quality", type=whole_number(1), metavar="Q", help="of JPEG, 1 to 100 (default: 95)")


def development_of(options: argparse.Namespace, suffixes: Collection[str], *, demosaic: str | None = None) -> Development:
    """Return the development that the options ask for.

    Args:
        options: with those of :func:`add_options`.
        suffixes: endings of the files to be written.
        demosaic: as in :class:`Development`; None is its default.

    Raises:
        ConfigError: an option that one of the formats has no use for, or values that are not possible.
    """
    given = [name for name in (*_FIELDS, "bits") if getattr(options, name) is not None]
    if ".dng" in suffixes and given:
        raise ConfigError(f"--{given[0].replace('_', '-')}: a DNG is not developed, its raw developer decides that; write .tif or .exr")
    if options.quality is not None and not set(suffixes) <= {".jpg", ".jpeg"}:
        raise ConfigError(f"--quality: is for JPEG, not for {', '.join(sorted(suffixes))}")
    if options.space == "rec2020" and _FOR_SCREENS & set(suffixes):
        raise ConfigError("--space: PNG and JPEG are written in sRGB, which every program shows rightly; write .tif or .exr for Rec.2020")
    fields = {field: getattr(options, name) for name, field in _FIELDS.items() if getattr(options, name) is not None}
    return Development.from_dict(fields | ({} if demosaic is None else {"demosaic": demosaic}), "develop")
