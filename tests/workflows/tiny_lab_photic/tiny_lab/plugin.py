"""Light: imports nothing but this."""

from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="tiny_lab",
    package="tiny_lab",
    summary="Networks of a tiny lab",
    formats={"lab": "tiny_lab.outputs:LabFormat"},
    commands={"lab-hello": Command(summary="Say hello", target="tiny_lab.hello:main")},
)
