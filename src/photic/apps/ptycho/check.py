"""``photic data check ptycho``: reads scans completely and says what is in them and what is wrong; it guesses nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from photic.apps.ptycho.convert import add_reading_options
from photic.apps.ptycho.inspection import ScanReport, inspect_scan
from photic.core.errors import ConfigError
from photic.core.files import write_json

_EXAMPLES = """examples:
  photic data check ptycho scan.npz                          # keys, shapes, ranges, photons, overlap, problems
  photic data check ptycho train.npz test.npz -o pictures/   # also draws positions and the mean pattern
  photic data check ptycho scan.cxi --json check.json        # also for machines
Exits with 1 if a file has problems."""


def main(arguments: list[str]) -> int:
    """Run the command; 0 if every file can be used, 1 if something is wrong with one."""
    parser = argparse.ArgumentParser(
        prog="photic data check ptycho",
        description="Read scans completely and print what they hold, overlap of positions, what is missing, problems.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="scans of any known format")
    add_reading_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything found as JSON")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="draw positions and the mean pattern of every file there")
    parser.add_argument("--force", action="store_true", help="replace pictures that are there")
    options = parser.parse_args(arguments)
    if options.diffraction is not None and len(options.files) > 1:
        raise ConfigError(f"--diffraction belongs to one file, got {len(options.files)}; check them one by one")
    stems = [path.stem for path in options.files]
    if options.output is not None and len(set(stems)) < len(stems):
        raise ConfigError("-o: two files have the same name, and so would their pictures; check them one by one")
    console, reports = Console(), []
    for path in options.files:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"reading {path.name}", total=None)
            report = inspect_scan(
                path,
                reader=options.reader,
                domain=options.domain,
                diffraction=options.diffraction,
                progress=lambda done, bar=bar, task=task: bar.update(task, completed=done),  # type: ignore[misc]
            )
        show(report, console)
        if options.output is not None:
            for picture in draw(report, options.output, force=options.force):
                console.print(f"picture: {picture}", highlight=False, soft_wrap=True)
        reports.append(report)
    if options.json is not None:
        write_json(options.json, {"schema": 1, "files": [report.to_dict() for report in reports]})
    return 1 if any(report.problems for report in reports) else 0


def draw(report: ScanReport, folder: Path, *, force: bool = False) -> list[Path]:
    """Draw positions and the mean pattern of a file, as far as they are known; return the files written.

    Raises:
        ConfigError: a picture is there already and is not forced.
    """
    from photic.apps.ptycho import figures
    from photic.apps.ptycho.scan_preview import pattern

    made = []
    if report.positions_px is not None:
        figure = figures.positions(report.positions_px, field_px=report.size_px, title="Scan positions")
        made.append(figures.save(figure, folder / f"{report.path.stem}_positions.png", force=force))
    if report.mean_counts is not None:
        figure = pattern(report.mean_counts, title=f"Mean of {report.num_patterns} patterns")
        made.append(figures.save(figure, folder / f"{report.path.stem}_mean_pattern.png", force=force))
    return made


def show(report: ScanReport, console: Console) -> None:
    """Print a report."""
    console.print()
    console.print(Text.assemble((str(report.path), "bold"), "" if report.format is None else f"  {report.format}"), soft_wrap=True)
    if report.keys:
        console.print(_key_table(report))
        console.print()
    for name, text in _facts(report):
        console.print(Text.assemble((f"{name}: ", "bold"), text), soft_wrap=True)
    if report.missing:
        console.print(Text.assemble(("not in the file: ", "bold"), ", ".join(report.missing)), soft_wrap=True)
    for note in report.notes:
        console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
    for problem in report.problems:
        console.print(Text.assemble(("problem: ", "bold red"), problem), soft_wrap=True)
    if not report.problems:
        console.print(Text("no problems", style="bold green"))


def _facts(report: ScanReport) -> list[tuple[str, str]]:
    facts = []
    if report.num_patterns is not None:
        facts.append(("patterns", f"{report.num_patterns:,} of {report.size_px} x {report.size_px}, read as {report.domain or 'unknown'}"))
    found: dict[str, Any] = report.patterns
    if found:
        facts.append(
            (
                "photons per pattern",
                f"mean {found['photons_mean']:.4g}, from {found['photons_min']:.4g} to {found['photons_max']:.4g}; "
                f"brightest pixel {found['brightest_pixel']:.4g}; {found['zero_share']:.1%} of pixels are zero",
            )
        )
    if report.probe:
        modes = report.probe["modes"]
        facts.append(
            (
                "probe",
                f"{modes} mode{'s' if modes > 1 else ''}, energy {report.probe['energy']:.4g}, "
                f"diameter {report.probe['diameter_px']:.1f} px (90 % of the energy)",
            )
        )
    found = report.positions
    if "x_px" in found:
        height, width = found["canvas_px"]
        text = f"x from {found['x_px'][0]:.2f} to {found['x_px'][1]:.2f}, y from {found['y_px'][0]:.2f} to {found['y_px'][1]:.2f} px"
        facts.append(("positions", f"{text}; all patches fit into {height} x {width} px"))
    if "extent_m" in found:
        facts.append(("extent", f"{found['extent_m'][0] * 1e6:.4g} x {found['extent_m'][1] * 1e6:.4g} um"))
    if "scans" in found:
        facts.append(("scans", f"{found['scans']} in this file"))
    if "neighbour_px_median" in found:
        overlap = "unknown without a probe" if "overlap" not in found else f"{found['overlap']:.0%} of the probe's diameter"
        distance = f"nearest neighbours {found['neighbour_px_median']:.2f} px apart (median; at most {found['neighbour_px_max']:.2f})"
        facts.append(("overlap", f"{overlap}; {distance}"))
    known = {name: value for name, value in report.physics.items() if isinstance(value, int | float)}
    if known:
        facts.append(("physics", ", ".join(f"{name} {value:.5g}" for name, value in known.items())))
    return facts


def _key_table(report: ScanReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", overflow="fold")
    table.add_column("type and shape", overflow="fold")
    if any("min" in row for row in report.keys):
        table.add_column("range", overflow="fold")
    for row in report.keys:
        kind = "magnitude " if row.get("of") == "magnitude" else ""
        table.add_row(Text(row["key"]), Text(row["is"]), *([f"{kind}{row['min']:.5g} to {row['max']:.5g}"] if "min" in row else []))
    return table
