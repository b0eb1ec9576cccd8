"""``photic info`` of compressed pictures: what a ``.phc`` file says of itself; nothing is decoded, and torch is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photic.apps.rawnind.compressing.container import Header, read_header
from photic.workflows.info import FileInfo

_PARTS = {
    "tiles": "latents, tile by tile",
    "side": "what all tiles need",
    "metadata": "camera, colour and EXIF",
    "header": "measures and index",
}
_TURNED = {2: "mirrored", 3: "turned by 180", 4: "mirrored", 5: "mirrored", 6: "turned by 90", 7: "mirrored", 8: "turned by 270"}


def describe(path: Path | str) -> FileInfo:
    """Return what a compressed picture says of itself: size, model, quality, bits per part, metadata. Every checksum is checked.

    Raises:
        BitstreamError: truncated, damaged, foreign, newer.
        DataError: there is no such file.
    """
    path = Path(path)
    header = read_header(path)
    return FileInfo("compressed picture", path, tuple(_rows(header)), _facts(header))


def kind_of(header: Header) -> str:
    """Return in words what a picture was before it was compressed."""
    layout = header.layout
    if layout.original == "RGB":
        return "three colours at each pixel"
    kind = "mosaic (X-Trans or other)" if layout.original == "mosaic" else f"Bayer mosaic ({layout.original})"
    return f"{kind}, demosaiced before it was compressed" if layout.demosaiced else kind


def bpp_unit(header: Header) -> str:
    """Return what bits are counted by."""
    return "bits per pixel" if header.layout.original == "RGB" else "bits per sensor pixel"


def exposure(seconds: float) -> str:
    """Return an exposure time as photographers write it.

    >>> exposure(0.005), exposure(2.5)
    ('1/200 s', '2.5 s')
    """
    return f"1/{round(1 / seconds)} s" if seconds < 0.3 else f"{seconds:g} s"


def _rows(header: Header) -> Iterator[tuple[str, str]]:
    layout, facts = header.layout, header.facts
    yield "file", f"{header.num_bytes:,} bytes, {header.bpp:.4f} {bpp_unit(header)}"
    turned = f", to be shown {_TURNED[facts.orientation]}" if facts.orientation in _TURNED else ""
    megapixels = layout.height * layout.width / 1e6
    yield "picture", f"{layout.width} x {layout.height} pixels ({megapixels:.1f} megapixels), {kind_of(header)}{turned}"
    yield "model", f"{header.model_name or 'without a name'} (id {header.model})"
    yield "quality", f"{header.quality:g}"
    rows, columns = layout.tiles
    yield "latents", f"{layout.latents[1]} x {layout.latents[0]} in {rows * columns} tiles of {layout.tile} x {layout.tile}"
    for name, bits in sorted(header.bits.items(), key=lambda part: -part[1]):
        share = bits / (8 * header.num_bytes)
        yield name, f"{bits // 8:,} bytes, {_bpp(header, bits):.4f} {bpp_unit(header)}, {share:.1%}: {_PARTS[name]}"
    yield from _photograph(header)


def _photograph(header: Header) -> Iterator[tuple[str, str]]:
    facts = header.facts
    if facts.camera:
        yield "camera", facts.camera
    taken = [
        "" if facts.iso is None else f"ISO {facts.iso:g}",
        "" if facts.exposure_s is None else exposure(facts.exposure_s),
        "" if facts.aperture is None else f"f/{facts.aperture:g}",
    ]
    if any(taken):
        yield "taken at", ", ".join(text for text in taken if text)
    if facts.white_balance is not None:
        yield "white balance", f"{', '.join(f'{value:.4g}' for value in facts.white_balance)} (red, green, blue)"
    else:
        yield "white balance", "the camera's own is unknown"
    yield "colour matrix", "none: development is not possible" if facts.xyz_to_camera is None else "as the original has it"
    if facts.noise is not None:
        yield "noise", f"variance {facts.noise[0]:.3g} x + {facts.noise[1]:.3g} of the original, as the encoder was told"
    kept = "none" if facts.exif is None else f"{len(facts.exif):,} bytes"
    yield "EXIF", f"{kept}; too large, left out: {facts.left_out}" if facts.left_out else kept


def _bpp(header: Header, bits: int) -> float:
    return bits / (header.layout.height * header.layout.width)


def _facts(header: Header) -> dict[str, Any]:
    layout, facts = header.layout, header.facts
    return {
        "bytes": header.num_bytes,
        "picture": {
            "height": layout.height,
            "width": layout.width,
            "original": layout.original,
            "demosaiced": layout.demosaiced,
            "orientation": facts.orientation,
        },
        "model": {"id": header.model, "name": header.model_name},
        "quality": header.quality,
        "bpp": header.bpp,
        "parts": {name: {"bits": bits, "bpp": _bpp(header, bits)} for name, bits in header.bits.items()},
        "latents": {"rows": layout.latents[0], "columns": layout.latents[1], "tile": layout.tile, "num_tiles": layout.num_tiles},
        "metadata": {
            "camera": facts.camera,
            "iso": facts.iso,
            "exposure_s": facts.exposure_s,
            "aperture": facts.aperture,
            "white_balance": _list(facts.white_balance),
            "balance": _list(facts.balance),
            "xyz_to_camera": _list(facts.xyz_to_camera),
            "noise": _list(facts.noise),
            "black_levels": _list(facts.black_levels),
            "white_level": facts.white_level,
            "full_level": facts.full_level,
            "baseline_exposure_ev": facts.baseline_exposure_ev,
            "exif_bytes": 0 if facts.exif is None else len(facts.exif),
            "left_out": facts.left_out,
        },
    }


def _list(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
