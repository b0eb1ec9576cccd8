"""The configuration that a run was trained with, read back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from photic.core.errors import UnknownNameError
from photic.core.plugins import explained
from photic.tracking.run import Run
from photic.workflows.config import TrainConfig
from photic.workflows.recipes import merge


def config_of(run: Run, changes: Mapping[str, Any]) -> TrainConfig:
    """Return the checked configuration of a run with changes laid over it.

    Raises:
        ConfigError: the file or a change is wrong.
        UnknownNameError: it names a component that is not here; where the package that brings it is missing, the message says which.
    """
    kept = run.config
    try:
        return TrainConfig.from_dict(merge(kept, changes))
    except UnknownNameError as error:
        if not _is_known(kept):  # otherwise it is a change that is wrong, and the run not to blame
            raise explained(error, run.path / "config.yaml", run.results.get("requires", ())) from error
        raise


def _is_known(config: Mapping[str, Any]) -> bool:
    """Say whether every name in a configuration is one that is here."""
    try:
        TrainConfig.from_dict(config)
    except UnknownNameError:
        return False
    return True
