"""``photic benchmark-codec``: rate and quality of ours against JPEG XL, JPEG, WebP and AVIF on the same pictures."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from photic.apps.rawnind.codec_benchmark.benchmark_page import verdict, write_page
from photic.apps.rawnind.codec_benchmark.codecs import CODECS, USUAL, Codec, codecs_of
from photic.apps.rawnind.codec_benchmark.crop_sheets import SheetMaker
from photic.apps.rawnind.codec_benchmark.figures import write_plot
from photic.apps.rawnind.codec_benchmark.findings import all_findings, falls
from photic.apps.rawnind.codec_benchmark.rate_distortion import Compressor, Source, measure, methods_of, sources_of
from photic.apps.rawnind.codec_benchmark.results import LABELS, Benchmark, Seen, table, write_results
from photic.apps.rawnind.codec_benchmark.scenes import AS_THEY_ARE, Level, SceneMaker, level_of_iso, level_of_noise
from photic.apps.rawnind.denoising import load_denoiser, network_of
from photic.apps.rawnind.synthetic.clean import clean_files
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError
from photic.functional.ssim import min_side
from photic.inference.memory import keep_freed_memory
from photic.models.raw_denoising import RawDenoiser
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic benchmark-codec raws/                               # raw files as they are, the model that comes along, four codecs
  photic benchmark-codec raws/ --iso 100 6400 102400         # clean pictures with made noise, compared with the clean ones
  photic benchmark-codec raws/ --model RUN RUN2 model.photic # other models; models of one quality each are one curve
  photic benchmark-codec raws/ --noise 0.002,1e-5 --denoiser rawdenoise    # also: that denoiser, and JPEG XL behind it
  photic benchmark-codec 'photos/*_mean.JPG' --iso 6400 --limit 5 -o out   # photographs, turned back into raw
  photic benchmark-codec raws/ --no-model --codecs jpegxl avif avif420     # codecs alone
into the folder (-o): benchmark.json, points.csv, plot.png, crops_*.png and report.html, which says where ours does not win.
With made noise, codecs are given what a camera would: the noisy mosaic demosaiced by Menon and developed; and JPEG XL also what a
classical denoiser makes of it. Clean pictures are raw files of low ISO at half size and photographs (JPEG files at half size).
PSNR and MS-SSIM are of developed sRGB pictures; rates in bits per sensor pixel, whole files without EXIF. A model looks too good
on pictures that it was trained on. Status 1: some files could not be used; they are named."""
_SMALL_PX = 512 * 512
_MOST_ISO = 10_000_000
_OWN_FILES = ("benchmark.json", "points.csv", "plot.png", "report.html")


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where files had to be left out."""
    options = _parser().parse_intermixed_args(arguments)
    levels = _levels(options)
    codecs = codecs_of(options.codecs)
    paths = _limited(clean_files(options.inputs), options.limit)
    folder = options.output or _beside(options.inputs)
    refuse_occupied(folder, force=options.force)
    ours = _ours(options)
    maker = SceneMaker(
        levels=levels,
        max_side_px=options.max_side,
        against=options.against,
        classical=not options.no_classical,
        denoisers=_denoisers(options),
    )
    sources = sources_of(paths, maker, ours, codecs)
    data = ", ".join(str(place) for place in options.inputs)
    found, written = benchmark(sources, maker, ours, codecs, folder, data=data, workers=options.workers, quiet=options.quiet)
    show(found, written)
    return 1 if found.failed else 0


def benchmark(
    sources: Sequence[Source],
    maker: SceneMaker,
    ours: Sequence[Compressor],
    codecs: Sequence[Codec],
    folder: Path,
    *,
    data: str,
    workers: int = 1,
    quiet: bool = False,
    notes: tuple[str, ...] = (),
) -> tuple[Benchmark, list[Path]]:
    """Measure pictures, and write what was found into a folder: results, table of points, plot, crops, page.

    Args:
        sources: the pictures.
        maker: made them; its levels are those of the benchmark.
        ours: compressors of ours.
        codecs: the others.
        folder: where everything goes.
        data: where the pictures come from, for people.
        workers: how many codecs run at a time.
        quiet: no progress display.
        notes: what is to be said besides.

    Returns:
        What was found, and the files.
    """
    methods = methods_of(ours, codecs, maker)
    keep_freed_memory()
    ends = (maker.levels[0].name, maker.levels[-1].name)
    sheets = SheetMaker(folder, methods, list(dict.fromkeys(ends)), maker.against)
    with counting("Coding", sum(source.num_codings for source in sources), "times", quiet=quiet) as advance:
        measured = measure(sources, ours, codecs, workers=workers, keep=sheets.take, advance=advance)
    found = Benchmark(
        data=data,
        against=maker.against,
        levels=tuple(level.name for level in maker.levels),
        methods=methods,
        pictures=tuple(measured.pictures),
        points=tuple(measured.points),
        anchor=codecs[0].label,
        notes=(*notes, *_notes(measured.pictures)),
        failed=tuple((str(path), why) for path, why in measured.failed),
        sheets=tuple(path.name for path in sheets.write()),
        rate_crops=tuple(sheets.rate_crops),
    )
    return found, [*write_results(found, folder), write_plot(found, folder / "plot.png"), write_page(found, folder)]


def show(found: Benchmark, written: Sequence[Path]) -> None:
    """Print what was found."""
    print(f"{table(found)}\n")
    for text in falls(found, found.anchor):
        print(text)
    losing = [one for one in all_findings(found) if one.loses]
    if losing:
        print("\nwhere ours does not win:")
        for one in losing:
            print(f"  {one.level}, {LABELS[one.value]}: {one.short}")
    print(f"\n{verdict(found)}")
    for note in found.notes:
        print(f"note: {note}")
    for name, why in found.failed:
        print(f"left out: {name}: {why}")
    for path in written:
        print(path)


def _levels(options: argparse.Namespace) -> tuple[Level, ...]:
    """Return the levels of noise that the options ask for, by rising noise in a middle grey.

    Raises:
        ConfigError: options that contradict each other.
    """
    made = [*(level_of_iso(iso) for iso in options.iso), *(level_of_noise(*pair) for pair in options.noise)]
    names = [level.name for level in made]
    if len(set(names)) < len(names):
        raise ConfigError(f"--iso, --noise: each level once, got {', '.join(names)}")
    if made:
        return tuple(sorted(made, key=_middle_noise))
    given = [name for name, value in (("--against noisy", options.against == "noisy"), ("--denoiser", options.denoiser)) if value]
    if given or options.no_classical:
        raise ConfigError(f"{given[0] if given else '--no-classical'}: is about pictures with made noise; give --iso or --noise, too")
    return (AS_THEY_ARE,)


def _middle_noise(level: Level) -> float:
    return 0.0 if level.noise is None else 0.18 * level.noise.shot + level.noise.read


def _ours(options: argparse.Namespace) -> tuple[Compressor, ...]:
    """Return the compressors to measure."""
    if options.no_model:
        if options.model:
            raise ConfigError("--no-model: leaves models out, --model names some; give one of them")
        return ()
    from photic.apps.rawnind.codec_benchmark.our_codecs import our_codecs
    from photic.apps.rawnind.compressing.sources import shipped_compressors

    names = options.model or list(shipped_compressors())
    if not names:
        raise ConfigError(
            "no compressor comes with this installation; name a run or bundle with --model, or measure codecs alone: --no-model"
        )
    return our_codecs(names, options.device)


def _denoisers(options: argparse.Namespace) -> dict[str, RawDenoiser]:
    names = [Path(name).stem if Path(name).exists() else name for name in options.denoiser]
    if len(set(names)) < len(names):
        raise ConfigError(f"--denoiser: two are called alike: {', '.join(names)}")
    return {name: network_of(load_denoiser(given, options.device)) for name, given in zip(names, options.denoiser, strict=True)}


def _limited(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """Return so many of the files at most, evenly over all."""
    if limit is None or limit >= len(paths):
        return list(paths)
    return [paths[int(place)] for place in np.linspace(0, len(paths) - 1, limit).round()]


def _beside(inputs: Sequence[Path]) -> Path:
    """Return where results go if nobody says: beside the folder that was measured."""
    if len(inputs) > 1 or not inputs[0].is_dir():
        raise ConfigError("-o: say into which folder the results go; only those of one folder have a place of their own, beside it")
    place = inputs[0].resolve()
    return place.with_name(f"{place.name}_codecs")


def refuse_occupied(folder: Path, *, force: bool) -> None:
    """Refuse a folder with anything in it; with force, take away what an earlier benchmark left there.

    Raises:
        ConfigError: it is a file, or has something in it, and is not forced or is no benchmark's.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; results need a folder, give another name with -o")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise ConfigError(f"{folder}: has something in it already; give another folder with -o, or --force to replace a benchmark there")
    if not (folder / _OWN_FILES[0]).is_file():
        raise ConfigError(f"{folder}: holds no benchmark of codecs, and --force replaces nothing else; give another folder with -o")
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    for sheet in folder.glob("crops_*.png"):
        sheet.unlink()
    if (folder / "crops").is_dir():
        shutil.rmtree(folder / "crops")


def _notes(pictures: Sequence[Seen]) -> tuple[str, ...]:
    middle = float(np.median([seen.size[0] * seen.size[1] for seen in pictures]))
    if middle >= _SMALL_PX:
        return ()
    return (
        f"the pictures are small ({middle / 1e6:.2f} megapixels): headers of files, 0.1 to 0.6 KB, weigh more "
        "in their rates than in those of whole photographs",
    )


def _noise(text: str) -> tuple[float, float]:
    try:
        a, b = (float(part) for part in text.split(","))
    except ValueError:
        a = b = -1.0
    if not (np.isfinite([a, b]).all() and a >= 0 and b >= 0 and a + b > 0):
        raise argparse.ArgumentTypeError(
            f"expected A,B of the variance A x + B, not negative and not both 0, such as 0.002,1e-5; got '{text}'"
        )
    return a, b


def _iso(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (np.isfinite(value) and 0 < value <= _MOST_ISO):
        raise argparse.ArgumentTypeError(f"expected an ISO value above 0, at most {_MOST_ISO:,}, got '{text}'")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic benchmark-codec",
        description="Measure rate and quality of Photic's compressors against JPEG XL, JPEG, WebP and AVIF on the same pictures: PSNR and "
        "MS-SSIM over bits per sensor pixel, differences of the curves (BD-rate), a plot, crops, and a page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="FOLDER", help="raw files and photographs: folders, files or globs")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: FOLDER_codecs beside FOLDER)")
    parser.add_argument(
        "--model", nargs="+", default=(), metavar="MODEL", help="runs, bundles, models that come with Photic (default: those that do)"
    )
    parser.add_argument("--no-model", action="store_true", help="codecs alone")
    parser.add_argument("--codecs", nargs="+", default=USUAL, metavar="CODEC", help=f"of {', '.join(CODECS)} (default: {' '.join(USUAL)}); "
                        "the first is what the others are held against")  # fmt: skip
    parser.add_argument(
        "--iso", nargs="+", type=_iso, default=(), metavar="N", help="make the noise of a typical camera at these ISO values"
    )
    parser.add_argument("--noise", nargs="+", type=_noise, default=(), metavar="A,B", help="make noise of the variance A x + B")
    parser.add_argument(
        "--against",
        choices=("clean", "noisy"),
        default="clean",
        help="compare with the clean picture, or with the noisy one as it was developed (default: clean)",
    )
    parser.add_argument(
        "--denoiser", nargs="+", default=(), metavar="MODEL", help="denoisers of raw pictures, each with the first codec behind"
    )
    parser.add_argument("--no-classical", action="store_true", help="leave out the classical denoiser with the first codec behind")
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="so many pictures at most, evenly over all")
    parser.add_argument(
        "--max-side",
        type=whole_number(min_side() + 1),
        default=1024,
        metavar="PX",
        help="of larger pictures the middle is coded (default: 1024)",
    )
    parser.add_argument(
        "--workers", type=whole_number(1), default=os.cpu_count() or 1, metavar="N", help="codecs at a time (default: one for each core)"
    )
    parser.add_argument("--device", default="auto", help="of the models: auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--force", action="store_true", help="replace a benchmark that is there")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser
