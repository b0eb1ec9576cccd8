"""The foundation: configuration schema, registries, errors, seeding, checkpoints, files, plug-ins.

Nothing here imports Lightning or Hydra, and only :mod:`photic.core.checkpoint` and
:mod:`photic.core.seeding` touch torch (inside functions), so that the command line can list and
explain every component without paying for torch's import.
"""
