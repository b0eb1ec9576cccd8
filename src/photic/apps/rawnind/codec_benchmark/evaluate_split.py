"""``photic evaluate`` for compressors: rate and quality on a split that a run kept, against codecs and other models."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from photic.apps.rawnind.codec_benchmark.benchmark_codec import benchmark, refuse_occupied, show
from photic.apps.rawnind.codec_benchmark.codecs import CODECS, USUAL, Codec, codecs_of
from photic.apps.rawnind.codec_benchmark.our_codecs import our_codecs
from photic.apps.rawnind.codec_benchmark.rate_distortion import Compressor, Source, num_codings
from photic.apps.rawnind.codec_benchmark.scenes import Level, Scene, SceneMaker, level_of_iso
from photic.apps.rawnind.compressing.encoding import load_compressor
from photic.apps.rawnind.compressing.model_identity import network_of
from photic.apps.rawnind.evaluating.evaluation_data import SPLITS, Chosen, changes_of, choose
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError, DataError
from photic.core.plugins import model_source
from photic.tracking.run import Run
from photic.workflows.report import write_report

_EXAMPLES = """examples:
  photic evaluate RUN                                        # the pictures the run kept for validation, against four codecs
  photic evaluate RUN --split test --against RUN2 --force    # another model in the same curves
  photic evaluate RUN --split test --codecs jpegxl           # JPEG XL alone
  photic evaluate rawcompress data.root=PHOTOS -o out/       # clean raw files and photographs, with made noise
into the folder (-o): benchmark.json, points.csv, plot.png, crops_*.png and report.html, as `photic benchmark-codec` writes them.
Every picture is coded at each quality of the model into a real file. Codecs get the noisy mosaic demosaiced by Menon and developed;
everybody is compared with the clean picture."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parser().parse_intermixed_args(arguments)
    source = model_source(options.run)
    network = network_of(load_compressor(source, options.device))
    if network.measurement != "mosaic":
        raise ConfigError(f"{source}: takes RGB; measure it with `photic benchmark-codec PICTURES --model {source}`")
    chosen = choose(source, changes_of(options.changes), options.split, network.measurement)
    folder = options.output or _own_folder(source, chosen)
    refuse_occupied(folder, force=options.force)
    ours, codecs = our_codecs([str(source), *options.against], options.device), codecs_of(options.codecs)
    sources, maker = sources_of_split(chosen, ours, codecs, limit=options.limit, classical=not options.no_classical)
    data = f"{chosen.data}, {chosen.split}"
    found, written = benchmark(
        sources, maker, ours, codecs, folder, data=data, workers=options.workers, quiet=options.quiet, notes=chosen.notes
    )
    if options.output is None:
        written.append(write_report(source).report)  # the run's page shows its evaluations
    show(found, written)
    return 1 if found.failed else 0


def sources_of_split(
    chosen: Chosen, ours: Sequence[Compressor], codecs: Sequence[Codec], *, limit: int | None = None, classical: bool = True
) -> tuple[list[Source], SceneMaker]:
    """Return the pictures of a split, each at all ISO values it is seen at, and what makes scenes of them.

    Args:
        chosen: the split.
        ours: compressors that will be measured.
        codecs: the others.
        limit: so many pictures at most, evenly over all.
        classical: make versions that are denoised classically.

    Raises:
        DataError: pictures without a known ISO value.
    """
    parts = [(part, place) for part in chosen.parts for place in range(len(part))]
    groups: dict[str, dict[float, tuple[Any, int]]] = {}
    for part, place in parts:
        sample = part.sample(place, 0)
        name, iso = str(sample["name"]).partition("@ISO")[0], float(sample.get("iso", float("nan")))
        if not iso > 0:
            raise DataError(f"{chosen.data}: {name}: has no ISO value; measure such pictures with `photic benchmark-codec`")
        groups.setdefault(name, {})[iso] = (part, place)
    levels: dict[float, Level] = {iso: level_of_iso(iso) for iso in sorted({iso for group in groups.values() for iso in group})}
    maker = SceneMaker(levels=tuple(levels.values()), classical=classical)
    each = num_codings(ours, codecs, maker)
    names = list(groups)
    if limit is not None and limit < len(names):
        names = [names[round(place * (len(names) - 1) / max(1, limit - 1))] for place in range(limit)]

    def scenes(name: str, group: Mapping[float, tuple[Any, int]]) -> Iterator[Scene]:
        for iso, (part, place) in sorted(group.items()):
            yield maker.of_sample(name, part.sample(place, 0), levels[iso])

    def made(name: str) -> Source:
        return Source(Path(name), lambda: scenes(name, groups[name]), each * len(groups[name]) // len(levels))

    return [made(name) for name in names], maker


def _own_folder(source: Path, chosen: Chosen) -> Path:
    if not source.is_dir():
        raise ConfigError(f"{source}: is a file; say with -o where the evaluation goes")
    return Run.open(source).path / "evaluations" / f"{chosen.name}_codecs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic evaluate",
        description="Measure a compressor of raw pictures on pictures that its run kept, at each quality and ISO value, against JPEG XL, "
        "JPEG, WebP and AVIF and other models: PSNR and MS-SSIM over bits per sensor pixel, BD-rates, a plot, crops, a page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, a bundle, or a model that comes with Photic")
    parser.add_argument(
        "changes", nargs="*", metavar="data.KEY=VALUE", help="other data, such as data.root=FOLDER, or other settings of them"
    )
    parser.add_argument("--split", choices=SPLITS, help="which pictures (default: val; all of other data)")
    parser.add_argument("--against", nargs="+", default=[], metavar="MODEL", help="other compressors, in the same curves")
    parser.add_argument("--codecs", nargs="+", default=USUAL, metavar="CODEC", help=f"of {', '.join(CODECS)} (default: {' '.join(USUAL)})")
    parser.add_argument("--no-classical", action="store_true", help="leave out the classical denoiser with the first codec behind")
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="so many pictures at most, evenly over all")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: in the run)")
    parser.add_argument(
        "--workers", type=whole_number(1), default=os.cpu_count() or 1, metavar="N", help="codecs at a time (default: one for each core)"
    )
    parser.add_argument("--device", default="auto", help="of the models: auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--force", action="store_true", help="replace an evaluation that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser
