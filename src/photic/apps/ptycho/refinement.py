"""Iterations through the forward model, from a network's object on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from photic.apps.ptycho.grouping import bilinear_patches
from photic.apps.ptycho.inference import Advance
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.solver_options import SolverConfig


def refine(
    made: Reconstruction,
    scan: RawNPZData,
    iterations: int,
    *,
    refine_probe: bool = False,
    refine_positions: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
    advance: Advance = lambda count: None,
    **options: Any,
) -> Reconstruction:
    """Go on from a reconstruction with iterations of the solver: the network's speed with the iterative method's fidelity.

    Args:
        made: where to begin; its object and its probe are taken.
        scan: what was measured.
        iterations: passes over all patterns.
        refine_probe: improve the probe, too.
        refine_positions: improve the positions, too.
        seed: of the order of patterns.
        device: where to compute.
        advance: called with 1 after each iteration.
        **options: further fields of :class:`~photic.apps.ptycho.solver_options.SolverConfig`.

    Returns:
        The refined reconstruction on the solver's canvas, with patches of it if ``made`` has patches; ``history`` is R_amp of each
        iteration.
    """
    config = SolverConfig(iterations=iterations, refine_probe=refine_probe, refine_positions=refine_positions, seed=seed, **options)
    found = reconstruct(scan, config, start=made, device=str(device), progress=lambda step: advance(1))
    patches = None
    if made.patches is not None:
        patches = bilinear_patches(found.stitched(), found.positions_px - np.array(found.origin_px), scan.size_px)
    return dataclasses.replace(found, patches=patches, metadata={**made.metadata, **found.metadata})
