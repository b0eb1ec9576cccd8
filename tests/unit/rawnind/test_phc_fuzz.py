"""Ten thousand broken files: each ends in a BitstreamError or, where its checksums were made to fit, in a picture; no hang."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photic.apps.rawnind.compressing.decoding import Decoder
from photic.apps.rawnind.compressing.encoding import compress_picture
from photic.apps.rawnind.files.bands import gathered
from photic.core.errors import BitstreamError
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag
from photic.functional.cfa import BAYER

from .compressors import TINY, loaded_compressor
from .denoisers import NOISE, noisy
from .phc_mutations import Mutations, with_sums

MOST_PIXELS = 1_000_000
MORE_MEMORY = 256 << 20
STATM = Path("/proc/self/statm")
LONGEST_S = 5.0


@pytest.fixture(scope="module")
def model():
    return loaded_compressor(TINY)


@pytest.fixture(scope="module")
def files(model) -> list[bytes]:
    block = exif.pack(Directory("<", tags={0x010F: Tag(2, 6, b"Maker\0")}))
    rich = replace(noisy(20, 30, BAYER["GBRG"]), exif=block, orientation=6, exposure_s=0.005, black_levels=(64.0,), white_level=1023.0)
    return [
        compress_picture(model, noisy(16, 16), quality=1, noise=NOISE),
        compress_picture(model, rich, quality=3, noise=NOISE, tile=2),
    ]


@pytest.fixture(scope="module")
def foreign() -> list[bytes]:
    made = []
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        with io.BytesIO() as handle:
            Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(handle, kind)
            made.append(handle.getvalue())
    return [*made, b"", b"\x89PHC", b"PK\x03\x04" + bytes(60), bytes(1000)]


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Give the process no more than so much more address space, on Linux; elsewhere it is not known how much it has."""
    if not STATM.exists():
        yield
        return
    import resource

    present = int(STATM.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (present + MORE_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Outcomes:
    """Runs broken files through the decoder and counts what becomes of them."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.refused, self.made = 0, 0
        self.messages: set[str] = set()

    def picture(self, data: bytes) -> None:
        def run():
            opened = self.decoder.open(data, max_pixels=MOST_PIXELS)
            gathered(opened.bands(), opened.header.size)

        self._timed(data, run)

    def _timed(self, data: bytes, run) -> None:
        started = time.process_time()
        try:
            run()
            self.made += 1
        except BitstreamError as error:
            self.refused += 1
            self.messages.add(str(error)[:40])
        except BaseException as error:
            raise AssertionError(f"{error!r} for {data.hex()}") from error
        assert time.process_time() - started < LONGEST_S, f"took long: {data.hex()}"


def test_broken_files_are_refused(model, files, foreign):
    outcomes = Outcomes(Decoder(model))
    outcomes.picture(files[0])
    outcomes.picture(files[1])
    assert outcomes.made == 2
    whole = set(files)
    with bounded_memory():
        for data in Mutations(files, foreign, seed=1).broken(7500):
            outcomes.picture(data)
            assert outcomes.made == 2 or data in whole
            outcomes.made = 2
    assert outcomes.refused > 7300
    assert len(outcomes.messages) > 15


def test_broken_files_whose_checksums_fit_are_refused_or_decoded(model, files, foreign):
    for data in files:
        assert with_sums(data) == data
    outcomes = Outcomes(Decoder(model))
    with bounded_memory():
        for data in Mutations(files, foreign, seed=2).resealed(1900):
            outcomes.picture(data)
        for data in Mutations(files, foreign, seed=3).streams(600):
            outcomes.picture(data)
    assert outcomes.refused > 1000
    assert outcomes.made > 100  # what is a file after all
    assert len(outcomes.messages) > 15


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 14))
def test_ten_thousand_more_through_the_whole_decoder(model, files, foreign, seed):
    outcomes, mutations = Outcomes(Decoder(model)), Mutations(files, foreign, seed=seed)
    with bounded_memory():
        for some in (mutations.broken(5000), mutations.resealed(3000), mutations.streams(2000)):
            for data in some:
                outcomes.picture(data)
    assert outcomes.refused > 6000
