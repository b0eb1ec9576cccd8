"""The program that decodes one raw file in a process with bounds of memory and time; :mod:`photic.apps.rawnind.files.libraw` runs it.

Raw files come from anywhere, and a decoder in C++ that a hostile file brings down must not take Photic with it. What it knows goes to
standard output: eight bytes with the length of a JSON object, the object, then the pixels of the visible area.

This file is run by its path and imports nothing of Photic, so that it starts in a third of a second.
"""

from __future__ import annotations

import json
import sys
from typing import Any

_BASE_BYTES = 2 << 30  # libraries, and what LibRaw takes to open a file
_BYTES_PER_PIXEL = 40  # the most that LibRaw and the copy for the parent take
_BASE_S, _S_PER_MEGAPIXEL = 60, 4


def limit(num_pixels: int) -> None:
    """Bound memory and computing time by the number of pixels; systems that cannot are left to the parent's clock."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (
        (resource.RLIMIT_AS, _BASE_BYTES + _BYTES_PER_PIXEL * num_pixels),
        (resource.RLIMIT_CPU, _BASE_S + _S_PER_MEGAPIXEL * num_pixels // 1_000_000),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(path: str, max_pixels: int, only_header: bool) -> int:
    """Decode a file; the status is 0 whenever an answer was written, be it an error."""
    limit(0)
    import numpy as np
    import rawpy

    def answer(facts: dict[str, Any], pixels: Any = None) -> int:
        text = json.dumps(facts).encode()
        out = sys.stdout.buffer
        out.write(len(text).to_bytes(8, "little") + text)
        if pixels is not None:
            for top in range(0, len(pixels), 256):
                out.write(np.ascontiguousarray(pixels[top : top + 256]).reshape(-1).view(np.uint8).data)
        out.flush()
        return 0

    try:
        with rawpy.imread(path) as raw:
            sizes = raw.sizes
            height, width = int(sizes.height), int(sizes.width)
            whole = max(int(sizes.raw_height) * int(sizes.raw_width), height * width)
            if whole > max_pixels:
                return answer({"error": "too large", "size": [height, width], "pixels": whole})
            facts = {"size": [height, width], "flip": int(sizes.flip)}
            if only_header:
                return answer(facts)
            limit(whole)
            return answer(*decoded(raw, facts))
    except rawpy.LibRawFileUnsupportedError:
        return answer({"error": "not a raw file"})
    except rawpy.LibRawError as error:
        text = error.args[0] if error.args else type(error).__name__
        return answer({"error": text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)})
    except MemoryError:
        return answer({"error": "more memory than pictures of this size take"})


def decoded(raw: Any, facts: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return what LibRaw knows of an open file, and the pixels: ``(H, W)``, or ``(H, W, 3)`` where each pixel has three colours."""
    pixels = raw.raw_image_visible
    if pixels is None:
        return {"error": "no pixels"}, None
    flat = pixels.ndim == 2
    other, lens = raw.other, raw.lens
    facts |= {
        "channels": 1 if flat else int(pixels.shape[2]),
        "colours": raw.color_desc.decode("ascii", "replace"),
        "num_colours": int(raw.num_colors),
        "pattern": pattern_of(raw) if flat else None,
        "black": black_levels(raw),
        "white": float(raw.white_level),
        "white_balance": [float(value) for value in raw.camera_whitebalance],
        "matrix": [[float(value) for value in row] for row in raw.rgb_xyz_matrix],
        "iso": float(other.iso_speed),
        "exposure_s": float(other.shutter_speed),
        "aperture": float(other.aperture),
        "focal_length_mm": float(other.focal_length),
        "taken": other.timestamp.strftime("%Y:%m:%d %H:%M:%S") if other.timestamp and other.timestamp.year > 1970 else "",
        "artist": other.artist or "",
        "lens_make": lens.make or "",
        "lens": lens.model or "",
        "lens_mm": [float(lens.min_focal), float(lens.max_focal)],
    }
    if not flat:
        if pixels.shape[2] < 3:
            return {"error": f"{pixels.shape[2]} values for each pixel"}, None
        pixels = pixels[:, :, :3]
    facts["size"] = [int(pixels.shape[0]), int(pixels.shape[1])]
    return facts, pixels


def pattern_of(raw: Any) -> list[list[int]] | None:
    """Return the numbers of the colours from the visible area's top left pixel on, 12 x 12 of them; None where there is no pattern."""
    if raw.raw_pattern is None:
        return None
    sizes = raw.sizes
    top, left = int(sizes.top_margin), int(sizes.left_margin)
    return [[int(raw.raw_color(top + row, left + column)) for column in range(12)] for row in range(12)]


def black_levels(raw: Any) -> list[float] | None:
    """Return the black levels of LibRaw's four colours, or None where they lie in a pattern of another kind."""
    import rawpy

    try:
        return [float(value) for value in raw.black_level_per_channel]
    except rawpy.NotSupportedError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "header"))
