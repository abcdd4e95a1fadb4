"""The app for which a command runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from flask.cli import NoAppException, ScriptInfo

from ..errors import ConfigurationError
from ..sessions.followed_rings import allow_missing_ring
from ..sessions.interface import EncryptedSessionInterface

if TYPE_CHECKING:
    from flask import Flask


@contextlib.contextmanager
def missing_ring_allowed() -> Iterator[None]:
    """Within this context an app loads even if its key ring is missing or unreadable."""
    token = allow_missing_ring.set(True)
    try:
        yield
    finally:
        allow_missing_ring.reset(token)


def load_app(ctx: click.Context) -> Flask:
    """The app that ``flask --app`` names.

    :raises NoAppException: if no app can be found.
    :raises ConfigurationError: if the app checks its settings and one of them cannot be used.
    """
    return ctx.ensure_object(ScriptInfo).load_app()


def interface_of(app: Flask) -> EncryptedSessionInterface:
    """The session interface of ``app``.

    :raises ClickException: if it is not an :class:`~flask_fernet.EncryptedSessionInterface`.
    """
    if not isinstance(app.session_interface, EncryptedSessionInterface):
        raise click.ClickException(
            "The app's session_interface must be an EncryptedSessionInterface, not "
            f"{type(app.session_interface).__name__}."
        )
    return app.session_interface


def load_app_if_any(ctx: click.Context) -> Flask | None:
    """The app, or ``None`` if it cannot be loaded, for commands on a file that needs no app.

    Why an app that is named cannot be loaded is said, because the command might find more with it.
    """
    try:
        return load_app(ctx)
    except NoAppException as error:
        if ctx.ensure_object(ScriptInfo).app_import_path is None:
            return None
        reason = str(error).strip().partition("\n")[0]
    except ConfigurationError as error:
        reason = str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the app may raise anything
        reason = type(error).__name__
    click.echo(f"The command goes on without the app, which cannot be loaded: {reason}", err=True)
    return None
