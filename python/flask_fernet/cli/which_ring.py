"""Which key ring a command is about, and how that one is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..keys.keyring import KeyRing
from ..keys.ring_file import RingFile
from ..keys.wrapping import wrapping_form
from ..settings import WRAPPINGS
from ..sources import configured_ring, configured_wrapping
from .app import load_app, load_app_if_any, missing_ring_allowed

if TYPE_CHECKING:
    from flask import Flask


path_option = click.option(
    "--path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The ring's file; SESSION_ENCRYPTION_KEYRING of the app without it.",
)


wrapping_option = click.option(
    "--wrapping",
    type=click.Choice(WRAPPINGS),
    help="How the ring is kept; as the app has it, or with a --path plain, without it.",
)


def find_keyring(
    ctx: click.Context, path: Path | None, form: str | None = None, from_any: bool = False
) -> KeyRing:
    """The ring in a file, or the app's.

    :param form: what it is written in; without it what the app says, and for another ring what it
        is in.
    :param from_any: whether it is read in whatever form it is, and not only in those that the app
        opens.
    """
    with missing_ring_allowed():
        app = load_app(ctx) if path is None else load_app_if_any(ctx)
        apps = None if app is None else configured_ring(app)
    if app is not None and apps is not None and (path is None or _is_kept_in(apps, path)):
        return _ring_of_app(app, apps, form, from_any)
    if path is None:
        raise click.ClickException("The app sets no SESSION_ENCRYPTION_KEYRING; give a --path.")
    forms = [*([form] if form else []), *_form_in(path)]
    if set(forms) <= {"plain"}:
        return KeyRing(path)
    if app is None:
        raise click.ClickException("Only the app knows the secret of the ring: name it with --app.")
    return KeyRing(path, wrapping=configured_wrapping(app, forms))


def _ring_of_app(app: Flask, ring: KeyRing, form: str | None, from_any: bool) -> KeyRing:
    """The ring of the app's sessions, never to be written so that the app does not open it."""
    store = ring.store.inner
    if not isinstance(store, RingFile):
        # Kept in a place of the app's own, in its own way.
        return ring
    accepted = ring.store.wrapping.forms
    if form not in (None, *accepted):
        raise click.ClickException(
            f"The app does not open a ring kept as {form!r}: first list it in "
            "SESSION_ENCRYPTION_KEYRING_WRAPPING, in every worker."
        )
    forms = [form or accepted[0], *accepted, *(_form_in(store.path) if from_any else [])]
    return KeyRing(store.path, wrapping=configured_wrapping(app, forms))


def _is_kept_in(ring: KeyRing, path: Path) -> bool:
    store = ring.store.inner
    return isinstance(store, RingFile) and os.path.realpath(store.path) == os.path.realpath(path)


def _form_in(path: Path) -> list[str]:
    """How the ring in a file is kept, if there is one."""
    return [wrapping_form(RingFile(path).load())] if os.path.exists(path) else []
