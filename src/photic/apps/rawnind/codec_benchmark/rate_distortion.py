"""Measuring rate and quality: every scene coded by every method at every setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.codec_benchmark.codecs import Codec
from photic.apps.rawnind.codec_benchmark.results import Method, Point, Seen, finite_points
from photic.apps.rawnind.codec_benchmark.scenes import CLASSICAL, Scene, SceneMaker
from photic.apps.rawnind.evaluating.evaluation_sheets import CROP_PX, most_detailed
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import DataError, StorageError
from photic.functional.ssim import ms_ssim, psnr

Floats = NDArray[np.float32]


class Compressor(Protocol):
    """A model of Photic at several qualities."""

    @property
    def label(self) -> str:
        """What it is called."""
        ...

    @property
    def how(self) -> str:
        """Which model it is."""
        ...

    @property
    def qualities(self) -> tuple[float, ...]:
        """Settings at which it is measured, from the fewest bits to the most."""
        ...

    def coded(self, picture: RawPicture, quality: float, noise: tuple[float, float] | None) -> tuple[int, Floats]:
        """Return the number of bytes of the file, and what it holds, ``(H, W, 3)`` in camera colours."""
        ...


@dataclass
class Measured:
    """What was found so far."""

    pictures: list[Seen] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Crops:
    """The same part of one scene, as it was coded and as it should be; uint8 ``(h, w, 3)``."""

    scene: Scene
    points: tuple[Point, ...]
    parts: Mapping[tuple[str, float], NDArray[np.uint8]]
    """Method and setting to the part."""
    true: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Job:
    method: str
    setting: float
    run: Callable[[], tuple[int, Tensor]]
    """Gives bytes and the developed picture ``(1, 3, H, W)``."""


def methods_of(compressors: Sequence[Compressor], codecs: Sequence[Codec], maker: SceneMaker) -> tuple[Method, ...]:
    """Return everything that is measured: ours, codecs, and denoisers with the first codec behind them."""
    made = [Method(one.label, "ours", "quality", one.how) for one in compressors]
    made += [Method(codec.label, "codec", codec.knob, codec.how) for codec in codecs]
    if any(level.noise is not None for level in maker.levels) and codecs:
        first = codecs[0]
        denoisers = [*([CLASSICAL] if maker.classical else []), *(maker.denoisers or {})]
        made += [Method(chain_label(name, first), "chain", first.knob, f"{name}, developed, then {first.how}") for name in denoisers]
    return tuple(made)


def chain_label(denoiser: str, codec: Codec) -> str:
    """Return what a denoiser with a codec behind it is called."""
    return f"{denoiser}, then {codec.label}"


def num_codings(compressors: Sequence[Compressor], codecs: Sequence[Codec], maker: SceneMaker) -> int:
    """Return how often each file's picture is coded, at all levels together."""
    own = sum(len(one.qualities) for one in compressors)
    ladders = sum(len(codec.ladder) for codec in codecs)
    chains = (int(maker.classical) + len(maker.denoisers or {})) * (len(codecs[0].ladder) if codecs else 0)
    return sum(own + ladders + (chains if level.noise is not None else 0) for level in maker.levels)


@dataclass(frozen=True, eq=False)
class Source:
    """A picture to measure, at some levels."""

    path: Path
    """Where it comes from, for people."""
    scenes: Callable[[], Iterable[Scene]]
    """Makes it, at each level; a DataError leaves the picture out."""
    num_codings: int
    """How often it is coded, at all levels together."""


def sources_of(paths: Sequence[Path], maker: SceneMaker, compressors: Sequence[Compressor], codecs: Sequence[Codec]) -> list[Source]:
    """Return files' pictures as sources."""
    each = num_codings(compressors, codecs, maker)

    def made(path: Path, index: int, name: str) -> Source:
        return Source(path, lambda: maker.scenes(path, index, name), each)

    return [made(path, index, name) for index, (path, name) in enumerate(zip(paths, _names(paths), strict=True))]


def measure(
    sources: Sequence[Source],
    compressors: Sequence[Compressor],
    codecs: Sequence[Codec],
    *,
    workers: int = 1,
    keep: Callable[[Crops], None] = lambda crops: None,
    advance: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Measure pictures; one that cannot be used is left out, with its reason.

    Args:
        sources: the pictures.
        compressors: of ours.
        codecs: the others; denoised versions go through the first of them.
        workers: how many codecs run at a time; compressors run one after the other.
        keep: is given crops of each scene.
        advance: called with the number of codings done, each time some are; as many as the source says, whatever happens to it.

    Raises:
        DataError: no picture at all could be used.
    """
    found = Measured()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for source in sources:
            done = 0

            def count(number: int) -> None:
                nonlocal done
                done += number
                advance(number)

            try:
                scenes = _measured(source.scenes(), compressors, codecs, pool, count)
            except StorageError:
                raise  # a full disk is no property of the file
            except DataError as error:
                found.failed.append((source.path, str(error)))
                advance(source.num_codings - done)
                continue
            for crops in scenes:
                found.points += crops.points
                keep(crops)
            found.pictures.append(Seen(scenes[0].scene.name, scenes[0].scene.size))
    if not found.pictures:
        raise DataError("no picture could be used:\n" + "\n".join(f"  {path}: {why}" for path, why in found.failed[:10]))
    return found


def _measured(
    scenes: Iterable[Scene],
    compressors: Sequence[Compressor],
    codecs: Sequence[Codec],
    pool: ThreadPoolExecutor,
    count: Callable[[int], None],
) -> list[Crops]:
    made = []
    for scene in scenes:
        place = most_detailed(scene.reference)

        def finished(job: _Job, scene: Scene = scene, place: tuple[int, int] = place) -> tuple[Point, NDArray[np.uint8]]:
            num_bytes, picture = job.run()
            point = _point(scene, job, num_bytes, picture)
            count(1)
            return point, part_of(picture, place)

        own = [finished(job) for job in _own_jobs(scene, compressors)]
        results = [*own, *pool.map(finished, _codec_jobs(scene, codecs))]
        points = tuple(point for point, _ in results)
        finite_points(points, scene.name)
        parts = {(point.method, point.setting): part for point, part in results}
        made.append(Crops(scene, points, parts, part_of(scene.reference, place)))
    return made


def _names(paths: Sequence[Path]) -> list[str]:
    """Return files' names, whole paths where two have the same."""
    names = [path.name for path in paths]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def part_of(picture: Tensor, place: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a crop of a developed picture ``(1, 3, H, W)`` as uint8 ``(h, w, 3)``."""
    top, left = place
    part = picture[0, :, top : top + CROP_PX, left : left + CROP_PX].permute(1, 2, 0)
    return np.ascontiguousarray((part.clamp(0, 1) * 255).round().byte().numpy())


def _own_jobs(scene: Scene, compressors: Sequence[Compressor]) -> list[_Job]:
    def job(compressor: Compressor, quality: float) -> _Job:
        def run() -> tuple[int, Tensor]:
            num_bytes, camera = compressor.coded(scene.raw, quality, scene.noise)
            if camera.shape != (*scene.size, 3):
                raise DataError(f"{compressor.label}: gave {camera.shape} back for a picture of {scene.size[0]} x {scene.size[1]}")
            return num_bytes, scene.develop(camera)

        return _Job(compressor.label, quality, run)

    return [job(one, quality) for one in compressors for quality in one.qualities]


def _codec_jobs(scene: Scene, codecs: Sequence[Codec]) -> list[_Job]:
    def job(codec: Codec, setting: float, label: str, version: Floats) -> _Job:
        def run() -> tuple[int, Tensor]:
            data, made = codec.coded(version, setting)
            return len(data), torch.from_numpy(np.ascontiguousarray(np.moveaxis(made, -1, 0)))[None]

        return _Job(label, setting, run)

    jobs = [job(codec, setting, codec.label, scene.versions[""]) for codec in codecs for setting in codec.ladder]
    for name, version in scene.versions.items():
        if name and codecs:
            jobs += [job(codecs[0], setting, chain_label(name, codecs[0]), version) for setting in codecs[0].ladder]
    return jobs


@torch.inference_mode()
def _point(scene: Scene, job: _Job, num_bytes: int, picture: Tensor) -> Point:
    height, width = scene.size
    picture = picture.clamp(0, 1)
    return Point(
        picture=scene.name,
        level=scene.level.name,
        method=job.method,
        setting=job.setting,
        num_bytes=num_bytes,
        bpp=8 * num_bytes / (height * width),
        psnr=float(psnr(picture, scene.reference, 1.0)),
        ms_ssim=float(ms_ssim(picture, scene.reference, 1.0)),
    )
