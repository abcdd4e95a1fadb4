"""Finds the key ring that a command is for, and the form in which it is stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..keys.keyring import KeyRing
from ..keys.ring_file import RingFile
from ..keys.wrapping import wrapping_form
from ..sessions.interface import EncryptedSessionInterface
from ..sessions.key_sources import configured_ring, configured_wrapping
from ..settings import WRAPPINGS
from .app import load_app, load_app_if_any, missing_ring_allowed
from .output import Decorator

if TYPE_CHECKING:
    from flask import Flask


path_option: Decorator = click.option(
    "--path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the key ring. Default: the app's SESSION_ENCRYPTION_KEYRING.",
)


wrapping_option: Decorator = click.option(
    "--wrapping",
    type=click.Choice(WRAPPINGS),
    help="Form in which the ring is stored. Default: the first form that the app names. With the "
    "--path of another ring: the form that it has, or plain if it is new.",
)


def find_keyring(
    ctx: click.Context, path: Path | None, form: str | None = None, from_any: bool = False
) -> KeyRing:
    """The ring at ``path``, or else the ring of the app's sessions.

    :param form: the form that is written. Default: the first that the app names; for a ring that is
        not the app's, the form in which it is stored.
    :param from_any: also read the app's ring if it is stored in a form that the app does not open.
    :raises ClickException: if there is no such ring, or the app would not open it.
    :raises ConfigurationError: if a setting cannot be used.
    """
    with missing_ring_allowed():
        app = load_app(ctx) if path is None else load_app_if_any(ctx)
        app_ring = None if app is None else configured_ring(app)
    if app is not None and app_ring is not None and (path is None or _is_stored_in(app_ring, path)):
        if isinstance(app.session_interface, EncryptedSessionInterface):
            app.session_interface._sources.require_working_command(app_ring)
        return _ring_of_app(app, app_ring, form, from_any)
    if path is None:
        raise click.ClickException(
            "There is no key ring: set SESSION_ENCRYPTION_KEYRING in the app, or give a --path."
        )
    forms = [*([form] if form else []), *_form_in(path)]
    if set(forms) <= {"plain"}:
        return KeyRing(path)
    if app is None:
        raise click.ClickException(
            "Only the app knows the secret of the key ring, and there is no app. Name one with "
            "--app."
        )
    return KeyRing(path, wrapping=configured_wrapping(app, forms))


def _ring_of_app(app: Flask, ring: KeyRing, form: str | None, from_any: bool) -> KeyRing:
    """The ring of the app's sessions. It is never written in a form that the app does not open."""
    store = ring.store.inner
    if not isinstance(store, RingFile):
        # The app's own store: the app alone decides on the form.
        return ring
    accepted = ring.store.wrapping.forms
    if form not in (None, *accepted):
        raise click.ClickException(
            f"The app does not open a key ring stored as {form!r}. List this form in "
            "SESSION_ENCRYPTION_KEYRING_WRAPPING first, in every worker."
        )
    forms = [form or accepted[0], *accepted, *(_form_in(store.path) if from_any else [])]
    return KeyRing(store.path, wrapping=configured_wrapping(app, forms))


def _is_stored_in(ring: KeyRing, path: Path) -> bool:
    store = ring.store.inner
    return isinstance(store, RingFile) and os.path.realpath(store.path) == os.path.realpath(path)


def _form_in(path: Path) -> list[str]:
    """The form of the ring in a file, as a list; empty if there is no file."""
    return [wrapping_form(RingFile(path).load())] if os.path.exists(path) else []
