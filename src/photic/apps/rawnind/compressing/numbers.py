"""Whole numbers as few bytes: 7 bits each, least first, the top bit set in all but the last."""

from __future__ import annotations

_MOST_BYTES = 5


def number(value: int) -> bytes:
    """Return a number of at least 0 as bytes.

    >>> number(300).hex()
    'ac02'
    """
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def read_number(data: bytes, place: int) -> tuple[int, int] | None:
    """Return the number at a place, and the place behind it; None where there is none, or one longer than it need be.

    >>> read_number(bytes.fromhex("ac02"), 0)
    (300, 2)
    """
    value = 0
    for digit, byte in enumerate(data[place : place + _MOST_BYTES]):
        value |= (byte & 0x7F) << 7 * digit
        if byte < 0x80:
            return None if byte == 0 and digit else (value, place + digit + 1)
    return None
