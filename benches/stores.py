"""Stored sessions: Redis, SQLite and PostgreSQL, against the bare clients and Flask-Session."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask
from flask import session as flask_session
from werkzeug.test import EnvironBuilder

from benches.interfaces import DoesNothing, app
from benches.payloads import CART, LOGIN
from flask_fernet import EncryptedSessionInterface
from flask_fernet.stores.sql import SQLStore
from flask_fernet.stores.urls import open_store
from tests.servers import PostgresServer, RedisServer, running

if TYPE_CHECKING:
    from benches.table import Table

#: A session of 20 KB.
LARGE: dict[str, Any] = {**LOGIN, "cart": [{**item, "note": "x" * 940} for item in CART]}


def cycle(made: Flask, data: dict[str, Any], use: str) -> Callable[[], object]:
    """A call that opens a stored session, uses it and saves it.

    :param use: ``change``, ``read`` or ``nothing``, after which Flask-Login asks for its key.
    """
    interface: Any = made.session_interface
    with made.test_request_context() as context:
        session = interface.open_session(made, context.request)
        session.update(data)
        first = made.response_class()
        interface.save_session(made, session, first)
        environ = dict(context.request.environ)
    environ["HTTP_COOKIE"] = first.headers["Set-Cookie"].partition(";")[0]
    request, response = made.request_class(environ), made.response_class()
    made.app_context().push()
    count = 0

    def call() -> None:
        nonlocal count
        # Drop what Werkzeug has parsed: a new request would not have it.
        request.__dict__.pop("cookies", None)
        opened = interface.open_session(made, request)
        opened.accessed = True
        if use == "change":
            count += 1
            opened["count"] = count
        elif use == "read":
            opened.get("_user_id")
        if use != "change":
            assert "_remember" not in opened
        response.headers.clear()
        interface.save_session(made, opened, response)

    call()
    return call


def whole_request(made: Flask, cookie: str) -> Callable[[], object]:
    """A call that makes one request whose view reads its session."""
    environ = EnvironBuilder(path="/", headers=[("Cookie", cookie)]).get_environ()

    def call() -> None:
        b"".join(made.wsgi_app(dict(environ), lambda *_: lambda _: None))

    return call


def with_view(made: Flask, before: Callable[[], object] | None = None) -> tuple[Flask, str]:
    """The app with a view that reads its session, and a cookie of one."""

    @made.get("/login")
    def login() -> str:
        flask_session.update(LOGIN)
        return ""

    @made.get("/")
    def view() -> str:
        if before is not None:
            before()
        return str(flask_session.get("_user_id"))

    cookie = made.test_client().get("/login").headers.get("Set-Cookie", "").partition(";")[0]
    return made, cookie


def ours(url: str) -> Flask:
    made = app()
    made.config["SESSION_STORE"] = url
    made.session_interface = EncryptedSessionInterface()
    return made


def flask_session_on_redis(client: Any) -> Flask:
    from flask_session import Session

    made = app()
    made.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
    Session(made)
    return made


def flask_session_on_sql(url: str) -> Flask:
    from flask_session import Session
    from flask_sqlalchemy import SQLAlchemy

    made = app()
    made.config.update(SQLALCHEMY_DATABASE_URI=url, SESSION_TYPE="sqlalchemy")
    made.config["SESSION_SQLALCHEMY"] = SQLAlchemy(made)
    Session(made)
    return made


class PlainRedis(RedisServer):
    """Redis as it is without a configuration file: its log would measure the disk."""

    options = ("--save", "")


def measure(table: Table) -> None:
    """Rows for each engine: read and change, read only, untouched, 20 KB, a whole request."""
    with running(PlainRedis) as server:
        measure_redis(table, server)
    with running(PostgresServer) as server:
        measure_sql(table, "PostgreSQL", server.url, server.url)
    with tempfile.TemporaryDirectory() as folder:
        measure_sql(table, "SQLite", f"sqlite:///{folder}/ours.db", f"sqlite:///{folder}/its.db")


def measure_redis(table: Table, server: Any) -> None:
    client = server.client()
    record = b"x" * 311
    client.set("bare", record)

    def bare_change() -> None:
        client.get("bare")
        client.set("bare", record, ex=3600)

    def bare_read() -> None:
        client.get("bare")

    for use, bare in (("change", bare_change), ("read", bare_read), ("nothing", None)):
        sides = {
            "ours": cycle(ours(server.url), LOGIN, use),
            "Flask-Session": cycle(flask_session_on_redis(client), LOGIN, use),
        }
        if bare is not None:
            sides["bare client"] = bare
        table.measure(f"Redis, {NAMES[use]}", sides)
    for use in ("change", "read"):
        sides = {
            "ours": cycle(ours(server.url), LARGE, use),
            "Flask-Session": cycle(flask_session_on_redis(client), LARGE, use),
        }
        table.measure(f"Redis, 20 KB, {NAMES[use]}", sides)
    nothing = app()
    nothing.session_interface = DoesNothing(LOGIN)
    table.measure(
        "Redis, whole request, read only",
        {
            "ours": whole_request(*with_view(ours(server.url))),
            "Flask-Session": whole_request(*with_view(flask_session_on_redis(client))),
            "no session, bare GET": whole_request(*with_view(nothing, bare_read)),
        },
    )
    table.note("Redis' own microseconds for a write of 20 KB", **own_time(server, client))


def own_time(server: Any, client: Any) -> dict[str, float]:
    """The server's own time for a write of 20 KB, in microseconds."""
    found = {}
    sides = {"ours": ours(server.url), "Flask_Session": flask_session_on_redis(client)}
    for side, made in sides.items():
        change = cycle(made, LARGE, "change")
        client.config_resetstat()
        for _ in range(300):
            change()
        stats = client.info("commandstats")
        writes = ("cmdstat_set", "cmdstat_setex", "cmdstat_evalsha")
        found[side] = sum(stats[one]["usec"] for one in writes if one in stats) / 300
    return found


def measure_sql(table: Table, name: str, url: str, its_url: str) -> None:
    store: Any = open_store(url, 5.0)
    store.create_tables()
    bare_change, bare_read = through_core(store)
    for data, size in ((LOGIN, ""), (LARGE, "20 KB, ")):
        for use, bare in (("change", bare_change), ("read", bare_read), ("nothing", None)):
            if size and bare is None:
                continue
            sides = {
                "ours": cycle(ours(url), data, use),
                "Flask-Session": cycle(flask_session_on_sql(its_url), data, use),
            }
            if bare is not None and not size:
                sides["SQLAlchemy Core"] = bare
            table.measure(f"{name}, {size}{NAMES[use]}", sides)


def through_core(store: SQLStore) -> tuple[Callable[[], object], Callable[[], object]]:
    """``SELECT`` and ``UPDATE`` as Core runs them, on one connection in autocommit."""
    engine, rows = store._runner.engine(), store._sessions
    address, record = b"b" * 32, b"x" * 311
    with suppress(Exception):
        store.create(address, record, int(time.time()) + 3600, None)
    select = sa.select(rows.c.record).where(rows.c.address == sa.bindparam("at"))
    update = (
        sa.update(rows)
        .where(rows.c.address == sa.bindparam("at"))
        .values(record=sa.bindparam("new"), version=sa.bindparam("v"))
    )

    def read() -> None:
        with engine.connect() as connection:
            connection.execute(select, {"at": address}).fetchone()

    def change() -> None:
        with engine.connect() as connection:
            connection.execute(select, {"at": address}).fetchone()
        with engine.connect() as connection:
            connection.execute(update, {"at": address, "new": record, "v": b"v" * 24})

    return change, read


NAMES = {"change": "read and change", "read": "read only", "nothing": "untouched"}
