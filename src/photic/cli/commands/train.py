"""``photic train``."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photic.cli.parser import Parser, Section, columns, shown
from photic.core import index
from photic.core.errors import ConfigError, PhoticError, RunInterrupted
from photic.workflows.recipes import component_kinds, recipe_entries

if TYPE_CHECKING:
    from photic.workflows.config import TrainConfig

EXAMPLES = (
    ("photic train recipe=severstal data.root=DATA", "a recipe on your data"),
    ("photic train recipe=severstal loss.name=bce_with_logits training.num_epochs=50", "with another loss, for 50 epochs"),
    ("photic train -m recipe=severstal seed=0,1,2 loss.name=bce_with_logits,focal", "all six combinations, one after another"),
    (
        "photic train -m recipe=raw_compress loss.lmbda=4096,2048,1024 training.start_from=previous",
        "each job starts from the weights of the one before it, the first from random ones",
    ),
    ("photic train recipe=severstal --cfg job", "print every setting, do not train"),
    ("photic train --config-dir conf --config-name mine seed=1", "your own YAML, conf/mine.yaml"),
    ("photic train --resume runs/severstal/ID", "go on with an interrupted run, exactly"),
)


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "train",
        "Train a network, test its best checkpoint and write a report. "
        "Settings come from a recipe, then from your own YAML, then from overrides.",
        EXAMPLES,
        _sections,
        usage="recipe=NAME [KEY=VALUE ...] [options]",
    )
    made.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="override, with dots: loss.gamma=2.0; ~KEY removes what the recipe says"
    )
    made.add_argument("-m", "--multirun", action="store_true", help="train every combination of the sweeps (a=1,2 or a=range(0,5))")
    made.add_argument("-c", "--cfg", choices=("job",), help="print the resolved configuration as YAML and stop")
    made.add_argument("-cd", "--config-dir", type=Path, metavar="DIR", help="folder of your own YAML files, in Hydra's form")
    made.add_argument("-cn", "--config-name", metavar="NAME", help="file in that folder, without .yaml")
    made.add_argument("--resume", type=Path, metavar="RUN", help="folder of the run to go on with; training.* and trainer.* may change")
    made.add_argument("--quiet", action="store_true", help="no progress display")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(arguments)
    if options.resume is not None:
        return _resume(options)
    from photic.cli import compose

    if options.config_name is not None and options.config_dir is None:
        raise ConfigError(f"--config-name {options.config_name}: say where it lies with --config-dir DIR")
    user = compose.UserConfig(options.config_dir, options.config_name) if options.config_dir is not None else None
    jobs = compose.jobs(options.overrides, multirun=options.multirun, user=user)
    configs = [_checked(job, user, len(jobs)) for job in jobs]  # all of them now: a typo in the last job should not cost a night
    if options.cfg is not None:
        _print_configs(jobs, configs)
        return 0
    from photic.workflows.train import train

    if not options.multirun:
        print(train(configs[0], quiet=options.quiet).summary())
        return 0
    return _multirun(jobs, configs, quiet=options.quiet)


def _resume(options: argparse.Namespace) -> int:
    given = {"--multirun": options.multirun, "--cfg": options.cfg, "--config-dir": options.config_dir, "--config-name": options.config_name}
    for flag, value in given.items():
        if value:
            raise ConfigError(f"--resume and {flag} exclude each other; a resumed run keeps its own configuration")
    from photic.cli.compose import changes_of
    from photic.workflows.train import resume

    print(resume(options.resume, dict(changes_of(options.overrides)), quiet=options.quiet).summary())
    return 0


def _checked(job: Any, user: Any, num_jobs: int) -> TrainConfig:
    from photic.cli import compose

    with _named(job, num_jobs):
        return compose.configuration(job, user)


@contextmanager
def _named(job: Any, num_jobs: int) -> Iterator[None]:
    """Say which job of several an error is about."""
    try:
        yield
    except PhoticError as error:
        if num_jobs == 1:
            raise
        raise type(error)(f"job '{job.title}': {error}") from error


def _print_configs(jobs: Sequence[Any], configs: Sequence[TrainConfig]) -> None:
    import yaml

    for number, (job, config) in enumerate(zip(jobs, configs, strict=True), 1):
        if len(jobs) > 1:
            print(f"{'---' + chr(10) if number > 1 else ''}# [{number}/{len(jobs)}] {job.title}")
        print(yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True), end="")


@dataclass
class _Outcome:
    status: str
    value: str = ""
    run: str = ""


def _check_starts(jobs: Sequence[Any], configs: Sequence[TrainConfig]) -> None:
    """Refuse, before the first job, what one of them cannot start from."""
    from photic.engine.config import PREVIOUS
    from photic.workflows.starting import check_start

    follows = any(not job.begins for job in jobs)
    for job, config in zip(jobs, configs, strict=True):
        if config.training.start_from != PREVIOUS or not follows:
            with _named(job, len(jobs)):
                check_start(config.training)


def _started(config: TrainConfig, job: Any, previous: Path | None) -> TrainConfig:
    """Return a job's configuration with the run before it in place of ``previous``; the first along a sweep starts from random weights."""
    from photic.engine.config import PREVIOUS

    if config.training.start_from != PREVIOUS:
        return config
    if previous is None and not job.begins:
        raise ConfigError(
            "training.start_from=previous: none of the jobs before it along this sweep has completed, so there is nothing to start from"
        )
    print(f"starts from {'random weights' if previous is None else previous}", flush=True)
    return config.replace(training=config.training.replace(start_from=None if previous is None else str(previous)))


def _multirun(jobs: Sequence[Any], configs: Sequence[TrainConfig], *, quiet: bool) -> int:
    from photic.workflows.train import train

    _check_starts(jobs, configs)
    outcomes: list[_Outcome] = []
    previous: Path | None = None
    started = time.monotonic()
    try:
        for number, (job, config) in enumerate(zip(jobs, configs, strict=True), 1):
            print(f"\n[{number}/{len(jobs)}] {job.title}", flush=True)
            if job.begins:
                previous = None
            try:
                result = train(_started(config, job, previous), quiet=quiet)
            except RunInterrupted:
                raise
            except Exception as error:  # noqa: BLE001 - one failed job must not end the others; it is reported below
                if not isinstance(error, PhoticError):
                    traceback.print_exc()
                print(f"photic: error: [{number}/{len(jobs)}] {error}", file=sys.stderr)
                outcomes.append(_Outcome("failed"))
                continue
            print(result.summary(), flush=True)
            previous = result.run
            best = result.results.get("best") or {}
            value = f"{best['monitor']} {best['value']:.4f}" if best.get("value") is not None else "n/a"
            outcomes.append(_Outcome("completed", value, str(result.run)))
    except (RunInterrupted, KeyboardInterrupt):
        outcomes.append(_Outcome("interrupted"))
        _print_outcomes(jobs, outcomes, time.monotonic() - started)
        raise
    _print_outcomes(jobs, outcomes, time.monotonic() - started)
    failed = [
        f"[{number}] {job.title}" for number, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True), 1) if outcome.status == "failed"
    ]
    if failed:
        print(f"photic: error: {len(failed)} of {len(jobs)} jobs failed: {'; '.join(failed)}", file=sys.stderr)
        return 1
    return 0


def _print_outcomes(jobs: Sequence[Any], outcomes: Sequence[_Outcome], seconds: float) -> None:
    rows = [("job", "changes", "status", "best on validation", "run")]
    rows += [
        (str(number), job.title, outcome.status, outcome.value, outcome.run)
        for number, (job, outcome) in enumerate(
            zip(jobs, [*outcomes, *[_Outcome("not run")] * (len(jobs) - len(outcomes))], strict=True), 1
        )
    ]
    print(f"\n{len(jobs)} jobs in {seconds:.0f} s")
    print("\n".join(columns(rows)))


def _sections() -> list[Section]:
    recipes = columns([(entry.name, entry.summary) for entry in recipe_entries()], wrapped=1)
    groups = [
        (f"{section}=NAME", f"photic list {kind}", f"photic list {kind} NAME --schema") for section, kind in component_kinds().items()
    ]
    settings = [(f"{key}={shown(field.default)}", field.doc) for key, field in _plain_settings() if key != "recipe"]
    return [
        ("recipes", "\n".join(recipes) or "none"),
        ("components", "\n".join(columns([("choose", "names", "their fields, as SECTION.KEY=VALUE"), *groups]))),
        ("settings, with their default values", "\n".join(columns(settings, wrapped=1))),
        ("all of them, as they stand", "photic train recipe=NAME --cfg job"),
    ]


def _plain_settings() -> list[tuple[str, index.FieldInfo]]:
    """Return the settings outside components, by dotted key, read from the sources."""
    module = "photic.workflows.config"
    found: list[tuple[str, index.FieldInfo]] = []
    for field in index.class_fields(module, "TrainConfig"):
        if field.name not in component_kinds():
            section = index.class_fields(module, field.type) if field.type.isidentifier() else []
            found += [(f"{field.name}.{inner.name}", inner) for inner in section] or [(field.name, field)]
    return found
