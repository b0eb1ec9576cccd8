"""What the ptychography application brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="ptycho",
    package="photic.apps.ptycho",
    summary="Ptychographic reconstruction, learned with the physics inside and iterative, from raw scans to complex objects",
    commands={
        "simulate": Command(
            summary="Measure an object in the computer: raw scans with truth, from pictures or drawn objects",
            target="photic.apps.ptycho.simulate_command:main",
        ),
    },
)
