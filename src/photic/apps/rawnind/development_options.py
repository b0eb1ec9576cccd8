"""Options of whatever develops what it makes: white balance, exposure, highlights, space, bits, quality."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from photic.apps.rawnind.files.developing import Development
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError
from photic.core.schema import Range
from photic.inference.file_model import FileOptions, options_of

_FOR_SCREENS = {".png", ".jpg", ".jpeg"}


@dataclass(frozen=True, kw_only=True)
class DevelopmentOptions(FileOptions):
    """How results are developed; all but a DNG are, which is left to a raw developer."""

    white_balance: Literal["as-shot", "daylight"] | tuple[float, float, float] = "as-shot"
    """As the camera chose (daylight where it did not), daylight, or factors of red, green and blue."""
    exposure_ev: Annotated[float, Range(ge=-10, le=10)] = 0.0
    """Brighter by so many stops, darker if negative."""
    highlights: Literal["clip", "keep"] = "clip"
    """clip makes full pixels white, keep leaves them as measured."""
    space: Literal["rec2020", "srgb"] | None = None
    """Primaries of .exr and .tif; null is rec2020. .png and .jpg are sRGB."""
    bits: Literal[8, 16, 32] | None = None
    """Per channel: .exr and .tif 16 or 32 (floats), .png 8 or 16; null is the format's usual."""
    quality: Annotated[int | None, Range(ge=1, le=100)] = None
    """Of JPEG; null is 95."""

    def development(self, suffixes: Collection[str], *, demosaic: str | None = None) -> Development:
        """Return the development that is asked for.

        Args:
            suffixes: endings of the files to be written, lower case.
            demosaic: as in :class:`Development`; None is its default.

        Raises:
            ConfigError: an option that one of the formats has no use for, or values that are not possible.
        """
        usual: dict[str, Any] = {field.name: field.default for field in fields(DevelopmentOptions)}
        asked = [name for name in usual if name != "quality" and getattr(self, name) != usual[name]]
        if ".dng" in suffixes and asked:
            option = asked[0].removesuffix("_ev").replace("_", "-")
            raise ConfigError(f"{option}: a DNG is not developed, its raw developer decides that; write .tif or .exr")
        if self.quality is not None and not set(suffixes) <= {".jpg", ".jpeg"}:
            raise ConfigError(f"quality: is for JPEG, not for {', '.join(sorted(suffixes))}")
        if self.space == "rec2020" and _FOR_SCREENS & set(suffixes):
            raise ConfigError("space: PNG and JPEG are written in sRGB, which every program shows rightly; write .tif or .exr for Rec.2020")
        values: dict[str, Any] = {name: getattr(self, name) for name in ("white_balance", "exposure_ev", "highlights")}
        values |= {} if self.space is None else {"space": self.space}
        return Development.from_dict(values | ({} if demosaic is None else {"demosaic": demosaic}), "develop")


def development_of(options: argparse.Namespace, suffixes: Collection[str], *, demosaic: str | None = None) -> Development:
    """Return the development that a command's options ask for, those of :func:`add_options`; see :meth:`DevelopmentOptions.development`."""
    return options_of(DevelopmentOptions, vars(options), "develop").development(suffixes, demosaic=demosaic)


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
    """Add the options, in a group of their own; the namespace has them by the names of :class:`DevelopmentOptions`."""
    group = parser.add_argument_group("development", "of every format but .dng, which is left to a raw developer")
    group.add_argument(
        "--white-balance",
        type=white_balance,
        metavar="WB",
        help="as-shot, daylight, or factors R,G,B such as 2.1,1,1.4 (default: as-shot; daylight where there is none)",
    )
    group.add_argument(
        "--exposure", dest="exposure_ev", type=float, metavar="EV", help="brighter by so many stops, darker if negative (default: 0)"
    )
    group.add_argument("--highlights", choices=("clip", "keep"), help="clip: full pixels are white; keep: as measured (default: clip)")
    group.add_argument("--space", choices=("rec2020", "srgb"), help="of .exr and .tif (default: rec2020); .png and .jpg are sRGB")
    group.add_argument("--bits", type=int, choices=(8, 16, 32), help="per channel: .exr and .tif 16 or 32 (floats), .png 8 or 16")
    group.add_argument("--quality", type=whole_number(1), metavar="Q", help="of JPEG, 1 to 100 (default: 95)")
