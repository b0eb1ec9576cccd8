"""Iterations through the forward model, from a network's object on or from a flat one."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import torch

from photic.apps.ptycho.inference import Advance
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.solver import Step, solve
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
        The refined reconstruction on the solver's canvas; ``history`` is R_amp of each iteration.
    """
    config = _config(iterations, refine_probe, refine_positions, seed, options)
    return _solved(scan, config, device, advance, start=made, method=f"{made.method} + {_passes(iterations)}")


def iterate(
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
    """Reconstruct a scan with the solver alone, from a flat object; arguments as in :func:`refine`."""
    config = _config(iterations, refine_probe, refine_positions, seed, options)
    return _solved(scan, config, device, advance, start=None, method=f"iterative, {_passes(iterations)}")


def _config(iterations: int, refine_probe: bool, refine_positions: bool, seed: int, options: dict[str, Any]) -> SolverConfig:
    # With few iterations the defaults' waiting would leave none for probe and positions.
    starts = {"probe_start": min(1, iterations // 4), "position_start": min(3, iterations // 4)}
    given = {"iterations": iterations, "refine_probe": refine_probe, "refine_positions": refine_positions, "seed": seed}
    return SolverConfig(**{**starts, **given, **options})


def _solved(
    scan: RawNPZData, config: SolverConfig, device: torch.device | str, advance: Advance, *, start: Reconstruction | None, method: str
) -> Reconstruction:
    began, cpu = time.perf_counter(), os.times()

    def after(step: Step) -> None:
        advance(1)

    probe = scan.probe_modes if start is None or start.probe is None else start.probe
    found = solve(
        scan.diffraction,
        scan.positions_px,
        probe,
        config,
        start=None if start is None else start.stitched(),
        start_origin_px=(0.0, 0.0) if start is None else start.origin_px,
        mask=scan.mask,
        device=device,
        progress=after,
    )
    spent = os.times()
    facts = {
        "seconds": round(time.perf_counter() - began, 3),
        "cpu_seconds": round(spent.user + spent.system - cpu.user - cpu.system, 3),
        "solver": config.to_dict(),
        "likelihood": found.likelihood,
    }
    return Reconstruction(
        object=found.object,
        coverage=found.coverage,
        origin_px=(float(found.origin_px[0]), float(found.origin_px[1])),
        positions_px=np.asarray(found.positions_px),
        probe=found.probe,
        r_amp=found.r_amp,
        history=found.history,
        pixel_size_m=scan.physics_parameters.get("pixel_size_m"),
        method=method,
        source=scan.source,
        metadata={**({} if start is None else start.metadata), **facts},
    )


def _passes(iterations: int) -> str:
    return f"{iterations} iteration{'' if iterations == 1 else 's'}"
