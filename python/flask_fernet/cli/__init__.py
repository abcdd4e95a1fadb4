"""``flask fernet``: commands for keys, key rings, tokens and the state of an app's sessions.

Flask's own command line finds the group ``fernet`` by an entry point, so an app imports nothing.
"""

from __future__ import annotations

from typing import Any

import click

from .._core import Fernet
from ..errors import ConfigurationError
from . import ring, session


class _Group(click.Group):
    """A group that reports a wrong configuration in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def fernet() -> None:
    """Make, rotate and revoke the keys of encrypted sessions; inspect and check sessions."""


@fernet.command("generate-key")
def generate_key() -> None:
    """Print a new key for SESSION_ENCRYPTION_KEYS or Fernet()."""
    click.echo(Fernet.generate_key())


fernet.add_command(ring.ring)
fernet.add_command(session.inspect)
fernet.add_command(session.doctor)
