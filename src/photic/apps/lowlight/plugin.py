"""What the low-light application brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="lowlight",
    package="photic.apps.lowlight",
    summary="Dark photographs and videos to well exposed ones: brightened, denoised, coloured; with or without true pictures to learn from",
    demo="photic.apps.lowlight.demo:run",
    report="photic.apps.lowlight.report:write_report",
    predictors={
        "enhancement": Command(
            summary="Enhance photographs, folders and videos, with a strength control", target="photic.apps.lowlight.predict:main"
        )
    },
    file_models={"enhancement": "photic.apps.lowlight.file_model:EnhancementFiles"},
    evaluators={
        "enhancement": Command(
            summary="PSNR, SSIM, colour difference per picture against classical enhancers, and a sheet of before, after, truth",
            target="photic.apps.lowlight.evaluate:main",
        )
    },
    data_commands={
        "check": Command(
            summary="Read pairs and print what they hold: sizes, scenes, brightness, misaligned, unpaired, unreadable; draw them",
            target="photic.apps.lowlight.check:main",
        ),
        "generate": Command(
            summary="Draw pairs of dark, noisy pictures and the bright ones of the same scenes", target="photic.apps.lowlight.generate:main"
        ),
    },
)
