"""``photic data``: what applications do with data, such as ``photic data check defects ROOT``."""

from __future__ import annotations

from collections.abc import Sequence

from photic.cli.parser import columns, examples, paragraph, section
from photic.core.errors import UnknownNameError, nearest
from photic.core.plugins import get_plugin, installed_plugins, load_reference

EXAMPLES = (
    ("photic data generate defects strips/", "draw strips with defects and exact masks"),
    ("photic data check defects strips/", "counts, shapes, problems, a label table"),
)


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    words = [word for word in arguments if word not in ("-h", "--help")]
    if len(words) < 2:
        if words:
            _check_verb(words[0])
        print(help_page())
        return 0 if not words or len(words) < len(arguments) else 2
    verb, app = words[:2]
    _check_verb(verb)
    commands = get_plugin(app).data_commands
    if verb not in commands:
        raise UnknownNameError(f"application '{app}' has no `photic data {verb}` (it has: {', '.join(commands) or 'none'})")
    status: int = load_reference(commands[verb].target)(list(arguments[arguments.index(app) + 1 :]))
    return status


def _check_verb(verb: str) -> None:
    known = sorted({name for plugin in installed_plugins().values() for name in plugin.data_commands})
    if verb not in known:
        raise UnknownNameError(f"unknown data command '{verb}'{nearest(verb, known)} (there are: {', '.join(known)})")


def help_page() -> str:
    """Return the text of ``photic data --help``."""
    rows = [
        (f"{verb} {plugin.name}", command.summary)
        for plugin in installed_plugins().values()
        for verb, command in sorted(plugin.data_commands.items())
    ]
    parts = [
        "usage: photic data VERB APPLICATION [arguments]",
        paragraph("Check, prepare or generate the data of an application; `photic data VERB APPLICATION --help` explains one."),
        section("commands", "\n".join(columns(rows, wrapped=1)) or "none: no installed plug-in brings any"),
        section("examples", "\n".join(examples(EXAMPLES))),
    ]
    return "\n\n".join(parts)
