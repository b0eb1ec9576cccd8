"""A progress bar over the whole training with the time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from photic.engine.module import EngineModule
from photic.engine.state import Plan


class Progress:
    """Shows how far training is.

    Args:
        plan: the course in numbers.
        quiet: show nothing.
    """

    def __init__(self, plan: Plan, *, quiet: bool = False) -> None:
        self.plan = plan
        self.quiet = quiet
        self.console = Console()
        self._bar: Bar | None = None
        self._started: tuple[float, int] | None = None

    def __enter__(self) -> Progress:
        if not self.quiet and self.console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("[dim]elapsed"),
                TimeElapsedColumn(),
                TextColumn("[dim]left"),
                TimeRemainingColumn(elapsed_when_finished=True, compact=True),
                TextColumn("{task.fields[values]}"),
                console=self.console,
            )
            self._bar.add_task("training", total=self.plan.num_steps, values="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, module: EngineModule, event: str) -> None:
        """Show the state after a training batch, a validation batch, or a whole validation."""
        state = module.state
        if self._started is None:
            self._started = (time.monotonic(), max(0, state.steps - 1))
        if self._bar is not None:
            loss = module.last_terms.get("loss")
            shown = f"loss {loss:.4f}" if loss is not None else ""
            word = (
                "validating"
                if event == "val"
                else f"epoch {min(self.plan.num_epochs, int(self.plan.epoch(max(0, state.batches - 1))) + 1)}"
            )
            self._bar.update(self._bar.task_ids[0], completed=state.steps, description=f"{word:<10}", values=shown)
        if event == "validated" and not self.quiet:
            self._line(module)

    def _line(self, module: EngineModule) -> None:
        entry = module.state.history[-1]
        name = module.config.monitor
        started, first = self._started or (time.monotonic(), 0)
        done = module.state.steps - first
        left = (time.monotonic() - started) / max(1, done) * (self.plan.num_steps - module.state.steps)
        best = " (best)" if module.state.best is not None and module.state.best["step"] == entry["step"] else ""
        text = (
            f"epoch {entry['epoch']:g}/{self.plan.num_epochs}  step {entry['step']}/{self.plan.num_steps}  "
            f"train loss {entry['train'].get('loss', float('nan')):.4f}  val loss {entry['val']['loss']:.4f}  "
            f"{name} {entry['val'][name]:.4f}{best}  left {_clock(left)}"
        )
        self.console.print(text, highlight=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
