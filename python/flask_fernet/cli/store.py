"""``flask fernet store``: look after the store of an app's sessions."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from ..sessions.maintenance import Maintenance
from ..sessions.readiness import missing_tables_allowed
from ..stored.owners import SessionInfo
from .app import interface_of, load_app
from .output import Decorator, json_option, print_table

if TYPE_CHECKING:
    from flask import Flask

T = TypeVar("T")

#: Seconds that one operation may take.
TIMEOUT = 60.0

yes_option: Decorator = click.option("--yes", is_flag=True, help="Do not ask for a confirmation.")


@click.group()
def store() -> None:
    """Create, look into, purge and re-encrypt the store of an app's sessions."""


def _load(ctx: click.Context) -> tuple[Flask, Maintenance]:
    with missing_tables_allowed():
        app = load_app(ctx)
    # Nobody waits for a request here, and counting a large table takes its time.
    app.config["SESSION_STORE_TIMEOUT"] = TIMEOUT
    return app, Maintenance(interface_of(app), app)


@store.command()
@json_option
@click.pass_context
def create(ctx: click.Context, json_: bool) -> None:
    """Create the tables of a SQL store. Those that exist are left alone."""
    _, maintenance = _load(ctx)
    created = maintenance.create_tables()
    if json_:
        click.echo(json.dumps({"created": created}))
    elif created:
        click.echo(f"Created {' and '.join(created)}.")
    else:
        click.echo("There is nothing to create.")


@store.command()
@json_option
@click.pass_context
def stats(ctx: click.Context, json_: bool) -> None:
    """Print how many sessions the store holds, and under which keys."""
    _, maintenance = _load(ctx)
    statistics = maintenance.statistics()
    keys = maintenance.by_key(_progress("Reading", statistics.live, json_))
    if json_:
        shown = {**vars(statistics), "keys": keys}
        click.echo(json.dumps(shown))
        return
    rows: list[tuple[str, ...]] = [("live", f"{statistics.live:,}")]
    rows.append(("expired", f"{statistics.expired:,}"))
    if statistics.size is not None:
        rows.append(("bytes", f"{statistics.size:,}"))
    rows += [(f"under {name}", f"{count:,}") for name, count in keys.items()]
    print_table(("SESSIONS", ""), rows)


@store.command(name="list")
@click.argument("user")
@click.option("--show", is_flag=True, help="Print the contents of the sessions too.")
@json_option
@click.pass_context
def list_(ctx: click.Context, user: str, show: bool, json_: bool) -> None:
    """List the sessions of USER: what they have under SESSION_USER_KEY.

    A number and a UUID are looked for as text, too.
    """
    app, _ = _load(ctx)
    found = _sessions_of(app, user)
    if json_:
        click.echo(json.dumps([_row(one, show) for one in found], default=repr))
        return
    if not found:
        click.echo("There is no session of this user.")
        return
    headings = ("HANDLE", "CREATED", "LAST USED", "EXPIRES")
    rows = [_row(one, False) for one in found]
    print_table(headings, [tuple(str(value) for value in row.values()) for row in rows])
    if show:
        for one in found:
            click.echo(f"{one.handle}: {one.data!r}")


@store.command()
@click.argument("user", required=False)
@click.option("--handle", help="End the one session with this handle.")
@click.option("--all", "all_", is_flag=True, help="End every session of the app.")
@yes_option
@json_option
@click.pass_context
def revoke(
    ctx: click.Context, user: str | None, handle: str | None, all_: bool, yes: bool, json_: bool
) -> None:
    """End the sessions of USER, one session, or all of them.

    Every worker knows within two seconds.
    """
    if (user is not None) + (handle is not None) + all_ != 1:
        raise click.UsageError("Name a USER, a --handle or --all, and only one of them.")
    app, maintenance = _load(ctx)
    interface = interface_of(app)
    if user is not None:
        count = sum(interface.revoke_user(one, app=app) for one in _meanings(user))
    elif handle is not None:
        count = int(interface.revoke(handle, app=app))
    else:
        if not yes and not json_:
            click.confirm("This logs everybody out. Go on?", abort=True)
        interface.revoke_all(app=app)
        total = maintenance.statistics().live
        count = maintenance.delete_all(_progress("Ending", total, json_))
    if json_:
        click.echo(json.dumps({"ended": count}))
    else:
        click.echo(f"Ended {count:,} session{'' if count == 1 else 's'}.")
    if handle is not None and not count:
        ctx.exit(1)


@store.command()
@click.option(
    "--batch",
    type=click.IntRange(1, 100_000),
    default=1000,
    help="Rows of one statement, 1000 by default.",
)
@json_option
@click.pass_context
def purge(ctx: click.Context, batch: int, json_: bool) -> None:
    """Remove expired sessions, in batches. It may be interrupted at any time.

    A store that removes them by itself has nothing to purge.
    """
    _, maintenance = _load(ctx)
    total = maintenance.statistics().expired
    count = 0
    with _bar("Purging", total, json_) as update:
        for removed in maintenance.purge(batch):
            count += removed
            update(removed)
    if json_:
        click.echo(json.dumps({"purged": count}))
    else:
        click.echo(f"Purged {count:,} session{'' if count == 1 else 's'}.")


@store.command()
@json_option
@click.pass_context
def reencrypt(ctx: click.Context, json_: bool) -> None:
    """Seal every session under the newest key, before an older one is removed or revoked.

    It may be interrupted at any time, and run again.
    """
    _, maintenance = _load(ctx)
    total = maintenance.statistics().live
    counts = maintenance.reencrypt(_progress("Reading", total, json_))
    if json_:
        click.echo(json.dumps(counts))
        return
    for name, count in counts["moved"].items():
        click.echo(f"moved from {name}: {count:,}")
    click.echo(f"under the newest key already: {counts['newest']:,}")
    if counts["unreadable"]:
        click.echo(f"under no key of the app: {counts['unreadable']:,}")


def _meanings(user: str) -> list[object]:
    """What a user's id on the command line may stand for."""
    meanings: list[object] = [user]
    if user.isascii() and user.isdecimal() and str(int(user)) == user:
        meanings.append(int(user))
    with contextlib.suppress(ValueError):
        meanings.append(UUID(user))
    return meanings


def _sessions_of(app: Flask, user: str) -> list[SessionInfo]:
    interface = interface_of(app)
    found = {
        one.handle: one for meaning in _meanings(user) for one in interface.list(meaning, app=app)
    }
    return sorted(found.values(), key=lambda one: one.last_used, reverse=True)


def _row(info: SessionInfo, show: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "handle": info.handle,
        "created": _text(info.created),
        "last_used": _text(info.last_used),
        "expires": _text(info.expires),
    }
    return {**row, "data": info.data} if show else row


def _text(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _is_terminal() -> bool:
    return sys.stderr.isatty()


class _bar:
    """A progress bar on a terminal, and nothing elsewhere."""

    def __init__(self, label: str, total: int, json_: bool) -> None:
        self._bar = None
        if total and not json_ and _is_terminal():
            self._bar = click.progressbar(length=total, label=label, file=sys.stderr)

    def __enter__(self) -> Callable[[int], None]:
        return (lambda _: None) if self._bar is None else self._bar.__enter__().update

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*error)


def _progress(label: str, total: int, json_: bool) -> Callable[[Iterable[T]], Iterator[T]]:
    """Shows how many of some things have been dealt with."""

    def shown(things: Iterable[T]) -> Iterator[T]:
        with _bar(label, total, json_) as update:
            for thing in things:
                yield thing
                update(1)

    return shown
