"""A compressed picture in memory: the bytes of a ``.phc`` file, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from photic.apps.rawnind.compressing.container import Header, read_header
from photic.core.errors import DataError
from photic.core.files import saved


@dataclass(frozen=True)
class Bitstream:
    """A compressed picture, as files hold it; what is in it was checked when it was made.

    Args:
        data: the bytes of a ``.phc`` file.

    Raises:
        BitstreamError: they are truncated, damaged, foreign, or of a newer format.
    """

    data: bytes = field(repr=False)
    header: Header = field(init=False, repr=False, compare=False)
    """What it says about the picture: size, quality, model, bits of each part."""

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes | bytearray | memoryview):
            raise DataError(
                f"Bitstream: expected the bytes of a compressed picture, got {type(self.data).__name__}; Bitstream.load reads files"
            )
        object.__setattr__(self, "data", bytes(self.data))
        object.__setattr__(self, "header", read_header(self.data))

    @property
    def num_bits(self) -> int:
        """Bits of everything, header and side information included: those of a file."""
        return 8 * len(self.data)

    @property
    def bpp(self) -> float:
        """Bits of everything per pixel of the picture: of a mosaic, per sensor pixel."""
        return self.num_bits / (self.size[0] * self.size[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in pixels: of a mosaic, those of the sensor."""
        return self.header.size

    @property
    def quality(self) -> float:
        """Quality level that it was compressed at."""
        return self.header.quality

    @property
    def parts(self) -> dict[str, int]:
        """Bits of each part; their sum is ``num_bits``."""
        return self.header.bits

    def save(self, path: Path | str, *, force: bool = False) -> Path:
        """Write it to a file, whole or not at all; return its path.

        Args:
            path: the file, which ends in .phc by custom.
            force: replace what is there.

        Raises:
            ConfigError: there is such a file already.
            StorageError: it cannot be written.
        """
        with saved(path, force=force) as temporary:
            temporary.write_bytes(self.data)
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file.

        Raises:
            BitstreamError: it is truncated, damaged, foreign, or of a newer format.
            DataError: there is no such file.
        """
        read_header(path)  # what is none of ours is not read as a whole, and named in the message
        return cls(Path(path).read_bytes())

    def __bytes__(self) -> bytes:
        return self.data

    def __len__(self) -> int:
        return len(self.data)
