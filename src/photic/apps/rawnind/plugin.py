"""What the application for raw photographs brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Plugin

plugin = Plugin(
    name="rawnind",
    package="photic.apps.rawnind",
    summary="Raw photographs to clean pictures: developed, denoised and demosaiced by networks; DNG, EXR, TIFF, PNG, JPEG out",
)
