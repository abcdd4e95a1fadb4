"""``flask fernet``: keys, key rings, tokens and the state of an app's sessions.

An entry point of Flask's own command line: there is nothing to import in the app.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask.cli import NoAppException, ScriptInfo

from .. import doctor as doctor_module
from .. import inspection
from .._core import Fernet
from ..errors import ConfigurationError, InvalidToken
from ..interface import EncryptedSessionInterface
from ..keys.keyring import KeyRing
from ..keys.ring import ACTIVATION_DELAY, RETENTION, SESSIONS, Ring, new_ring
from ..keys.ring_file import RingFile
from ..keys.wrapping import wrapping_form
from ..settings import WRAPPINGS
from ..sources import alone, configured_ring, configured_wrapping, setting_up
from ..times import to_text

if TYPE_CHECKING:
    from flask import Flask

as_json = click.option("--json", "json_", is_flag=True, help="For programs.")


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


@fernet.group()
def ring() -> None:
    """A key ring: keys with the times at which they take over and end."""


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


@ring.command("init")
@path_option
@wrapping_option
@as_json
@click.option("--purpose", default=SESSIONS, show_default=True, help="What the ring is for.")
@click.option(
    "--retention",
    type=click.IntRange(min=0),
    help="Seconds for which replaced keys go on opening; the app's session lifetime without it.",
)
@click.option(
    "--import",
    "import_",
    is_flag=True,
    help="Take over the keys that the app uses now, so that nobody is logged out.",
)
@click.pass_context
def init(
    ctx: click.Context,
    path: Path | None,
    wrapping: str | None,
    json_: bool,
    purpose: str,
    retention: int | None,
    import_: bool,
) -> None:
    """Make a ring with one key, active at once."""
    if import_ and purpose != SESSIONS:
        raise click.ClickException("The keys of sessions are not for anything else.")
    with _setting_up():
        keyring = _keyring(ctx, path, wrapping)
        if retention is None:
            retention = _lifetime(ctx, purpose, path)
        former: list[str] = []
        if import_:
            app = _app(ctx)
            former = _interface(app).keys_in_use(app)
            if not former:
                raise click.ClickException("The app has no keys to take over.")
    made = new_ring(purpose, time.time(), retention, former)
    keyring.create(made)
    _show_ring(made, json_)


@ring.command("list")
@path_option
@as_json
@click.pass_context
def list_(ctx: click.Context, path: Path | None, json_: bool) -> None:
    """Show the keys and what they do now; never the keys themselves."""
    _show_ring(_keyring(ctx, path).load(), json_)


@ring.command()
@path_option
@click.option(
    "--activate-in",
    type=click.IntRange(min=0),
    default=ACTIVATION_DELAY,
    show_default=True,
    help="Seconds for which the new key only opens: until every worker, and host, has it.",
)
@click.option("--force", is_flag=True, help="Even while another key is still staged.")
@as_json
@click.pass_context
def rotate(
    ctx: click.Context, path: Path | None, activate_in: int, force: bool, json_: bool
) -> None:
    """Add a key that takes over."""
    _change(ctx, path, lambda ring: ring.rotated(time.time(), activate_in, force), json_)


@ring.command()
@path_option
@click.argument("key_id")
@as_json
@click.pass_context
def revoke(ctx: click.Context, path: Path | None, key_id: str, json_: bool) -> None:
    """Take a key out at once: sessions under it end."""
    _change(ctx, path, lambda ring: ring.revoked(key_id, time.time()), json_)


@ring.command()
@path_option
@as_json
@click.pass_context
def prune(ctx: click.Context, path: Path | None, json_: bool) -> None:
    """Remove keys that have expired."""
    _change(ctx, path, lambda ring: ring.pruned(time.time()), json_)


@ring.command()
@path_option
@wrapping_option
@as_json
@click.pass_context
def rewrap(ctx: click.Context, path: Path | None, wrapping: str | None, json_: bool) -> None:
    """Keep the same ring in another way, or under the newest secret."""
    keyring = _keyring(ctx, path, wrapping, from_any=True)
    if not keyring.store.rewrap():
        raise click.ClickException("Somebody else is changing the key ring. Try again.")
    _show_ring(keyring.load(), json_)


@ring.command()
@path_option
@as_json
@click.argument("tokens", type=click.File("r", errors="replace"), default="-")
@click.pass_context
def needed(ctx: click.Context, path: Path | None, json_: bool, tokens: Iterable[str]) -> None:
    """Count which keys old tokens still need, a token a line."""
    ring = _keyring(ctx, path).load()
    opens = _openers(ctx, ring)
    counts: Counter[str] = Counter({key.id: 0 for key in ring.keys if key.revoked is None})
    for number, line in enumerate(tokens, 1):
        token = line.strip()
        if token:
            counts[next((key_id for key_id, has in opens if has(token)), "none of them")] += 1
        if number % 100_000 == 0 and sys.stderr.isatty():
            click.echo(f"\r{number:,} tokens", nl=False, err=True)
    if json_:
        click.echo(json.dumps(counts))
    else:
        _table(("KEY", "TOKENS"), [(name, f"{count:,}") for name, count in counts.items()])


@fernet.command()
@click.argument("token")
@click.option("--show", is_flag=True, help="The contents too.")
@as_json
@click.pass_context
def inspect(ctx: click.Context, token: str, show: bool, json_: bool) -> None:
    """Say what a session cookie is: format, key, age. With - it is read from standard input, so
    that it stays out of the shell's history.
    """
    if token == "-":  # noqa: S105 - no token
        token = sys.stdin.buffer.read().decode("utf-8", "replace")
    app = _app(ctx)
    found = inspection.inspect(_interface(app), app, token.strip(), show)
    if json_:
        click.echo(json.dumps(found))
    else:
        units = {"age": " seconds", "size": " bytes"}
        for name, value in found.items():
            click.echo(f"{name + ':':<10} {value}{units.get(name, '')}")
    if "refused" in found:
        ctx.exit(1)


@fernet.command()
@as_json
@click.option("--strict", is_flag=True, help="Warnings count as failures.")
@click.pass_context
def doctor(ctx: click.Context, json_: bool, strict: bool) -> None:
    """Check what an app needs in production. Exit status 1 if a check fails."""
    try:
        with _setting_up():
            app = _app(ctx)
    except ConfigurationError as error:
        checks = [doctor_module.Check("fail", "configuration", str(error))]
    else:
        checks = doctor_module.examine(app)
    if json_:
        click.echo(json.dumps([check._asdict() for check in checks]))
    else:
        _table(("", "CHECK", ""), [(check.verdict, check.name, check.message) for check in checks])
    failing = {"fail", "warn"} if strict else {"fail"}
    if any(check.verdict in failing for check in checks):
        ctx.exit(1)


@contextlib.contextmanager
def _setting_up() -> Iterator[None]:
    """Lets an app be loaded whose ring is not there yet."""
    token = setting_up.set(True)
    try:
        yield
    finally:
        setting_up.reset(token)


def _app(ctx: click.Context) -> Flask:
    return ctx.ensure_object(ScriptInfo).load_app()


def _interface(app: Flask) -> EncryptedSessionInterface:
    if not isinstance(app.session_interface, EncryptedSessionInterface):
        raise click.ClickException("The app's session_interface is no EncryptedSessionInterface.")
    return app.session_interface


def _lifetime(ctx: click.Context, purpose: str, path: Path | None) -> int:
    """The retention of a new ring: as long as a session lives, if that can be found out."""
    if purpose == SESSIONS:
        try:
            return int(_app(ctx).permanent_session_lifetime.total_seconds())
        except NoAppException:
            if path is None:
                raise
    click.echo(f"Retention: {RETENTION:,} seconds, as no --retention is given.", err=True)
    return RETENTION


def _app_if_any(ctx: click.Context) -> Flask | None:
    """The app, if one can be loaded: a ring in a file of its own needs none."""
    try:
        return _app(ctx)
    except (NoAppException, ConfigurationError):
        return None


def _keyring(
    ctx: click.Context, path: Path | None, form: str | None = None, from_any: bool = False
) -> KeyRing:
    """The ring in a file, or the app's.

    :param form: what it is written in; without it what the app says, and for another ring what it
        is in.
    :param from_any: whether it is read in whatever form it is, and not only in those that the app
        opens.
    """
    with _setting_up():
        app = _app(ctx) if path is None else _app_if_any(ctx)
        apps = None if app is None else configured_ring(app)
    if app is not None and apps is not None and (path is None or _is_kept_in(apps, path)):
        return _apps_ring(app, apps, form, from_any)
    if path is None:
        raise click.ClickException("The app sets no SESSION_ENCRYPTION_KEYRING; give a --path.")
    forms = [*([form] if form else []), *_form_in(path)]
    if set(forms) <= {"plain"}:
        return KeyRing(path)
    if app is None:
        raise click.ClickException("Only the app knows the secret of the ring: name it with --app.")
    return KeyRing(path, wrapping=configured_wrapping(app, forms))


def _apps_ring(app: Flask, ring: KeyRing, form: str | None, from_any: bool) -> KeyRing:
    """The ring of the app's sessions, never to be written so that the app does not open it."""
    store = ring.store.store
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
    store = ring.store.store
    return isinstance(store, RingFile) and os.path.realpath(store.path) == os.path.realpath(path)


def _form_in(path: Path) -> list[str]:
    """How the ring in a file is kept, if there is one."""
    return [wrapping_form(RingFile(path).load())] if os.path.exists(path) else []


def _change(
    ctx: click.Context, path: Path | None, change: Callable[[Ring], Ring], json_: bool
) -> None:
    _show_ring(_keyring(ctx, path).change(change), json_)


def _openers(ctx: click.Context, ring: Ring) -> list[tuple[str, Callable[[str], bool]]]:
    """For each key in use, what says whether it made a token."""
    usable = [key for key in ring.keys if key.revoked is None]
    if ring.purpose == SESSIONS and (app := _app_if_any(ctx)) is not None:
        interface = _interface(app)
        name, salt = interface.get_cookie_name(app), interface.salt
        return [
            (key.id, partial(inspection.has_made, alone(key.id, key.key, salt), name))
            for key in usable
        ]
    return [(key.id, partial(_has_made, Fernet(key.key))) for key in usable]


def _has_made(fernet: Fernet, token: str) -> bool:
    try:
        fernet.extract_timestamp(token)
    except (InvalidToken, ValueError):
        return False
    return True


def _show_ring(ring: Ring, json_: bool) -> None:
    now = time.time()
    rows = [
        {
            "id": key.id,
            "state": ring.state(key, now).value,
            "created": _when(key.created),
            "activates": _when(key.activates),
            "retires": _when(ring.retires(key)),
            "expires": _when(ring.expires(key)),
            "revoked": _when(key.revoked),
        }
        for key in ring.keys
    ]
    if json_:
        shown = {"purpose": ring.purpose, "retention": ring.retention, "keys": rows}
        click.echo(json.dumps(shown))
        return
    click.echo(f"For {ring.purpose}; replaced keys open for {ring.retention:,} seconds more.")
    headings = ("KEY", "STATE", "CREATED", "ACTIVATES", "RETIRES", "EXPIRES", "REVOKED")
    names = ("id", "state", "created", "activates", "retires", "expires", "revoked")
    _table(headings, [tuple(row[name] or "" for name in names) for row in rows])


def _when(seconds: int | None) -> str | None:
    return None if seconds is None else to_text(seconds)


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
