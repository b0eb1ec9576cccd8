"""What the ptychography application brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="ptycho",
    package="photic.apps.ptycho",
    summary="Ptychographic reconstruction, learned with the physics inside and iterative, from raw scans to complex objects",
    demo="photic.apps.ptycho.demo:run",
    report="photic.apps.ptycho.report:write_report",
    readers={
        "raw_npz": "photic.apps.ptycho.readers.raw_npz:read",
        "cxi": "photic.apps.ptycho.readers.cxi:read",
        "ptychodus": "photic.apps.ptycho.readers.ptychodus:read",
        "ptylab": "photic.apps.ptycho.readers.ptylab:read",
    },
    predictors={
        "ptychography": Command(
            summary="Reconstruct a scan: stitched complex object, pictures, refinement on request", target="photic.apps.ptycho.predict:main"
        )
    },
    file_models={"ptychography": "photic.apps.ptycho.file_model:PtychographyFiles"},
    evaluators={
        "ptychography": Command(
            summary="R_amp, ring correlation of two halves of a scan, comparison with the truth", target="photic.apps.ptycho.evaluate:main"
        )
    },
    data_commands={
        "check": Command(
            summary="Read scans and print what they hold, overlap, problems; draw them", target="photic.apps.ptycho.check:main"
        ),
        "convert": Command(summary="Write a scan of any known format as raw NPZ", target="photic.apps.ptycho.convert:main"),
    },
    commands={
        "reconstruct": Command(
            summary="Reconstruct a scan by iterations: object, probe, positions, without a network",
            target="photic.apps.ptycho.reconstruct:main",
        ),
        "simulate": Command(
            summary="Measure an object in the computer: raw scans with truth, from pictures or drawn objects",
            target="photic.apps.ptycho.simulate_command:main",
        ),
    },
)
