"""``flask fernet ring``: make, show and change a key ring."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import click

from .._core import Fernet
from ..errors import InvalidToken, KeyRingError
from ..keys.following import require_newest
from ..keys.keyring import KeyRing
from ..keys.ring import ACTIVATION_DELAY, RETENTION, SESSIONS, Ring, new_ring
from ..keys.ring_file import RingFile
from ..keys.ring_store import newest_serial, where
from ..sessions import inspection
from ..sessions.key_sources import single_key
from ..sessions.lifetimes import idle_lifetime
from ..sessions.salts import bound_ring_key
from .app import interface_of, load_app, load_app_if_any, missing_ring_allowed
from .output import json_option, print_ring, print_table, quiet_option
from .which_ring import find_keyring, path_option, wrapping_option


@click.group()
def ring() -> None:
    """Make, show and change a key ring.

    A ring has keys, and the times at which each of them takes over and ends.
    """


@ring.command("init")
@path_option
@wrapping_option
@json_option
@quiet_option
@click.option(
    "--purpose",
    default=SESSIONS,
    help=f"What the keys of the ring are for. Default: {SESSIONS}.",
)
@click.option(
    "--retention",
    type=click.IntRange(min=0),
    help="Seconds for which replaced keys still open. Default: the app's session lifetime; "
    "for other purposes 31 days.",
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
    quiet: bool,
    purpose: str,
    retention: int | None,
    import_: bool,
) -> None:
    """Make a ring with one key, which is primary at once."""
    if import_ and purpose != SESSIONS:
        raise click.ClickException(
            "--import takes over the keys of sessions, so --purpose must be "
            f"{SESSIONS!r}, not {purpose!r}."
        )
    with missing_ring_allowed():
        keyring = find_keyring(ctx, path, wrapping)
        if retention is None:
            retention = _default_retention(ctx, purpose, path, quiet)
        former: dict[str, str | None] = {}
        if import_:
            app = load_app(ctx)
            interface = interface_of(app)
            former = interface._sources.export(app, interface.salt)
            if not former:
                raise click.ClickException("The app has no keys to take over.")
    _make_folder(keyring)
    made = new_ring(purpose, time.time(), retention, former, salts=former)
    keyring.create(made)
    print_ring(keyring.load(), json_, quiet)


@ring.command("list")
@path_option
@json_option
@click.pass_context
def list_(ctx: click.Context, path: Path | None, json_: bool) -> None:
    """Show what each key does, never the key itself."""
    keyring = find_keyring(ctx, path)
    newest, ring = newest_serial(keyring.store), keyring.load()
    print_ring(ring, json_)
    try:
        require_newest(ring, newest, where(keyring.store))
    except KeyRingError as error:
        click.echo(f"Warning: {error}", err=True)


@ring.command()
@path_option
@click.option(
    "--activate-in",
    type=click.IntRange(min=0),
    default=ACTIVATION_DELAY,
    help="Seconds for which the new key only opens. Every worker and host must have it by then. "
    f"Default: {ACTIVATION_DELAY}.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Rotate even while another key is staged, or if this host's clock is behind.",
)
@json_option
@quiet_option
@click.pass_context
def rotate(
    ctx: click.Context,
    path: Path | None,
    activate_in: int,
    force: bool,
    json_: bool,
    quiet: bool,
) -> None:
    """Add a new key, which takes over after a delay."""
    _change(ctx, path, lambda ring: ring.rotated(time.time(), activate_in, force), json_, quiet)


@ring.command()
@path_option
@click.argument("key_id")
@json_option
@quiet_option
@click.pass_context
def revoke(ctx: click.Context, path: Path | None, key_id: str, json_: bool, quiet: bool) -> None:
    """Revoke a key at once. Sessions under this key end."""
    _change(ctx, path, lambda ring: ring.revoked(key_id, time.time()), json_, quiet)


@ring.command()
@path_option
@json_option
@quiet_option
@click.pass_context
def prune(ctx: click.Context, path: Path | None, json_: bool, quiet: bool) -> None:
    """Remove the keys that have expired."""
    _change(ctx, path, lambda ring: ring.pruned(time.time()), json_, quiet)


@ring.command()
@path_option
@json_option
@quiet_option
@click.option(
    "--above",
    type=click.IntRange(min=0),
    default=0,
    help="Highest serial that a worker has reported. Default: the highest that is known here.",
)
@click.pass_context
def reinstate(ctx: click.Context, path: Path | None, json_: bool, quiet: bool, above: int) -> None:
    """Put an older copy of the ring in force.

    Workers refuse a copy that is older than the ring that they have, and so do the other commands,
    because keys that were revoked since then come back with it. This command gives the copy a new
    serial, so that workers take it.
    """
    print_ring(find_keyring(ctx, path).reinstate(above), json_, quiet)


@ring.command()
@path_option
@wrapping_option
@json_option
@quiet_option
@click.pass_context
def rewrap(
    ctx: click.Context, path: Path | None, wrapping: str | None, json_: bool, quiet: bool
) -> None:
    """Store the same ring in another form, or under the newest secret."""
    keyring = find_keyring(ctx, path, wrapping, from_any=True)
    if not keyring.store.rewrap():
        raise click.ClickException("Another writer changed the key ring meanwhile. Try again.")
    print_ring(keyring.load(), json_, quiet)


@ring.command()
@path_option
@json_option
@click.argument("tokens", type=click.File("r", errors="replace"), default="-")
@click.pass_context
def needed(ctx: click.Context, path: Path | None, json_: bool, tokens: Iterable[str]) -> None:
    """Count how many old tokens still need each key.

    TOKENS is a file with one token per line. Default: standard input.
    """
    ring = find_keyring(ctx, path).load()
    opens = _openers(ctx, ring)
    counts: Counter[str] = Counter({key.id: 0 for key in ring.keys if key.revoked is None})
    none = 0
    for number, line in enumerate(tokens, 1):
        token = line.strip()
        if token:
            key_id = next((key_id for key_id, has in opens if has(token)), None)
            if key_id is None:
                none += 1
            else:
                counts[key_id] += 1
        if number % 100_000 == 0 and sys.stderr.isatty():
            click.echo(f"\r{number:,} tokens", nl=False, err=True)
    if json_:
        click.echo(json.dumps({"keys": counts, "none": none}))
    else:
        rows = [*counts.items(), *([("none of them", none)] if none else [])]
        print_table(("KEY", "TOKENS"), [(name, f"{count:,}") for name, count in rows])


def _make_folder(keyring: KeyRing) -> None:
    """Makes the folder of a ring's file, if only its last part is missing: the app's instance
    folder, which Flask does not make.
    """
    store = keyring.store.inner
    if isinstance(store, RingFile):
        with contextlib.suppress(OSError):
            # Writing the ring reports what is wrong.
            store.path.parent.mkdir(mode=0o700)


def _default_retention(ctx: click.Context, purpose: str, path: Path | None, quiet: bool) -> int:
    """The retention of a new ring in seconds: for sessions the app's session lifetime, for other
    purposes, or if there is no app, a fixed default.
    """
    if purpose == SESSIONS:
        app = load_app(ctx) if path is None else load_app_if_any(ctx)
        if app is not None:
            return int(idle_lifetime(app).total_seconds())
    if not quiet:
        click.echo(
            f"The retention is {RETENTION:,} seconds, because no --retention is given.", err=True
        )
    return RETENTION


def _change(
    ctx: click.Context,
    path: Path | None,
    change: Callable[[Ring], Ring],
    json_: bool,
    quiet: bool,
) -> None:
    print_ring(find_keyring(ctx, path).change(change), json_, quiet)


def _openers(ctx: click.Context, ring: Ring) -> list[tuple[str, Callable[[str], bool]]]:
    """For each key that is not revoked its id and a function: whether the key made a token."""
    usable = [key for key in ring.keys if key.revoked is None]
    if ring.purpose == SESSIONS and (app := load_app_if_any(ctx)) is not None:
        interface = interface_of(app)
        name, salt = interface.get_cookie_name(app), interface.salt
        return [
            (key.id, partial(inspection.has_made, single_key(key.id, bound, salt), name))
            for key in usable
            for bound in [bound_ring_key(key, salt)]
        ]
    return [(key.id, partial(_has_made, Fernet(key.key))) for key in usable]


def _has_made(fernet: Fernet, token: str) -> bool:
    try:
        fernet.extract_timestamp(token)
    except (InvalidToken, ValueError):
        return False
    return True
