"""Sessions in a SQL database, through SQLAlchemy."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import ConfigurationError, StoreUnavailable
from .protocol import Check, Ownership, Replaced, StoreStatistics, version_of
from .table import PREFIX, metadata, tables

__all__ = ["SQLStore", "metadata", "tables"]

#: One creation in so many removes expired records, ten for each creation and a few more.
_PURGE_EVERY = 8
_PURGED = 100
#: Rows that one step of a listing reads.
_PAGE = 1000
#: What a database says when two statements are in each other's way: SQLSTATE of PostgreSQL, and
#: the numbers of MySQL and MariaDB.
_CONFLICTS = {"40001", "40P01", 1213, 1205}
#: What it says of a table that is missing.
_MISSING = {"42P01", 1146}


class _Statement:
    """A statement, compiled once for one kind of database."""

    def __init__(self, statement: Any, dialect: Any) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        #: The names of the values in their order; ``None`` if they are passed by name.
        self._order: Sequence[str] | None = compiled.positiontup

    def arguments(self, values: Mapping[str, Any]) -> Any:
        if self._order is None:
            return values
        return tuple(values[name] for name in self._order)


class Runner(Protocol):
    """What carries statements to a database. It raises the errors of the database's driver."""

    def run(self, statement: _Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """The rows of a result, if there are any, and the number of rows concerned."""

    def engine(self) -> Engine:
        """The engine, for what is not done by requests."""

    def make_file(self) -> None:
        """Makes the file of a SQLite database, readable for its owner alone, if it is missing."""


class OwnEngine:
    """Statements on the driver's connections, from the pool of an engine of our own.

    SQLAlchemy's pool and dialect are used, but not its execution of statements, which takes as long
    again as PostgreSQL and twice as long as SQLite.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def engine(self) -> Engine:
        """See :class:`Runner`."""
        return self._engine

    def make_file(self) -> None:
        """See :class:`Runner`."""
        if self._engine.dialect.name == "sqlite" and self._engine.url.database:
            os.close(os.open(self._engine.url.database, os.O_CREAT | os.O_RDWR, 0o600))

    def run(self, statement: _Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """See :class:`Runner`."""
        arguments = statement.arguments(values)
        for attempt in (1, 2):
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                try:
                    cursor.execute(statement.text, arguments)
                    rows = list(cursor.fetchall()) if cursor.description is not None else []
                    return rows, cursor.rowcount
                finally:
                    cursor.close()
            except Exception as error:
                if self._is_lost(error, connection):
                    connection.invalidate(error)
                    # A server that was restarted; but never one that does not answer in time.
                    if attempt == 1 and not _is_timeout(error):
                        continue
                raise
            except BaseException:
                # A greenlet was killed: what this connection has still to say must reach nobody.
                connection.invalidate()
                raise
            finally:
                connection.close()
        raise AssertionError("unreachable")

    def _is_lost(self, error: Exception, connection: Any) -> bool:
        dialect = self._engine.dialect
        errors = dialect.dbapi.Error  # type: ignore[union-attr]
        if not isinstance(error, errors):
            return False
        return _is_timeout(error) or dialect.is_disconnect(error, connection, None)


class SharedEngine:
    """Statements through an engine of the app's, each in a transaction of its own."""

    def __init__(self, engine: Engine | Callable[[], Engine]) -> None:
        self._given = engine

    def engine(self) -> Engine:
        """See :class:`Runner`."""
        engine = self._given if isinstance(self._given, Engine) else self._given()
        return engine.execution_options(isolation_level="AUTOCOMMIT")

    def make_file(self) -> None:
        """See :class:`Runner`: the app's database is made by the app."""

    def run(self, statement: _Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """See :class:`Runner`."""
        for attempt in (1, 2):
            try:
                with self.engine().connect() as connection:
                    arguments = statement.arguments(values)
                    result = connection.exec_driver_sql(statement.text, arguments)
                    rows = list(result) if result.returns_rows else []
                    return rows, result.rowcount
            except DBAPIError as error:
                if attempt == 1 and error.connection_invalidated:
                    continue
                if error.orig is None:
                    raise
                raise error.orig from None
        raise AssertionError("unreachable")


class SQLStore:
    """Keeps records in a table of a SQL database.

    ``SESSION_STORE = "postgresql+psycopg://…"`` makes one with an engine of its own, and that is
    better than to share the app's: a view that holds a connection of a pool while its session needs
    a second one empties a pool of N connections under N threads.

    :param engine: an engine of the app's, or a function that returns it, for ``lambda: db.engine``.
        Statements run in ``AUTOCOMMIT``.
    :param prefix: begins the name of every table.
    :param schema: the schema of the tables.
    """

    def __init__(
        self,
        engine: Engine | Callable[[], Engine],
        prefix: str = PREFIX,
        schema: str | None = None,
    ) -> None:
        self._set_up(SharedEngine(engine), prefix, schema)

    @classmethod
    def over(cls, runner: Runner, prefix: str = PREFIX, schema: str | None = None) -> SQLStore:
        """A store over a runner."""
        self = cls.__new__(cls)
        self._set_up(runner, prefix, schema)
        return self

    def _set_up(self, runner: Runner, prefix: str, schema: str | None) -> None:
        self._runner = runner
        self._metadata = sa.MetaData()
        self._sessions, self._revocations = tables(self._metadata, prefix, schema)
        self._compiled: dict[str, _Statement] = {}
        self._created = itertools.count(1)

    def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        rows, _ = self._run("read", "read", address=address, now=int(time.time()))
        return bytes(rows[0][0]) if rows else None

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        """See :meth:`SessionStore.create`."""
        try:
            self._run(
                "create",
                "create",
                address=address,
                version=version_of(record),
                record=record,
                expires=expires,
                owner=owner,
            )
        except _Exists:
            return False
        if next(self._created) % _PURGE_EVERY == 0:
            # So that the table does not grow for ever where nobody purges it.
            self.purge(_PURGED)
        return True

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        name = "replace"
        values: dict[str, Any] = {
            "at": address,
            "known": version,
            "version": version_of(record),
            "record": record,
            "now": int(time.time()),
        }
        if expires is not None:
            name += ", renew"
            values["expires"] = expires
        if ownership is not None:
            name += ", own"
            values["owner"] = ownership.tag
        try:
            _, count = self._run("replace", name, **values)
        except _Conflict:
            count = 0
        if count == 1:
            return Replaced.DONE
        # A statement of its own: InnoDB would show the state before the update.
        newest = self.read(address)
        if newest is None:
            return Replaced.GONE
        return Replaced.DONE if version_of(newest) == version_of(record) else newest

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        for _ in range(10):
            try:
                _, count = self._run("delete", "delete", address=address, now=int(time.time()))
            except _Conflict:
                continue
            return count > 0
        raise StoreUnavailable("delete", "the row is locked")

    def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        now, found = int(time.time()), []
        for owner in owners:
            rows, _ = self._run("owned", "owned", owner=owner, now=now)
            found += [(expires, bytes(address)) for address, expires in rows]
        return [address for _, address in sorted(found)]

    def revoke(self, subject: bytes, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`. The time is this host's."""
        now = int(time.time())
        values = {"subject": subject, "changed": now, "expires": now + keep_for}
        for _ in range(10):
            try:
                _, count = self._run("revoke", "revoke again", **values)
                if count == 0:
                    self._run("revoke", "revoke", **values)
            except (_Exists, _Conflict):
                continue
            self._run("revoke", "forget", now=now)
            return now
        raise StoreUnavailable("revoke", "the row is locked")

    def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        rows, _ = self._run("revoked_since", "revoked", moment=moment)
        return [(bytes(subject), int(changed)) for subject, changed in rows]

    def statistics(self) -> StoreStatistics:
        """See :meth:`Maintained.statistics`."""
        table, now = self._sessions, int(time.time())
        is_live = sa.case((table.c.expires > now, 1), else_=0)
        query = sa.select(
            sa.func.count(), sa.func.sum(is_live), sa.func.sum(sa.func.length(table.c.record))
        ).select_from(table)
        total, live, size = self._execute("statistics", query)[0]
        return StoreStatistics(int(live or 0), total - int(live or 0), int(size or 0))

    def addresses(self) -> Iterator[bytes]:
        """See :meth:`Maintained.addresses`."""
        column, last = self._sessions.c.address, b""
        while True:
            page = sa.select(column).where(column > last).order_by(column).limit(_PAGE)
            rows = self._execute("addresses", page)
            yield from (bytes(address) for (address,) in rows)
            if len(rows) < _PAGE:
                return
            last = bytes(rows[-1][0])

    def purge(self, limit: int) -> int:
        """See :meth:`Maintained.purge`."""
        table, now = self._sessions, int(time.time())
        expired = sa.select(table.c.address).where(table.c.expires <= now)
        rows = self._execute("purge", expired.order_by(table.c.expires).limit(limit))
        if not rows:
            return 0
        addresses = [bytes(address) for (address,) in rows]
        # Not those that were renewed meanwhile.
        among = table.c.address.in_(addresses) & (table.c.expires <= now)
        try:
            return int(self._execute("purge", sa.delete(table).where(among)))
        except _Conflict:
            return 0

    def create_tables(self) -> list[str]:
        """Creates the tables that are missing. Returns their names.

        :raises StoreUnavailable: if the database does not answer, or does not permit it.
        """
        missing = self.missing_tables()
        try:
            self._runner.make_file()
            self._metadata.create_all(self._runner.engine())
        except OSError as error:
            raise ConfigurationError(
                f"SESSION_STORE names a file that cannot be made: {error.strerror}."
            ) from None
        except SQLAlchemyError as error:
            raise self._away("create", getattr(error, "orig", None) or error) from None
        return missing

    def missing_tables(self) -> list[str]:
        """The names of the tables that are not there.

        :raises StoreUnavailable: if the database does not answer.
        """
        wanted = (self._sessions, self._revocations)
        try:
            inspector = sa.inspect(self._runner.engine())
            return [one.name for one in wanted if not inspector.has_table(one.name, one.schema)]
        except NoFile:
            return [one.name for one in wanted]
        except SQLAlchemyError as error:
            raise self._away("check", getattr(error, "orig", None) or error) from None

    def require_tables(self) -> None:
        """Checks that the tables are there.

        :raises ConfigurationError: if one is missing.
        :raises StoreUnavailable: if the database does not answer.
        """
        missing = self.missing_tables()
        if missing:
            raise ConfigurationError(
                f"SESSION_STORE has no table {' and no table '.join(missing)}: run "
                "'flask fernet store create', or add flask_fernet.stores.sql.metadata to the "
                "targets of Alembic."
            )

    def check(self) -> Iterator[Check]:
        """See :meth:`Maintained.check`."""
        try:
            self.require_tables()
            statistics = self.statistics()
        except (ConfigurationError, StoreUnavailable) as error:
            yield Check(False, str(error))
            return
        yield Check(True, f"has its tables, {self.database} answers")
        if statistics.expired > max(1000, statistics.live):
            yield Check(
                False,
                f"{statistics.expired} expired sessions are not purged: run "
                "'flask fernet store purge'",
            )

    @property
    def database(self) -> str:
        """The kind of the database, such as ``postgresql``."""
        return self._runner.engine().dialect.name

    @property
    def url(self) -> sa.URL:
        """The database's URL. Its text hides the password."""
        return self._runner.engine().url

    def _statement(self, name: str) -> _Statement:
        found = self._compiled.get(name)
        if found is None:
            statement = self._write(name)
            found = _Statement(statement, self._runner.engine().dialect)
            self._compiled[name] = found
        return found

    def _write(self, name: str) -> Any:
        table, revoked = self._sessions, self._revocations
        bind = sa.bindparam
        here = (table.c.address == bind("address")) & (table.c.expires > bind("now"))
        if name == "read":
            return sa.select(table.c.record).where(here)
        if name == "create":
            return sa.insert(table)
        if name == "delete":
            return sa.delete(table).where(here)
        if name == "owned":
            found = (table.c.owner == bind("owner")) & (table.c.expires > bind("now"))
            return sa.select(table.c.address, table.c.expires).where(found)
        if name == "revoke":
            return sa.insert(revoked)
        if name == "revoke again":
            again: dict[str, Any] = {"changed": bind("changed"), "expires": bind("expires")}
            same = revoked.c.subject == bind("subject")
            return sa.update(revoked).values(again).where(same)
        if name == "forget":
            return sa.delete(revoked).where(revoked.c.expires <= bind("now"))
        if name == "revoked":
            since = revoked.c.changed >= bind("moment")
            return sa.select(revoked.c.subject, revoked.c.changed).where(since)
        values: dict[str, Any] = {"version": bind("version"), "record": bind("record")}
        if "renew" in name:
            values["expires"] = bind("expires")
        if "own" in name:
            values["owner"] = bind("owner")
        unchanged = (
            (table.c.address == bind("at"))
            & (table.c.version == bind("known"))
            & (table.c.expires > bind("now"))
        )
        return sa.update(table).values(values).where(unchanged)

    def _run(self, operation: str, statement: str, **values: Any) -> tuple[list[Any], int]:
        """Runs a statement.

        :raises _Exists: if a row with this key exists.
        :raises _Conflict: if another statement is in the way.
        :raises StoreUnavailable: if the database does not answer.
        """
        try:
            return self._runner.run(self._statement(statement), values)
        except Exception as error:  # noqa: BLE001 - raised again
            raise self._named(operation, error) from None

    def _execute(self, operation: str, statement: Any) -> Any:
        """The rows of a query, or the number of rows that a statement concerned."""
        try:
            with self._runner.engine().connect() as connection:
                result = connection.execute(statement)
                return list(result) if result.returns_rows else result.rowcount
        except (SQLAlchemyError, OSError) as error:
            raise self._named(operation, getattr(error, "orig", None) or error) from None

    def _named(self, operation: str, error: BaseException) -> BaseException:
        """What an error of the driver means; the error itself if it is a bug."""
        dbapi: Any = self._runner.engine().dialect.dbapi
        if isinstance(error, dbapi.IntegrityError):
            return _Exists()
        if _codes(error) & _CONFLICTS:
            return _Conflict()
        is_ours = isinstance(error, (dbapi.Error, SQLAlchemyError, OSError))
        return self._away(operation, error) if is_ours else error

    def _away(self, operation: str, error: BaseException) -> StoreUnavailable:
        text = str(error)
        if isinstance(error, PoolTimeout):
            problem = "every connection is in use"
        elif _is_timeout(error):
            problem = "no answer in time"
        elif _codes(error) & _MISSING or "no such table" in text or isinstance(error, NoFile):
            problem = f"there is no table {self._sessions.name}: run 'flask fernet store create'"
        elif "database is locked" in text:
            problem = "the database is locked"
        elif "readonly database" in text:
            problem = "the database file cannot be written"
        elif "disk" in text and "full" in text:
            problem = "the disk is full"
        else:
            # Its text may show the statement's values.
            problem = " ".join([type(error).__name__, *map(str, _codes(error))])
        return StoreUnavailable(operation, problem)


class NoFile(OSError):
    """The file of a SQLite database does not exist. A connection would make one."""


class _Exists(Exception):
    """A row with this key exists."""


class _Conflict(Exception):
    """Another statement is in the way of this one, which had no effect."""


def _codes(error: BaseException) -> set[object]:
    """The SQLSTATE of an error, and MySQL's number for it."""
    found = [getattr(error, "sqlstate", None), getattr(error, "pgcode", None), *error.args[:1]]
    return {code for code in found[:2] if code} | {code for code in found[2:] if type(code) is int}


def _is_timeout(error: BaseException) -> bool:
    """Whether the database did not answer in time."""
    name = type(error).__name__
    text = str(error)
    return (
        isinstance(error, TimeoutError)
        or name in ("ConnectionTimeout", "_WaitTimeout")
        or "timed out" in text
        or "timeout expired" in text
    )
