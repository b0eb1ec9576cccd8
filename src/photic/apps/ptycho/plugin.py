"""What the ptychography application brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Plugin

plugin = Plugin(
    name="ptycho",
    package="photic.apps.ptycho",
    summary="Ptychographic reconstruction, learned with the physics inside and iterative, from raw scans to complex objects",
)
