"""URLs of SQL databases: those of SQLAlchemy.

Options of ours in the query: ``prefix`` and ``schema`` of the tables, ``timeout`` in seconds,
``max_connections``, and for psycopg ``prepare_threshold`` (0 for PgBouncer).
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from ..errors import ConfigurationError
from .sql import SQLStore
from .sql_errors import NoFile
from .sql_runners import OwnEngine
from .table import PREFIX

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .async_sql import AsyncSQLStore

#: The most connections of one process, unless the URL says otherwise.
MAX_CONNECTIONS = 20

#: The drivers that do not block an event loop.
ASYNC_DRIVERS = {
    "sqlite": "aiosqlite",
    "postgresql": "psycopg",
    "mysql": "asyncmy",
    "mariadb": "asyncmy",
}
_BLOCKING_DRIVERS = ("pysqlite", "psycopg2", "pymysql", "mysqldb")

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class _Place(NamedTuple):
    """What a URL says."""

    url: sa.URL
    prefix: str
    schema: str | None
    #: Seconds that an operation may take.
    timeout: float
    #: The most connections of one process.
    limit: int
    #: Arguments of the driver's connections.
    arguments: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind of the database, as SQLAlchemy names it."""
        return self.url.get_backend_name()

    def pool(self) -> dict[str, Any]:
        """The options of an engine's pool."""
        return {
            "pool_size": self.limit,
            "max_overflow": 0,
            "pool_timeout": self.timeout,
            "pool_use_lifo": True,
            "pool_reset_on_return": None,
        }


def open_sql(url: str, timeout: float) -> SQLStore:
    """The store at a URL. Nothing is connected yet, and no table is made.

    :raises ConfigurationError: if the URL cannot be used, or a package is missing. The message
        never shows the URL.
    """
    place = _parsed(url, timeout)
    with _errors_named():
        engine = sa.create_engine(
            place.url,
            isolation_level="AUTOCOMMIT",
            poolclass=sa.pool.QueuePool,
            connect_args={**place.arguments, **_bounds(place)},
            **place.pool(),
        )
    if place.kind == "sqlite":
        _set_up_sqlite(engine, str(place.url.database), place.timeout)
    elif engine.dialect.driver == "psycopg":
        _bound_psycopg(engine, place.timeout)
    _engines.add(engine)
    store = SQLStore.over(OwnEngine(engine), place.prefix, place.schema)
    # Closes the connections of a store that is not used any more.
    weakref.finalize(store, engine.dispose)
    return store


def open_async_sql(url: str, timeout: float) -> AsyncSQLStore:
    """The same for an app whose views are coroutines. A URL that names no driver, or one that
    blocks, is one of the driver of :data:`ASYNC_DRIVERS`.
    """
    try:
        # It needs greenlet, which SQLAlchemy brings only when it is asked for it.
        from sqlalchemy.ext.asyncio import create_async_engine

        from .async_sql import AsyncSQLStore
    except ImportError:
        raise ConfigurationError(
            "SESSION_STORE needs greenlet in a Quart app: pip install 'SQLAlchemy[asyncio]'."
        ) from None
    place = _parsed(url, timeout)
    driver = ASYNC_DRIVERS.get(place.kind)
    named = place.url.drivername.partition("+")[2]
    if driver is not None and named in ("", *_BLOCKING_DRIVERS):
        place = place._replace(url=place.url.set(drivername=f"{place.kind}+{driver}"))

    def make() -> AsyncEngine:
        engine = create_async_engine(
            place.url,
            isolation_level="AUTOCOMMIT",
            connect_args=place.arguments,
            poolclass=sa.pool.AsyncAdaptedQueuePool,
            **place.pool(),
        )
        if place.kind == "sqlite":
            _set_up_sqlite(engine.sync_engine, str(place.url.database), place.timeout)
        return engine

    with _errors_named():
        # Tells wrong options now. It does not connect.
        make()
    return AsyncSQLStore.with_own_engines(make, place.prefix, place.schema, place.timeout)


@contextmanager
def _errors_named() -> Iterator[None]:
    """Within this context, what SQLAlchemy says about a URL is a :class:`ConfigurationError`."""
    try:
        yield
    except NoSuchModuleError:
        raise ConfigurationError(
            "SESSION_STORE names a database or a driver that SQLAlchemy does not have."
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"SESSION_STORE needs the package {error.name!r}, which is not installed."
        ) from None
    except (SQLAlchemyError, TypeError, ValueError):
        raise ConfigurationError("SESSION_STORE has an option that cannot be used.") from None


def _parsed(url: str, timeout: float) -> _Place:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("SESSION_STORE must be a valid URL.") from None
    parsed, options = _options(parsed)
    timeout = _number(options, "timeout", timeout)
    limit = int(_number(options, "max_connections", MAX_CONNECTIONS))
    kind = parsed.get_backend_name()
    arguments: dict[str, Any] = {}
    if kind == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigurationError(
                "SESSION_STORE must name a file: sqlite:////var/lib/app/sessions.db. Four slashes "
                "begin an absolute path."
            )
        arguments = {"timeout": timeout}
    elif kind == "postgresql" and "prepare_threshold" in options:
        threshold = int(_number(options, "prepare_threshold", 0, least=0))
        arguments = {"prepare_threshold": threshold or None}
    prefix, schema = options.pop("prefix", PREFIX), options.pop("schema", None)
    return _Place(parsed, prefix, schema, timeout, limit, arguments)


def _bounds(place: _Place) -> dict[str, Any]:
    """The arguments that bound the waits of a driver which blocks. The asynchronous store bounds
    its operations itself.
    """
    seconds = max(1, math.ceil(place.timeout))
    if place.kind in ("mysql", "mariadb"):
        return {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    return {"connect_timeout": seconds} if place.kind == "postgresql" else {}


def _options(url: sa.URL) -> tuple[sa.URL, dict[str, str]]:
    """The URL without the options of ours, and these."""
    ours = ("prefix", "schema", "timeout", "max_connections", "prepare_threshold")
    options = {name: str(value) for name, value in url.query.items() if name in ours}
    return url.difference_update_query(list(options)), options


def _number(options: dict[str, str], name: str, default: float, least: float = 0.001) -> float:
    text = options.pop(name, None)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not least <= number <= 10_000:
        raise ConfigurationError(f"{name} in SESSION_STORE must be a number from {least:g} on.")
    return number


def _set_up_sqlite(engine: Engine, path: str, timeout: float) -> None:
    """Makes the file private, and lets readers and one writer work at the same time."""

    @event.listens_for(engine, "do_connect")
    def _require_file(*_: Any) -> None:
        if not Path(path).exists():
            raise NoFile(f"{path} does not exist")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        cursor.close()


def _bound_psycopg(engine: Engine, timeout: float) -> None:
    """Makes psycopg give up on a server that does not answer in time. libpq has no such option."""
    import psycopg

    def bounded(waiting: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same generator, which psycopg resumes ten times a second at least."""
        deadline = time.monotonic() + timeout
        answer: Any = None
        try:
            while True:
                answer = yield waiting.send(answer)
                if not answer and time.monotonic() > deadline:
                    raise psycopg.errors.ConnectionTimeout("no answer in time: timed out")
        except StopIteration as stop:
            return stop.value

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            return super().wait(bounded(gen), *args, **kwargs)

        @classmethod
        def _connect_gen(cls, *args: Any, **kwargs: Any) -> Any:
            return bounded(super()._connect_gen(*args, **kwargs))

    @event.listens_for(engine, "do_connect")
    def _connect(_: Any, __: Any, args: Any, kwargs: Any) -> Any:
        return Bounded.connect(*args, **kwargs)


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        # The parent uses these connections: they are not closed here.
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
