"""The app that a command is run for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from flask.cli import NoAppException, ScriptInfo

from ..errors import ConfigurationError
from ..interface import EncryptedSessionInterface
from ..sources import setting_up

if TYPE_CHECKING:
    from flask import Flask


@contextlib.contextmanager
def missing_ring_allowed() -> Iterator[None]:
    """Within this context an app loads even if its key ring is missing or unreadable."""
    token = setting_up.set(True)
    try:
        yield
    finally:
        setting_up.reset(token)


def load_app(ctx: click.Context) -> Flask:
    """The app that ``flask --app`` names.

    :raises NoAppException: if none can be found.
    :raises ConfigurationError: if it checks its configuration and a setting cannot be used.
    """
    return ctx.ensure_object(ScriptInfo).load_app()


def interface_of(app: Flask) -> EncryptedSessionInterface:
    """The session interface of ``app``.

    :raises ClickException: if sessions of ``app`` are not encrypted.
    """
    if not isinstance(app.session_interface, EncryptedSessionInterface):
        raise click.ClickException("The app's session_interface is no EncryptedSessionInterface.")
    return app.session_interface


def load_app_if_any(ctx: click.Context) -> Flask | None:
    """The app, or ``None`` if it cannot be loaded: a ring in a separate file needs no app."""
    try:
        return load_app(ctx)
    except (NoAppException, ConfigurationError):
        return None
