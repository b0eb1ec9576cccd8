"""A folder of raw pictures prepared for training: looked at, paired, aligned, masked, cut, and written into an index."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from photic.apps.rawnind.pairs.index import INDEX_NAME, PairEntry, PairIndex, Rejected, entry_from, plain, write_index
from photic.apps.rawnind.pairs.layouts import Found, FoundPicture, find_pictures
from photic.apps.rawnind.pairs.pair_preparation import TILES, TileSettings, prepare_pair, write_anchor_tiles
from photic.apps.rawnind.pairs.pairing import PlannedPair, plan_pairs
from photic.apps.rawnind.pairs.pictures import PictureFacts, look
from photic.apps.rawnind.pairs.records import RECORDS, Records, key_of, stamp
from photic.apps.rawnind.pairs.tiles import tile_starts
from photic.core.errors import ConfigError, DataError, StorageError
from photic.workflows.progress import counting

METHOD = 1
"""Raised whenever the same pictures would be prepared otherwise; what was prepared before is then made again."""
_BYTES_PER_TILE_PIXEL = {"pair": 2 * 4 + 1, "anchor": 2 * (4 + 12)}


@dataclass(frozen=True)
class Prepared:
    """What came out."""

    index: PairIndex
    path: Path
    """Of the index."""
    found: Found
    reused: int
    """Pairs that had been prepared before."""


def prepare(
    root: Path, output: Path | None = None, *, settings: TileSettings | None = None, workers: int = 1, quiet: bool = True
) -> Prepared:
    """Prepare the pairs of a folder; what an interrupted or earlier call has done is used again.

    The same pictures and settings give the same files, however often it was interrupted and whatever the number of processes.

    Args:
        root: folder of raw files, see :func:`photic.apps.rawnind.pairs.layouts.find_pictures`.
        output: where everything goes; ``prepared`` in the root if None.
        settings: how pictures are cut.
        workers: processes; each needs about 80 bytes per pixel of a picture (2 GB for 24 megapixels).
        quiet: show no bars.

    Raises:
        ConfigError: settings that make no tiles, or the output is a folder of something else.
        DataError: there are no raw files.
        StorageError: something cannot be written, or there is not enough space.
    """
    settings = _checked(settings or TileSettings())
    output = root / "prepared" if output is None else output
    found = find_pictures(root, without=output)
    _claim(output)
    with _pool(workers) as pool:
        work = _Preparation(output, settings, pool, quiet)
        facts = work.look(found)
        plan = plan_pairs(found, facts)
        _require_space(output, plan.pairs, facts, settings)
        results = work.pairs(plan.pairs, facts)
        entries = [result for result in results if isinstance(result, PairEntry)]
        work.anchors({pair.anchor.name: pair.anchor.path for pair in plan.pairs}, entries)
    rejected = [*plan.rejected, *(result for result in results if isinstance(result, Rejected))]
    rejected.sort(key=lambda one: (one.noisy_path, one.gt_path or ""))
    source = Path(os.path.relpath(root.resolve(), output.resolve())).as_posix()
    index = PairIndex(source, dataclasses.asdict(settings) | {"layout": found.layout}, tuple(entries), tuple(rejected), output)
    path = write_index(output / INDEX_NAME, index)
    _remove_unnamed(output, entries)
    return Prepared(index, path, found, work.reused)


Pool = Callable[[Callable[..., Any], Sequence[Any]], Iterator[tuple[int, Any]]]
"""Calls a function with each of the arguments and gives (place, result) as they come."""


class _Preparation:
    """The steps that take long; each is kept as soon as it is done.

    Args:
        output: where everything goes.
        settings: how pictures are cut.
        pool: does the work.
        quiet: show no bars.
    """

    def __init__(self, output: Path, settings: TileSettings, pool: Pool, quiet: bool) -> None:
        self.output, self.settings, self.pool, self.quiet = output, settings, pool, quiet
        self.given = dataclasses.asdict(settings)
        self.reused = 0
        """Pairs that had been prepared before."""

    def look(self, found: Found) -> dict[str, PictureFacts]:
        """Return what every picture holds, by its name."""
        records = Records(self.output, "pictures")
        with_signature = any(picture.scene is None for picture in found.pictures)
        keys = {picture.name: key_of(METHOD, with_signature, picture.iso, stamp(picture.path)) for picture in found.pictures}
        known = {name: records.find(name, key) for name, key in keys.items()}
        facts = {name: PictureFacts.from_dict(values) for name, values in known.items() if values is not None}
        todo = [picture for picture in found.pictures if picture.name not in facts]
        with counting("looking at", len(found.pictures), "pictures", quiet=self.quiet) as count:
            count(len(facts))
            for place, result in self.pool(partial(_look_at, with_signature), todo):
                name = todo[place].name
                facts[name] = result
                records.keep(name, keys[name], result.to_dict())
                count(1)
        return facts

    def pairs(self, pairs: Sequence[PlannedPair], facts: dict[str, PictureFacts]) -> list[PairEntry | Rejected]:
        """Return what became of each pair; tiles of noisy pictures and masks are written."""
        records = Records(self.output, "pairs")
        keys, results = {}, {}
        for pair in pairs:
            both = [[picture.name, stamp(picture.path), picture.test_reserve] for picture in (pair.anchor, pair.other)]
            keys[pair.name] = key_of(METHOD, self.given, pair.scene, both)
            known = records.find(pair.name, keys[pair.name])
            if known is not None:
                result = Rejected(**known["rejected"]) if "rejected" in known else entry_from(known["entry"])
                if isinstance(result, Rejected) or _all_there(self.output, _own_files(result)):
                    results[pair.name] = result
        self.reused = len(results)
        todo = [pair for pair in pairs if pair.name not in results]
        with counting("preparing", len(pairs), "pairs", quiet=self.quiet) as count:
            count(self.reused)
            jobs = [(pair, facts[pair.anchor.name], facts[pair.other.name], self.output, self.settings) for pair in todo]
            for place, result in self.pool(_prepare_one, jobs):
                name, kind = todo[place].name, "rejected" if isinstance(result, Rejected) else "entry"
                records.keep(name, keys[name], {kind: plain(result)})
                results[name] = result
                count(1)
        return [results[pair.name] for pair in pairs]

    def anchors(self, paths: dict[str, Path], entries: Sequence[PairEntry]) -> None:
        """Write the tiles of anchors that some pair uses."""
        records = Records(self.output, "anchors")
        positions: dict[str, set[tuple[int, int]]] = {}
        files: dict[str, set[str]] = {}
        for entry in entries:
            positions.setdefault(entry.gt_path, set()).update(crop.position for crop in entry.crops)
            files.setdefault(entry.gt_path, set()).update(path for crop in entry.crops for path in (crop.gt_path, crop.gt_rgb_path))
        names = sorted(positions)
        keys = {name: key_of(METHOD, self.given, stamp(paths[name]), sorted(positions[name])) for name in names}
        todo = [name for name in names if records.find(name, keys[name]) is None or not _all_there(self.output, files[name])]
        with counting("demosaicing", len(names), "clean pictures", quiet=self.quiet) as count:
            count(len(names) - len(todo))
            jobs = [(paths[name], name, sorted(positions[name]), self.output, self.settings) for name in todo]
            for place, _ in self.pool(_write_one, jobs):
                records.keep(todo[place], keys[todo[place]], True)
                count(1)


def _look_at(with_signature: bool, picture: FoundPicture) -> PictureFacts:
    return look(picture, with_signature)


def _prepare_one(job: tuple[PlannedPair, PictureFacts, PictureFacts, Path, TileSettings]) -> PairEntry | Rejected:
    return prepare_pair(*job)


def _write_one(job: tuple[Path, str, list[tuple[int, int]], Path, TileSettings]) -> None:
    write_anchor_tiles(*job)


@contextmanager
def _pool(workers: int) -> Iterator[Pool]:
    """Give something that calls a function for many arguments, here or in processes."""
    if workers <= 1:
        yield _here
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield partial(_there, executor, 2 * workers)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _here(function: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    for place, argument in enumerate(arguments):
        yield place, function(argument)


def _there(executor: ProcessPoolExecutor, ahead: int, function: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    waiting: dict[Future[Any], int] = {}
    left = iter(enumerate(arguments))
    try:
        while True:
            for place, argument in left:
                waiting[executor.submit(function, argument)] = place
                if len(waiting) >= ahead:
                    break
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that prepares pictures was killed, most often for want of memory; run the same command again with fewer --workers: "
            "what was done is kept"
        ) from error


def _start_worker() -> None:
    """One thread each; Ctrl-C is for the process that hands out the work."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _checked(settings: TileSettings) -> TileSettings:
    side, stride, share, shift = settings.tile_px, settings.stride_px, settings.min_valid_share, settings.max_shift_px
    if side < 16 or not 0 < stride <= side:
        raise ConfigError(f"tiles: expected 16 packed pixels and more, and a stride up to a tile's side, got {side} and {stride}")
    if not 0 < share <= 1 or shift < 0:
        raise ConfigError(
            f"tiles: expected a smallest valid share above 0 and up to 1, and a largest shift from 0, got {share:g} and {shift}"
        )
    return settings


def _claim(output: Path) -> None:
    """Take a folder for what is prepared: a new or empty one, or one of an earlier call; remove what a killed one left half-written."""
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output}: is a file; give a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / RECORDS).is_dir():
        raise ConfigError(f"{output}: is there already and holds something else; give a new folder with -o")
    try:
        (output / RECORDS).mkdir(parents=True, exist_ok=True)
        for leftover in output.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{output}: cannot be written: {error.strerror or error}; give another folder with -o") from error


def _require_space(output: Path, pairs: Iterable[PlannedPair], facts: dict[str, PictureFacts], settings: TileSettings) -> None:
    """Refuse to begin what cannot be finished for want of space."""

    def size_of(name: str, kind: str) -> int:
        tiles = [len(tile_starts(side, settings.tile_px, settings.stride_px)) for side in facts[name].size]
        sides = [min(side, settings.tile_px) for side in facts[name].size]
        return math.prod(tiles) * math.prod(sides) * _BYTES_PER_TILE_PIXEL[kind]

    wanted = [(pair.other.name, "pair") for pair in pairs]
    needed = sum(size_of(*one) for one in {*wanted, *((pair.anchor.name, "anchor") for pair in pairs)})
    there = sum(path.stat().st_size for path in (output / TILES).rglob("*.npy"))
    free = shutil.disk_usage(output).free
    if needed - there > free:
        raise StorageError(
            f"{output}: needs about {(needed - there) / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; give another folder with -o"
        )


def _own_files(entry: PairEntry) -> list[str]:
    return [entry.mask_path, *(path for crop in entry.crops for path in (crop.noisy_path, crop.mask_path))]


def _all_there(output: Path, paths: Iterable[str]) -> bool:
    return all((output / path).is_file() for path in paths)


def _remove_unnamed(output: Path, entries: Sequence[PairEntry]) -> None:
    """Remove tiles of earlier calls, with other settings or pictures, that the index does not name."""
    named = {path for entry in entries for path in _own_files(entry)}
    named |= {path for entry in entries for crop in entry.crops for path in (crop.gt_path, crop.gt_rgb_path)}
    for path in sorted((output / TILES).rglob("*"), reverse=True):  # files before the folders they are in
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(output).as_posix() not in named:
            path.unlink()
