"""Names that cross the border: of models in addresses, of files from clients, of results to them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from photic.core.errors import ConfigError

_STEM = 80
_RESERVED = {"con", "prn", "aux", "nul", *(f"{word}{number}" for word in ("com", "lpt") for number in range(1, 10))}
_MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".pgm": "image/x-portable-graymap",
    ".ppm": "image/x-portable-pixmap",
    ".dng": "image/x-adobe-dng",
    ".exr": "image/x-exr",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".csv": "text/csv",
    ".json": "application/json",
    ".npz": "application/zip",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
}


def model_names(sources: Sequence[tuple[str, Path]]) -> list[str]:
    """Return the name in addresses of each model: letters, digits, ``.``, ``_`` and ``-``.

    Args:
        sources: what was given (a path or a name) and the path that it means; a bundle goes by its file's name, a run by its folder's.

    Raises:
        ConfigError: two models would go by one name, or one by none.

    >>> model_names([("models/Line 3.photic", Path("models/Line 3.photic"))])
    ['Line-3']
    """
    found: dict[str, str] = {}
    for given, path in sources:
        resolved = path.resolve()
        text = resolved.name if resolved.is_dir() else resolved.stem
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.")
        if not name:
            raise ConfigError(f"{given}: nothing of this name can stand in an address; rename the file, with letters or digits in it")
        if name in found:
            raise ConfigError(f"{found[name]} and {given} would both be served as '{name}'; rename one, or leave one out")
        found[name] = given
    return list(found)


def ending_of(file_name: str, endings: Sequence[str]) -> str | None:
    """Return which of the known endings a client's file name has, whatever its case; None for none of them."""
    lowered = file_name.lower()
    return max((ending for ending in endings if lowered.endswith(ending)), key=len, default=None)


def safe_stem(file_name: str, ending: str = "") -> str:
    r"""Return what of a client's file name may stand in ours: no folders, no control characters, no more than 80 characters.

    Args:
        file_name: as the client gave it.
        ending: taken off.

    >>> safe_stem("../../etc/passwd.png", ".png"), safe_stem("C:\\x\\a b.tif", ".tif"), safe_stem("\r\n.png", ".png")
    ('passwd', 'a b', 'result')
    """
    last = re.split(r"[/\\]", file_name)[-1]
    if ending and last.lower().endswith(ending):
        last = last[: len(last) - len(ending)]
    plain = unicodedata.normalize("NFC", last)
    kept = "".join(letter if letter.isalnum() or letter in " ._-+()" else "_" for letter in plain if letter.isprintable())
    stem = kept.strip(" ._")[:_STEM].strip(" ._")
    if not any(letter.isalnum() for letter in stem):
        return "result"
    return f"_{stem}" if stem.split(".")[0].lower() in _RESERVED else stem


def disposition(file_name: str) -> str:
    """Return the Content-Disposition of a result.

    >>> disposition("Blech 3.png")
    'attachment; filename="Blech 3.png"'
    """
    plain = unicodedata.normalize("NFKD", file_name).encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    extended = "" if plain == file_name else f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


def media_type(ending: str) -> str:
    """Return the media type of files with an ending.

    >>> media_type(".TIF"), media_type(".phc")
    ('image/tiff', 'application/octet-stream')
    """
    return _MEDIA.get(ending.lower(), "application/octet-stream")


def shown(text: str, limit: int = 60) -> str:
    """Return what a client sent, quoted for a message: one line, not endless."""
    clean = "".join(letter if letter.isprintable() else "�" for letter in text)
    return f"'{clean if len(clean) <= limit else clean[:limit] + '...'}'"
