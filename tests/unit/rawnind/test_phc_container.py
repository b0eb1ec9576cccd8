"""The .phc container: what stands where, what is refused, and that nothing but our own whole files is read."""

from __future__ import annotations

import io
import math
import pickle
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.compressing.container import (
    HEADER_BYTES,
    MAX_TILE,
    Layout,
    open_container,
    packed,
    read_header,
)
from photic.apps.rawnind.compressing.facts import MAX_EXIF_BYTES, Facts, kept_text, packed_facts, read_facts
from photic.apps.rawnind.compressing.numbers import number, read_number
from photic.apps.rawnind.compressing.picture_facts import MAX_STORED_EXIF_BYTES, kept_exif
from photic.core.errors import BitstreamError, DataError
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag

from .phc_mutations import with_sums

MODEL = bytes(range(12))
LAYOUT = Layout(height=50, width=70, original="GBRG", lead=(3, 0), latents=(8, 10), tile=4, quality=2.5, model=MODEL)
FACTS = Facts(
    model_name="rawcompress",
    balance=(2.0, 1.0, 1.5),
    white_balance=(2.0, 1.0, 1.5),
    xyz_to_camera=tuple(number_ / 8 for number_ in range(9)),
    noise=(0.5, 0.25),
    black_levels=(127.0, 128.0, 128.0, 128.5),
    white_level=4095.0,
    full_level=0.9375,
    orientation=6,
    iso=1600.0,
    exposure_s=1 / 160,
    aperture=6.3,
    camera="Maker Ünique 5",
    baseline_exposure_ev=0.35,
    exif=exif.pack(Directory("<", tags={0x010F: Tag(2, 6, b"Maker\0")})),
)
TILES = [bytes([place]) * place for place in range(6)]
FILE = packed(LAYOUT, FACTS, b"side", TILES)


def test_every_byte_is_where_the_document_says():
    # docs/phc_format.md, read with nothing but struct and zlib
    magic, version, original, above, before, height, width = struct.unpack_from("<4sBBBBII", FILE)
    rows, columns, tile, quality, model = struct.unpack_from("<HHHH12s", FILE, 16)
    (header_crc,) = struct.unpack_from("<I", FILE, 36)
    assert (magic, version, original, above, before, height, width) == (b"\x89PHC", 1, 3, 3, 0, 50, 70)
    assert (rows, columns, tile, quality, model) == (8, 10, 4, 2500, MODEL)
    assert header_crc == zlib.crc32(FILE[:36])
    place, entries = 40, []
    for _ in range(2 + 6):
        length = FILE[place] & 0x7F
        if FILE[place] & 0x80:
            place += 1
            length |= FILE[place] << 7
        entries.append((length, *struct.unpack_from("<I", FILE, place + 1)))
        place += 5
    parts = []
    for count, (length, crc) in enumerate(entries):
        parts.append(FILE[place : place + length])
        assert crc == zlib.crc32(FILE[36:40] + struct.pack("<I", count) + parts[-1])
        place += length
    assert place == len(FILE)
    assert parts[1:] == [b"side", *TILES]
    fields, place = {}, 0
    while place < len(parts[0]):
        tag, length = parts[0][place], parts[0][place + 1]
        fields[tag] = parts[0][place + 2 : place + 2 + length]
        place += 2 + length
    assert list(fields) == [*range(1, 15), 16]
    assert fields[1] == b"rawcompress" and fields[13] == "Maker Ünique 5".encode()
    assert struct.unpack("<3f", fields[2]) == struct.unpack("<3f", fields[3]) == (2.0, 1.0, 1.5)
    assert struct.unpack("<9f", fields[4]) == FACTS.xyz_to_camera
    assert struct.unpack("<2f", fields[5]) == (0.5, 0.25)
    assert struct.unpack("<4d", fields[6]) == FACTS.black_levels
    assert [struct.unpack("<d", fields[tag])[0] for tag in (7, 10, 11, 12, 14)] == [4095.0, 1600.0, 1 / 160, 6.3, 0.35]
    assert struct.unpack("<f", fields[8]) == (0.9375,) and fields[9] == b"\x06"
    assert zlib.decompress(fields[16]) == FACTS.exif


def test_what_is_written_is_read(tmp_path):
    header = read_header(FILE)
    assert header.layout == LAYOUT
    assert header.facts == FACTS
    assert (header.size, header.quality, header.model_name, header.model) == ((50, 70), 2.5, "rawcompress", MODEL.hex())
    assert header.bits["side"] == 8 * 4 and header.bits["tiles"] == 8 * 15
    assert sum(header.bits.values()) == 8 * len(FILE) == header.bpp * 50 * 70
    path = tmp_path / "picture.phc"
    path.write_bytes(FILE)
    assert read_header(path) == header == read_header(str(path))
    opened = open_container(FILE)
    assert opened.side() == b"side"
    assert [opened.tile(row, column) for row in range(2) for column in range(3)] == TILES


def test_a_picture_of_which_nothing_is_known_takes_no_metadata():
    file = packed(LAYOUT, Facts(), b"", [b""] * 6)
    assert len(file) == HEADER_BYTES + 8 * 5
    assert read_header(file).facts == Facts()


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "short.phc"
    for length in range(len(FILE)):
        with pytest.raises(BitstreamError):
            read_header(FILE[:length])
        if length < 60 or length % 16 == 0:
            path.write_bytes(FILE[:length])
            with pytest.raises(BitstreamError, match=r"short\.phc"):
                read_header(path)


def test_every_flipped_bit_is_noticed():
    for place in range(8 * len(FILE)):
        broken = bytearray(FILE)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises(BitstreamError):
            read_header(bytes(broken))


def test_bytes_behind_the_end_are_an_error():
    with pytest.raises(BitstreamError, match="1 bytes follow its end"):
        read_header(FILE + b"\0")


def test_parts_that_change_places_or_come_from_another_file_are_noticed():
    alike = packed(LAYOUT, FACTS, b"side", [b"same"] * 6)
    other = packed(replace(LAYOUT, quality=2.0), FACTS, b"side", [b"same"] * 6)
    index = slice(HEADER_BYTES, len(alike) - len(packed_facts(FACTS)) - 4 - 24)
    assert alike[index] != other[index]
    with pytest.raises(BitstreamError, match="checksum of its metadata"):
        read_header(alike[:HEADER_BYTES] + other[HEADER_BYTES:])
    entries = bytearray(packed(LAYOUT, Facts(), b"", [b"A", b"B", b"", b"", b"", b""]))
    at = HEADER_BYTES + 10
    entries[at : at + 5], entries[at + 5 : at + 10] = entries[at + 5 : at + 10], entries[at : at + 5]
    entries[-2:] = b"BA"
    with pytest.raises(BitstreamError, match="checksum of its tile 0"):
        read_header(bytes(entries))


def test_damage_of_one_tile_leaves_the_others():
    opened = open_container(FILE[:-1] + b"\xff")
    assert opened.tile(1, 1) == TILES[4]
    with pytest.raises(BitstreamError, match="tile 5"):
        opened.tile(1, 2)
    with pytest.raises(BitstreamError, match="Copy it again"):
        opened.check()


def foreign() -> dict[str, bytes]:
    jpeg, png = io.BytesIO(), io.BytesIO()
    picture = Image.new("RGB", (64, 64), "red")
    picture.save(jpeg, "JPEG")
    picture.save(png, "PNG")
    return {
        "empty": b"",
        "jpeg": jpeg.getvalue(),
        "png": png.getvalue(),
        "pickle": pickle.dumps({"a": 1}),
        "zip": b"PK\x03\x04" + bytes(100),
        "text": b"photic" * 30,
        "zeros": bytes(500),
        "newline converted": FILE.replace(b"\n", b"\r\n") if b"\n" in FILE else FILE[:4] + b"\r\n" + FILE[4:],
    }


@pytest.mark.parametrize("name", foreign())
def test_foreign_files_are_refused(name, tmp_path):
    content = foreign()[name]
    with pytest.raises(BitstreamError):
        read_header(content)
    path = tmp_path / "foreign.phc"
    path.write_bytes(content)
    with pytest.raises(BitstreamError, match=r"foreign\.phc"):
        read_header(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"gone\.phc: cannot be read"):
        read_header(tmp_path / "gone.phc")
    with pytest.raises(DataError, match="cannot be read"):
        read_header(tmp_path)


def test_a_newer_version_asks_for_an_upgrade():
    newer = bytearray(FILE)
    newer[4] = 2
    for content in (bytes(newer), with_sums(bytes(newer))):
        with pytest.raises(BitstreamError, match="newer Photic .format 2, this one reads 1."):
            read_header(content)


FIELDS = {"version": (4, "B"), "original": (5, "B"), "height": (8, "I"), "width": (12, "I"), "rows": (16, "H"), "columns": (18, "H")} | {
    "tile": (20, "H"),
    "quality": (22, "H"),
}


def with_field(name: str, value: int, data: bytes = FILE) -> bytes:
    """Return a file with another value in a field of the header, and checksums that fit."""
    place, kind = FIELDS[name]
    made = bytearray(data)
    struct.pack_into("<" + kind, made, place, value)
    return with_sums(bytes(made))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", 0, "format 0"),
        ("original", 6, "kind 6"),
        ("original", 0x80, "kind 0"),
        ("height", 0, "0 x 70 pixels"),
        ("width", 0, "50 x 0 pixels"),
        ("height", 2**32 - 1, "megapixels"),
        ("rows", 0, "0 x 10 latents"),
        ("columns", 0, "8 x 0 latents"),
        ("rows", 65535, "truncated: .* index of 49152 tiles"),
        ("columns", 9, None),  # as many tiles: only the model knows that it is wrong
        ("columns", 13, "beyond|truncated|damaged"),
        ("tile", 0, "tiles of 0 latents"),
        ("tile", MAX_TILE + 1, "tiles of 257 latents"),
        ("tile", 1, "index|truncated|damaged"),
        ("quality", 999, "quality 0.999"),
    ],
)
def test_impossible_numbers_are_refused_although_the_checksums_are_right(field, value, message):
    content = with_field(field, value)
    if message is None:
        read_header(content)
        return
    with pytest.raises(BitstreamError, match=message):
        read_header(content)


def test_the_largest_picture_is_the_callers_choice():
    with pytest.raises(BitstreamError, match=r"0.003 megapixels"):
        read_header(FILE, max_pixels=3000)
    assert read_header(FILE, max_pixels=3500).size == (50, 70)
    assert math.prod(read_header(with_field("width", 20_000_000)).size) == 1_000_000_000
    with pytest.raises(BitstreamError, match="1000 megapixels"):
        read_header(with_field("width", 20_000_001))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": (65_536, 10)}, "rows of latents"),
        ({"tile": 257}, "latents along a tile"),
        ({"quality": 0.0}, "quality"),
        ({"quality": 65.6}, "quality"),
        ({"height": 0}, "height"),
        ({"height": 40_000, "width": 40_000}, "megapixels"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(change, message):
    layout = replace(LAYOUT, **change)
    with pytest.raises(DataError, match=message):
        packed(layout, FACTS, b"", [b""] * layout.num_tiles)


def test_the_number_of_tiles_is_the_layouts():
    with pytest.raises(DataError, match="expected 6 tiles, got 5"):
        packed(LAYOUT, FACTS, b"", TILES[:5])


def test_fields_of_later_versions_are_passed_over():
    later = packed_facts(FACTS) + bytes([200]) + number(3) + b"new"
    assert read_facts(later, "file") == FACTS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x01", "no field"),
        (b"\x01\x05abc", "no field"),
        (b"\x01\x80\x00", "no field"),  # a length longer than it need be
        (b"\x00\x00", "no field"),
        (bytes([9, 1, 3, 9, 1, 3]), "no field"),  # twice
        (bytes([10, 0]), "expected 1 numbers"),
        (bytes([9, 1, 3, 1, 1, 65]), "no field"),  # not in order
        (bytes([1, 2]) + b"\xff\xff", r"model_name"),
        (bytes([1, 2]) + b"\x1b[", "no printable text"),
        (bytes([1]) + number(300) + b"a" * 300, "no printable text"),
        (bytes([2, 12]) + struct.pack("<3f", 1, 0, 1), "out of range"),
        (bytes([2, 12]) + struct.pack("<3f", 1, float("nan"), 1), "out of range"),
        (bytes([4, 8]) + bytes(8), "expected 9 numbers"),
        (bytes([9, 1, 9]), "orientation"),
        (bytes([15, 1, 3]), "left_out"),
        (bytes([16, 4]) + b"none", "exif"),
        (bytes([16]) + number(len(zlib.compress(b"no TIFF"))) + zlib.compress(b"no TIFF"), "exif"),
        (bytes([16]) + number(len(zlib.compress(bytes(2 * MAX_EXIF_BYTES)))) + zlib.compress(bytes(2 * MAX_EXIF_BYTES)), "at most"),
    ],
)
def test_wrong_metadata_is_refused(content, message):
    with pytest.raises(BitstreamError, match=message):
        read_facts(content, "file")


def test_texts_are_cut_to_what_the_format_holds():
    assert kept_text("  Made\x1b[31m by\n ") == "Made?[31m by"
    assert kept_text("ü" * 200) == "ü" * 127
    assert kept_text("\ud800x") == "?x"


def test_large_exif_loses_its_maker_note_and_no_more():
    rng = np.random.default_rng(0)
    small = Directory("<", tags={0x010F: Tag(2, 6, b"Maker\0")})
    small.below[exif.EXIF_IFD] = Directory("<", tags={0x829A: Tag(5, 1, struct.pack("<II", 1, 200))})
    block = exif.pack(small)
    assert kept_exif(block) == (block, "")
    note = rng.bytes(2 * MAX_STORED_EXIF_BYTES)
    small.below[exif.EXIF_IFD].tags[0x927C] = Tag(7, len(note), note)
    kept, left_out = kept_exif(exif.pack(small))
    assert left_out == "maker note"
    assert exif.unpack(kept).below[exif.EXIF_IFD].tags.keys() == {0x829A}
    small.tags[0x010E] = Tag(2, len(note), note)
    assert kept_exif(exif.pack(small)) == (None, "EXIF")
    assert kept_exif(b"damaged") == (None, "EXIF")
    assert kept_exif(None) == (None, "")


def test_exif_cannot_ask_for_any_time_or_memory():
    # 3,000 tags that all point to the same directory, which is their own; and 2,000 that all hold the same 100 kB
    entry = struct.pack("<HHII", exif.EXIF_IFD, 4, 1, 8)
    looped = b"II*\0" + struct.pack("<IH", 8, 3000) + entry * 3000 + bytes(4)
    entry = struct.pack("<HHII", 0x010E, 7, 100_000, 8)
    shared = b"II*\0" + struct.pack("<IH", 8, 2000) + entry * 2000 + bytes(100_000)
    for block in (looped, shared):
        content = zlib.compress(block)
        with pytest.raises(BitstreamError, match="exif"):
            read_facts(bytes([16]) + number(len(content)) + content, "file")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**35 - 1])
def test_numbers(value):
    written = number(value)
    assert read_number(b"x" + written + b"y", 1) == (value, 1 + len(written))
    assert read_number(written[:-1], 0) is None
    assert read_number(bytes(byte | 0x80 for byte in written) + b"\0", 0) is None
    assert read_number(b"\x80" * 6, 0) is None
