"""Trains in forked children that are killed at chosen moments, resumes them, and compares bits with an uninterrupted run.

A process of its own, because killing and forking do not belong into pytest's. Reads a JSON object from
standard input: ``recipe`` (quick_strips if left out), ``overrides`` of it, ``kills`` (list of lists of moments), ``folder``. Prints a JSON
list of problems.

Moments: ``batch:N`` after training batch N, before its checkpoint; ``validation:N`` in the middle of validation N;
``saved:N`` right after checkpoint write N; ``write:N`` in the middle of checkpoint write N (half of the temporary file is there).
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import torch.utils.tensorboard

import photic
from photic.core import checkpoint
from photic.core.checkpoint import read_checkpoint
from photic.engine import callbacks, fit  # noqa: F401 - the latter for the children

torch.set_num_threads(1)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str | None) -> None:
    """Make this process kill itself at the moment."""
    if moment is None:
        return
    kind, number = moment.split(":")
    countdown = [int(number)]

    def due() -> bool:
        countdown[0] -= 1
        return countdown[0] == 0

    if kind == "batch":
        train_end = callbacks.Recorder.on_train_batch_end

        def on_train_batch_end(self, trainer, module, *arguments):
            if module.state.batches + 1 == int(number):
                die()
            train_end(self, trainer, module, *arguments)

        callbacks.Recorder.on_train_batch_end = on_train_batch_end
    elif kind == "validation":
        start = callbacks.Recorder.on_validation_batch_end

        def on_validation_batch_end(self, *arguments):
            if due():
                die()
            start(self, *arguments)

        callbacks.Recorder.on_validation_batch_end = on_validation_batch_end
    elif kind == "write":
        save_file = checkpoint.save_file

        def save_half(tensors, path, metadata):
            save_file(tensors, path, metadata)
            if due():
                os.truncate(path, Path(path).stat().st_size // 2)
                die()

        checkpoint.save_file = save_half
    elif kind == "saved":
        write = callbacks.write_checkpoint

        def write_and_die(*arguments):
            result = write(*arguments)
            if due():
                die()
            return result

        callbacks.write_checkpoint = write_and_die
    else:
        raise ValueError(moment)


def in_child(work, moment: str | None) -> bool:
    """Run ``work`` in a forked child; return whether it was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(2, 1)  # standard output belongs to the result
            arm(moment)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it was, the parent must hear of it and no test runner may catch it
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if os.WEXITSTATUS(status) != 0:
        raise RuntimeError(f"child failed at {moment}")
    return False


def train(recipe: str, overrides: dict, folder: Path) -> None:
    photic.train(photic.recipe(recipe, {**overrides, "output_dir": str(folder)}), quiet=True, page=False)


def resume(folder: Path) -> None:
    photic.resume(only_run(folder), quiet=True, page=False)


def only_run(folder: Path) -> Path:
    (run,) = (path.parent for path in folder.glob("*/*/config.yaml"))
    return run


def content(run: Path) -> dict:
    """Return everything of a finished run that must not depend on interruptions."""
    found: dict = {}
    for name in ("last", "best"):
        saved = read_checkpoint(run / "checkpoints" / f"{name}.safetensors")
        found |= {f"{name}/model/{key}": value for key, value in saved.weights.items()}
        found |= {f"{name}/ema/{key}": value for key, value in (saved.ema or {}).items()}
        found |= {f"{name}/{key}": value for key, value in flat(saved.state)}
    results = json.loads((run / "results.json").read_text())
    for entry in [*results["history"], results["best"]]:
        entry.pop("seconds")
    found |= {f"results/{key}": value for key, value in flat({k: results.get(k) for k in ("history", "best", "test", "thresholds")})}
    found["predictions"] = (run / "predictions" / "test.csv").read_text()
    return {key: value for key, value in found.items() if not key.endswith("seconds")}


def flat(value, place: str = ""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from flat(item, f"{place}/{index}")
    else:
        yield place, value


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def main() -> None:
    order = json.load(sys.stdin)
    folder, recipe = Path(order["folder"]), order.get("recipe", "quick_strips")
    photic.recipe(recipe, order["overrides"])  # imports what the children need, once for all of them
    if in_child(lambda: train(recipe, order["overrides"], folder / "whole"), None):
        raise RuntimeError("the reference run was killed")
    expected = content(only_run(folder / "whole"))
    problems = []
    for number, moments in enumerate(order["kills"]):
        place = folder / f"killed-{number}"
        for step, moment in enumerate(moments):
            work = partial(train, recipe, order["overrides"], place) if step == 0 else partial(resume, place)
            if not in_child(work, moment):
                problems.append(f"{moments}: nothing was killed at {moment}")
        in_child(partial(resume, place), None)
        found = content(only_run(place))
        keys = expected.keys() | found.keys()
        differing = [key for key in keys if key not in found or key not in expected or not same(expected[key], found[key])]
        problems += [f"{moments}: {len(differing)} of {len(expected)} differ, e.g. {sorted(differing)[:4]}"] if differing else []
        leftovers = list(place.glob("**/.*.tmp"))
        problems += [f"{moments}: left behind {leftovers}"] if leftovers else []
    json.dump(problems, sys.stdout)


if __name__ == "__main__":
    main()
