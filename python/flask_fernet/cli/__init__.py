"""``flask fernet``: commands for keys, key rings, tokens and the state of an app's sessions.

Flask's own command line finds the group ``fernet`` by an entry point, so an app imports nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

#: Each command, and the module that has it. A command is imported when it is used: Flask loads this
#: group for every command of every app.
_COMMANDS = {
    "doctor": ".session",
    "generate-key": ".keys",
    "inspect": ".session",
    "metrics": ".metrics",
    "ring": ".ring",
    "store": ".store",
}


class _Group(click.Group):
    """A group that imports its commands when they are used, and reports a wrong configuration in
    one line, without a traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name], __package__)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        from ..errors import ConfigurationError, StoreUnavailable

        try:
            return super().invoke(ctx)
        except (ConfigurationError, StoreUnavailable) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def fernet() -> None:
    """Make, rotate and revoke the keys of encrypted sessions; inspect, check and end sessions."""
