"""What the defects application brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="defects",
    package="photic.apps.defects",
    summary="Multi-label classification of steel-surface defects (Severstal, NEU-DET, any labelled pictures)",
    demo="photic.apps.defects.demo:run",
    report="photic.apps.defects.report:write_report",
    file_models={"multilabel_classification": "photic.inference.classification_file:ClassificationFiles"},
    formats={"kaggle": "photic.apps.defects.submission:KaggleFormat"},
    data_commands={
        "check": Command(
            summary="Read a data set and print counts, shapes, problems and a label table", target="photic.apps.defects.check:main"
        ),
        "generate": Command(summary="Draw synthetic strips with exact masks in Kaggle layout", target="photic.apps.defects.generate:main"),
    },
)
