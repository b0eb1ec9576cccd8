"""``photic data download rawnind``: the Raw Natural Image Noise Dataset, or a part of it, checked and resumable."""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from photic.apps.rawnind.pairs.dataverse import RemoteFile, listing_url, parse_listing, read_listing
from photic.apps.rawnind.pairs.fetching import PART, Fetcher, Stopped, md5_of
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import append_line
from photic.core.program import program
from photic.workflows.progress import counting

DOI = "doi:10.14428/DVN/DEQCIM"
SERVER = "https://dataverse.uclouvain.be"
TERMS = (
    f"RawNIND, the Raw Natural Image Noise Dataset (Brummer and De Vleeschouwer), {DOI}\n"
    "Creative Commons Attribution-ShareAlike 4.0 International (CC BY-SA 4.0): name its authors, share what you make of it alike"
)
VERIFIED = ".verified.jsonl"
"""In the folder: which files had the right checksum, so that 120 GB need not be read again to go on."""
_EXAMPLES = """examples:
  photic data download rawnind -o RawNIND/                               # everything, 120 GB; the same command goes on after a break
  photic data download rawnind -o RawNIND/ --match 'Bayer_7D-*' --yes    # one camera's scenes, without a question
  photic data download rawnind -o RawNIND/ --index dataverse_files.csv   # a saved list of files instead of the server's
Then: photic data prepare rawnind RawNIND/. Files that are there with the right checksum are not fetched again. Status 1: some files
could not be fetched; they are named."""


@dataclass
class Outcome:
    """What was fetched."""

    fetched: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files could not be fetched."""
    options = _parser().parse_args(arguments)
    fetcher = Fetcher(attempts=options.attempts)
    files = _listed(options.index, options.server, fetcher)
    chosen = [one for one in files if not options.match or any(fnmatch.fnmatch(one.name, pattern) for pattern in options.match)]
    if not chosen:
        raise ConfigError(f"--match {' '.join(options.match)}: none of {len(files)} files has such a name (for example {files[0].name})")
    output: Path = options.output
    verified = Verified(output)
    missing = [one for one in chosen if not verified.holds(one)]
    print(TERMS)
    here = len(chosen) - len(missing)
    left = sum(one.size - _part_size(output, one) for one in missing)
    print(f"{len(chosen):,} of {len(files):,} files, {_size(sum(one.size for one in chosen))}; {here:,} are in {output} already")
    if not missing:
        print("nothing to fetch")
        return 0
    _require_space(output, left)
    print(f"{len(missing):,} files, {_size(left)} to fetch")
    if not options.yes and not _confirmed():
        print("nothing was fetched; --yes fetches without a question")
        return 0
    outcome = download(missing, output, options.server, fetcher, verified, workers=options.workers, quiet=options.quiet)
    print(f"{outcome.fetched:,} files fetched and checked")
    if outcome.failed:
        print(f"{len(outcome.failed)} FAILED:")
        print("\n".join(f"  {name}: {reason}" for name, reason in outcome.failed))
    else:
        print(f"prepare them: {program()} data prepare rawnind {output}")
    return 1 if outcome.failed else 0


def download(
    files: Sequence[RemoteFile], output: Path, server: str, fetcher: Fetcher, verified: Verified, *, workers: int = 4, quiet: bool = True
) -> Outcome:
    """Fetch files; those that fail do not stop the others.

    Args:
        files: which ones.
        output: folder.
        server: address of the Dataverse server.
        fetcher: how.
        verified: told what had the right checksum.
        workers: files at once.
        quiet: show no bar.

    Raises:
        StorageError: a file cannot be written; what was fetched is kept.
        KeyboardInterrupt: interrupted; what was fetched is kept.
    """
    outcome = Outcome()
    total = sum(one.size for one in files)
    lock, came = threading.Lock(), [0]
    pool = ThreadPoolExecutor(workers)
    with counting("fetching", -(-total // 10**6), "MB", quiet=quiet) as count:

        def advance(num_bytes: int) -> None:
            with lock:
                before = came[0] // 10**6
                came[0] += num_bytes
                count(came[0] // 10**6 - before)

        def fetch(one: RemoteFile) -> None:
            fetcher.fetch(one.url(server), output / one.name, one.size, one.md5, advance)
            with lock:
                verified.add(one)

        try:
            waiting = {pool.submit(fetch, one): one for one in files}
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    one = waiting.pop(future)
                    try:
                        future.result()
                        outcome.fetched += 1
                    except StorageError:
                        raise
                    except DataError as error:
                        outcome.failed.append((one.name, str(error)))
        except Stopped as stopped:  # cannot come before somebody stopped it
            raise KeyboardInterrupt from stopped
        finally:
            fetcher.stop.set()  # does nothing where all is done
            pool.shutdown(wait=True, cancel_futures=True)
    outcome.failed.sort()
    return outcome


class Verified:
    """Which files of a folder had the right checksum, as long as they are not changed.

    Args:
        output: the folder.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.path = output, output / VERIFIED
        self._known: dict[str, tuple[str, int, int]] = {}
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                name, md5, size, changed = json.loads(line)
                self._known[str(name)] = (str(md5), int(size), int(changed))
            except (ValueError, TypeError):  # cut short by a crash: that file is read again
                continue

    def holds(self, one: RemoteFile) -> bool:
        """Say whether a file is there as it should be; one that nobody checked yet is read."""
        path = self.output / one.name
        if not path.is_file() or path.stat().st_size != one.size:
            return False
        if self._known.get(one.name) == (one.md5, one.size, path.stat().st_mtime_ns):
            return True
        if md5_of(path) != one.md5:
            return False
        self.add(one)
        return True

    def add(self, one: RemoteFile) -> None:
        """Note that a file was checked."""
        changed = (self.output / one.name).stat().st_mtime_ns
        self._known[one.name] = (one.md5, one.size, changed)
        append_line(self.path, json.dumps([one.name, one.md5, one.size, changed]))


def _listed(index: Path | None, server: str, fetcher: Fetcher) -> list[RemoteFile]:
    if index is not None:
        if not index.is_file():
            raise DataError(f"--index {index}: no such file; expected a Dataverse server's list of files (JSON), or a table (CSV)")
        return read_listing(index)
    url = listing_url(server, DOI)
    return parse_listing(fetcher.text(url), url)


def _part_size(output: Path, one: RemoteFile) -> int:
    part = output / (one.name + PART)
    return min(part.stat().st_size, one.size) if part.is_file() else 0


def _require_space(output: Path, needed: int) -> None:
    folder = output
    while not folder.exists():
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{output}: {_size(needed)} are to be fetched, {_size(free)} are free; give another folder with -o, or less with --match"
        )


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked whether to fetch that much; add --yes")
    return input("Fetch them? [y/N] ").strip().casefold() in ("y", "yes")


def _size(num_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic data download rawnind",
        description=f"Fetch RawNIND from its Dataverse server.\n{TERMS}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("RawNIND"), metavar="DIR", help="folder (default: %(default)s)")
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="a saved list of files (the API's JSON, or a table) instead of the server's"
    )
    parser.add_argument("--match", action="append", default=[], metavar="GLOB", help="only files of such names; may come several times")
    parser.add_argument("--workers", type=whole_number(1), default=4, metavar="N", help="files fetched at once (default: %(default)s)")
    parser.add_argument(
        "--attempts",
        type=whole_number(1),
        default=6,
        metavar="N",
        help="failures in a row after which a file is given up (default: %(default)s)",
    )
    parser.add_argument("--server", default=SERVER, metavar="URL", help="Dataverse server (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser
