"""A decoder of .phc files in plain Python and NumPy, from docs/phc_format.md and docs/bitstream_coding.md; imports nothing of Photic."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

TOTAL = 1 << 24


class File:
    """Header, metadata and streams of a file."""

    def __init__(self, data: bytes) -> None:
        self.height, self.width = struct.unpack_from("<II", data, 8)
        self.lead = (data[6], data[7])
        self.rows, self.columns, self.tile, self.quality = struct.unpack_from("<HHHH", data, 16)
        self.model = data[24:36]
        count = 2 + -(-self.rows // self.tile) * -(-self.columns // self.tile)
        place, lengths = 40, []
        for _ in range(count):
            length, place = number_at(data, place)
            lengths.append(length)
            place += 4
        parts = []
        for length in lengths:
            parts.append(data[place : place + length])
            place += length
        assert place == len(data)
        metadata, self.side, *self.tiles = parts
        self.fields, place = {}, 0
        while place < len(metadata):
            length, start = number_at(metadata, place + 1)
            self.fields[metadata[place]] = metadata[start : start + length]
            place = start + length


def number_at(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and the place behind it."""
    value = shift = 0
    while True:
        value |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 0x80:
            return value, place


def trimmed(frequencies: list[int], lowest: int) -> tuple[list[int], int]:
    """Return a table as it is used, and its lowest symbol."""
    *symbols, escape = frequencies
    while len(symbols) > 1 and symbols[-1] == 1:
        symbols.pop()
        escape += 1
    while len(symbols) > 1 and symbols[0] == 1:
        symbols.pop(0)
        escape += 1
        lowest += 1
    return [*symbols, escape], lowest


def decoded(stream: bytes, tables_of: list[int], tables: list[tuple[list[int], int]]) -> list[int]:
    """Return the symbols of a stream, in the order of their positions."""
    length, start = number_at(stream, 0) if stream else (0, 0)
    escaped, words = stream[start : start + length], stream[start + length :]
    words += bytes(-len(words) % 4)
    stack = list(struct.unpack(f"<{len(words) // 4}I", words))
    state = 0

    def fill() -> None:
        nonlocal state
        while state < 1 << 32 and stack:
            state = state << 32 | stack.pop()

    fill()
    symbols, place = [0] * len(tables_of), 0
    for position in sorted(range(len(tables_of)), key=lambda position: tables_of[position]):
        frequencies, lowest = tables[tables_of[position]]
        quantile, entry, before = state % TOTAL, 0, 0
        while quantile >= before + frequencies[entry]:
            before += frequencies[entry]
            entry += 1
        state = frequencies[entry] * (state >> 24) + quantile - before
        fill()
        if entry < len(frequencies) - 1:
            symbols[position] = lowest + entry
        else:
            code, place = number_at(escaped, place)
            symbols[position] = lowest - 1 - (code >> 1) if code & 1 else lowest + len(frequencies) - 1 + (code >> 1)
    assert state == 0 and not stack and place == len(escaped)
    return symbols


def tables_of_model(tensors: dict[str, np.ndarray], name: str) -> list[tuple[list[int], int]]:
    """Return trimmed tables."""
    pairs = zip(tensors[f"bit_estimator.{name}.frequencies"].tolist(), tensors[f"bit_estimator.{name}.lowest"].tolist(), strict=True)
    return [trimmed(frequencies, lowest) for frequencies, lowest in pairs]


def hyperprior_latents(file: File, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the latents ``(C, h, w)`` float32."""
    hyper_tables, scale_tables = (tables_of_model(tensors, name) for name in ("hyper_tables", "scale_tables"))
    num_hyper, rows, columns = len(hyper_tables), file.rows // 4, file.columns // 4
    of_channels = [channel for channel in range(num_hyper) for _ in range(rows * columns)]
    made = np.array(decoded(file.side, of_channels, hyper_tables), dtype=object).reshape(num_hyper, rows, columns)
    part = {name.split(".")[-1]: value.astype(object) for name, value in tensors.items() if "integer_synthesis" in name}
    for layer in range(3):
        sums = transposed(made, part[f"weight{layer}"]) if layer < 2 else convolved(made, part[f"weight{layer}"])
        sums = sums + part[f"bias{layer}"][:, None, None]
        shift, least = part["shifts"][layer], -(1 << 22) if layer == 2 else 0
        halved = np.vectorize(lambda v, s=shift: (v + (1 << s >> 1)) >> s if s >= 0 else v << -s, otypes=[object])(sums)
        made = np.clip(halved, least, 1 << 22)
    means, scales = np.split(made, 2)
    levels = (scales[..., None] > tensors["bit_estimator.scale_limits"].astype(object)).sum(axis=-1)
    latents = np.empty(means.shape, np.float32)
    for count, stream in enumerate(file.tiles):
        across = -(-file.columns // file.tile)
        top, left = count // across * file.tile, count % across * file.tile
        box = (slice(None), slice(top, top + file.tile), slice(left, left + file.tile))
        symbols = decoded(stream, levels[box].ravel().tolist(), scale_tables)
        latents[box] = np.array(symbols, np.float32).reshape(levels[box].shape) + means[box].astype(np.float32) / np.float32(1024)
    return latents


def factorized_latents(file: File, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the latents ``(C, h, w)`` float32."""
    tables = tables_of_model(tensors, "tables")

    def symbols(stream: bytes, count: int) -> list[int]:
        return decoded(stream, [channel for channel in range(len(tables)) for _ in range(count)], tables)

    return _of_tiles(file, len(tables), symbols)


def many_priors_latents(file: File, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the latents ``(C, h, w)`` float32."""
    tables, index = (tables_of_model(tensors, name) for name in ("tables", "index_tables"))
    num_priors = tensors["bit_estimator.index_tables.frequencies"].shape[1] - 1
    channels = len(tables) // num_priors

    def symbols(stream: bytes, count: int) -> list[int]:
        (length,) = struct.unpack_from("<I", stream)
        choices = decoded(stream[4 : 4 + length], [0] * count, index)
        return decoded(stream[4 + length :], [channel * num_priors + choice for channel in range(channels) for choice in choices], tables)

    return _of_tiles(file, channels, symbols)


def _of_tiles(file: File, channels: int, symbols: Callable[[bytes, int], list[int]]) -> np.ndarray:
    assert file.side == b""
    latents = np.empty((channels, file.rows, file.columns), np.float32)
    across = -(-file.columns // file.tile)
    for count, stream in enumerate(file.tiles):
        top, left = count // across * file.tile, count % across * file.tile
        part = latents[:, top : top + file.tile, left : left + file.tile]
        part[:] = np.array(symbols(stream, part[0].size)).reshape(part.shape)
    return latents


def transposed(given: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a transposed 5 x 5 convolution of stride 2."""
    _, height, width = given.shape
    wide = np.zeros((weight.shape[1], 2 * height + 5, 2 * width + 5), given.dtype)  # from row and column -2 on
    for k in range(5):
        for m in range(5):
            wide[:, k : k + 2 * height : 2, m : m + 2 * width : 2] += np.tensordot(weight[:, :, k, m].T, given, axes=1)
    return wide[:, 2 : 2 + 2 * height, 2 : 2 + 2 * width]


def convolved(given: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a 3 x 3 convolution."""
    _, height, width = given.shape
    around = np.zeros((given.shape[0], height + 2, width + 2), given.dtype)
    around[:, 1:-1, 1:-1] = given
    parts = [np.tensordot(weight[:, :, k, m], around[:, k : k + height, m : m + width], axes=1) for k in range(3) for m in range(3)]
    return sum(parts[1:], parts[0])


def picture(file: File, tensors: dict[str, np.ndarray], latents: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Return the picture ``(H, W, 3)`` in double precision."""
    made = latents.astype(np.float64)
    gains = tensors.get("log_inverse_gain")
    if gains is not None:
        at = file.quality / 1000 - 1
        below = min(int(at), len(gains) - 2)
        made = made * np.exp(gains[below] + (at - below) * (gains[below + 1] - gains[below]))[:, None, None]
    layer = 0
    while f"decoder.{layer}.weight" in tensors:
        made = transposed(made, tensors[f"decoder.{layer}.weight"]) + tensors[f"decoder.{layer}.bias"][:, None, None]
        if f"decoder.{layer + 1}.beta.root" in tensors:
            beta, gamma = (
                np.maximum(tensors[f"decoder.{layer + 1}.{name}.root"], np.sqrt(least + 2.0**-36)) ** 2 - 2.0**-36
                for name, least in (("beta", 1e-6), ("gamma", 0.0))
            )
            made = made * np.sqrt(beta[:, None, None] + np.tensordot(gamma, made**2, axes=1))
        layer += 2
    if settings["decoder"] == "bayer_ps":
        planes = made.reshape(3, 2, 2, *made.shape[1:])
        made = planes.transpose(0, 3, 1, 4, 2).reshape(3, 2 * made.shape[1], 2 * made.shape[2])
    if settings["companding"] == "root":
        made = np.sign(made) * np.abs(made) * (np.abs(made) + 2 * np.sqrt(0.001))
    balance = np.array(struct.unpack("<3f", file.fields.get(2, struct.pack("<3f", 1, 1, 1))))
    top, left = file.lead
    return (made / balance[:, None, None])[:, top : top + file.height, left : left + file.width].transpose(1, 2, 0)


def model_id(tensors: dict[str, np.ndarray], settings: dict[str, Any]) -> bytes:
    """Return a model's id, for float32 and integer tensors."""
    digest = hashlib.sha256(b"photic decoder 1\n")
    digest.update(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for name in sorted(tensors):
        value = tensors[name]
        if value.dtype == np.float32:
            bits = value.view(np.uint32).astype(np.uint64)
            kind, content = "bf2", ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
        else:
            kind, content = "i8", value.astype("<i8").tobytes()
        digest.update(f"{name} {kind} {','.join(map(str, value.shape))}\n".encode() + content)
    return digest.digest()[:12]
