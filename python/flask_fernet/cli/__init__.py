"""``flask fernet``: keys, key rings, tokens and the state of an app's sessions.

An entry point of Flask's own command line: there is nothing to import in the app.
"""

from __future__ import annotations

from typing import Any

import click

from .._core import Fernet
from ..errors import ConfigurationError
from . import ring, session


class _Group(click.Group):
    """Says what is wrong in a line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def fernet() -> None:
    """Keys of encrypted sessions: make, rotate, revoke, inspect, check."""


@fernet.command("generate-key")
def generate_key() -> None:
    """Print a new key, for SESSION_ENCRYPTION_KEYS or Fernet()."""
    click.echo(Fernet.generate_key())


fernet.add_command(ring.ring)
fernet.add_command(session.inspect)
fernet.add_command(session.doctor)
