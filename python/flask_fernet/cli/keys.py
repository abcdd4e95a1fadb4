"""``flask fernet generate-key``: make a key."""

from __future__ import annotations

import click

from .._core import Fernet


@click.command("generate-key")
def generate_key() -> None:
    """Print a new key for SESSION_ENCRYPTION_KEYS or Fernet()."""
    click.echo(Fernet.generate_key())
