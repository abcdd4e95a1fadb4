"""Sessions in a SQL database, through SQLAlchemy."""

from __future__ import annotations

import contextlib
import copy
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import ConfigurationError, StoreUnavailable
from .protocol import Check, Ownership, Replaced, StoreStatistics, version_of
from .sql_errors import (
    CONFLICTS,
    FULL,
    MISSING,
    READ_ONLY,
    Conflict,
    Exists,
    NoFile,
    codes_of,
    is_timeout,
)
from .sql_runners import OneConnection, Runner, SharedEngine
from .sql_statements import Statements
from .table import PREFIX, metadata, tables

__all__ = ["SQLStore", "metadata", "tables"]

#: One creation in so many removes expired records, ten for each creation and a few more.
_PURGE_EVERY = 8
_PURGED = 100
#: How often a statement is tried that others are in the way of.
_ATTEMPTS = 3
#: Rows that one step of a listing reads.
_PAGE = 1000


def _checked(operation: str, rows: Sequence[Any], *types: type) -> list[tuple[Any, ...]]:
    """Rows with a value of each of these types. Drivers have types of their own for bytes.

    :raises StoreUnavailable: if whoever answers is no store of ours. Nothing is converted:
        ``bytes`` of an integer would be so many zeros.
    """
    wanted = [(bytes, bytearray, memoryview) if one is bytes else one for one in types]
    checked = []
    for row in rows:
        if len(row) != len(types) or not all(map(isinstance, row, wanted)):
            raise StoreUnavailable(operation, "a row has other columns")
        checked.append(tuple(one(value) for one, value in zip(types, row, strict=True)))
    return checked


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

    def on(self, connection: Connection) -> tuple[SQLStore, OneConnection]:
        """This store on one connection, which somebody else has taken out of a pool."""
        runner = OneConnection(connection)
        store = copy.copy(self)
        store._runner = runner
        store._compiled = self._statements(connection.dialect)
        return store, runner

    def _set_up(self, runner: Runner, prefix: str, schema: str | None) -> None:
        self._runner = runner
        self._metadata = sa.MetaData()
        self._tables = tables(self._metadata, prefix, schema)
        self._sessions, self._revocations = self._tables
        self._compiled: Statements | None = None
        self._created = itertools.count(1)

    def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        rows, _ = self._run("read", "read", address=address, now=int(time.time()))
        return next((record for (record,) in _checked("read", rows, bytes)), None)

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        """See :meth:`SessionStore.create`."""
        values = {
            "address": address,
            "version": version_of(record),
            "record": record,
            "expires": expires,
            "owner": owner,
        }
        try:
            self._insist("create", "create", **values)
        except Exists:
            return False
        if next(self._created) % _PURGE_EVERY == 0:
            # So that the table does not grow for ever where nobody purges it. The session is in it,
            # whatever becomes of the others.
            with contextlib.suppress(StoreUnavailable):
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
            _, count = self._run("replace", name, raise_conflicts=True, **values)
        except Conflict:
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
        return self._insist("delete", "delete", address=address, now=int(time.time())) > 0

    def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        now = int(time.time())
        found: list[tuple[Any, ...]] = []
        for owner in owners:
            rows, _ = self._run("owned", "owned", owner=owner, now=now)
            found += _checked("owned", rows, bytes, int)
        return [address for address, _ in sorted(found, key=itemgetter(1, 0))]

    def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`. The time is this host's, or a later one."""
        for _ in range(_ATTEMPTS):
            rows, _count = self._run("revoke", "last revocation", subject=subject)
            former = next((changed for (changed,) in _checked("revoke", rows, int)), None)
            later = moment if former is None else max(moment, former + 1)
            values = {"subject": subject, "changed": later, "expires": later + keep_for}
            try:
                if former is None:
                    self._insist("revoke", "revoke", **values)
                elif not self._insist("revoke", "revoke again", former=former, **values):
                    continue
            except Exists:
                continue
            with contextlib.suppress(StoreUnavailable):
                self._insist("revoke", "forget", now=moment)
            return later
        raise StoreUnavailable("revoke", "the row is locked", is_outage=False)

    def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        rows, _ = self._run("revoked_since", "revoked", moment=moment)
        return _checked("revoked_since", rows, bytes, int)

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
            rows = _checked("addresses", self._execute("addresses", page), bytes)
            yield from (address for (address,) in rows)
            if len(rows) < _PAGE:
                return
            (last,) = rows[-1]

    def purge(self, limit: int) -> int:
        """See :meth:`Maintained.purge`."""
        table, now = self._sessions, int(time.time())
        expired = sa.select(table.c.address).where(table.c.expires <= now)
        found = self._execute("purge", expired.order_by(table.c.expires).limit(limit))
        rows = _checked("purge", found, bytes)
        if not rows:
            return 0
        addresses = [address for (address,) in rows]
        # Not those that were renewed meanwhile.
        among = table.c.address.in_(addresses) & (table.c.expires <= now)
        return int(self._execute("purge", sa.delete(table).where(among)))

    def create_tables(self) -> list[str]:
        """Creates the tables that are missing. Returns their names.

        :raises StoreUnavailable: if the database does not answer, or does not permit it.
        """
        missing = self.missing_tables()
        try:
            self._runner.make_file()
            with self._runner.connection() as connection:
                self._metadata.create_all(connection)
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
            with self._runner.connection() as connection:
                inspector = sa.inspect(connection)
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
            raise self.without_tables(missing)

    def without_tables(self, missing: Sequence[str]) -> ConfigurationError:
        """The error of a database without some tables.

        :param missing: their names.
        """
        return ConfigurationError(
            f"SESSION_STORE has no table {' and no table '.join(missing)}: {self.how_to_create}, "
            "or add flask_fernet.stores.sql.metadata to the targets of Alembic."
        )

    #: What makes the tables.
    how_to_create = "run 'flask fernet store create'"

    @property
    def table_names(self) -> list[str]:
        """The names of the tables."""
        return [table.name for table in self._tables]

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

    def _statements(self, dialect: Any = None) -> Statements:
        if self._compiled is None:
            self._compiled = Statements(self._tables, dialect or self._runner.engine().dialect)
        return self._compiled

    def _insist(self, operation: str, statement: str, **values: Any) -> int:
        """Runs a statement that changes something, again if another one is in the way. Returns the
        number of rows concerned.
        """
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(Conflict):
                return self._run(operation, statement, raise_conflicts=True, **values)[1]
        return self._run(operation, statement, **values)[1]

    def _run(
        self, operation: str, statement: str, *, raise_conflicts: bool = False, **values: Any
    ) -> tuple[list[Any], int]:
        """Runs a statement.

        :param raise_conflicts: whether ``Conflict`` is raised if another statement is in the way.
        :raises Exists: if a row with this key exists.
        :raises StoreUnavailable: if the database does not answer.
        """
        try:
            return self._runner.run(self._statements().get(statement), values)
        except Exception as error:  # noqa: BLE001 - raised again
            named = self._named(operation, error)
        if isinstance(named, Conflict) and not raise_conflicts:
            named = StoreUnavailable(operation, "the row is locked", is_outage=False)
        raise named from None

    def _execute(self, operation: str, statement: Any) -> Any:
        """The rows of a query, or the number of rows that a statement concerned."""
        try:
            with self._runner.connection() as connection:
                result = connection.execute(statement)
                return list(result) if result.returns_rows else result.rowcount
        except (SQLAlchemyError, OSError) as error:
            named = self._named(operation, getattr(error, "orig", None) or error)
        if isinstance(named, Conflict):
            named = StoreUnavailable(operation, "the row is locked", is_outage=False)
        raise named from None

    def _named(self, operation: str, error: BaseException) -> BaseException:
        """What an error of the driver means; the error itself if it is a bug."""
        dbapi: Any = self._runner.engine().dialect.dbapi
        if isinstance(error, dbapi.IntegrityError):
            return Exists()
        if codes_of(error) & CONFLICTS:
            return Conflict()
        is_ours = isinstance(error, (dbapi.Error, SQLAlchemyError, OSError))
        return self._away(operation, error) if is_ours else error

    def _away(self, operation: str, error: BaseException) -> StoreUnavailable:
        text, is_outage = str(error), True
        if isinstance(error, PoolTimeout):
            problem, is_outage = "every connection is in use", False
        elif is_timeout(error):
            problem = "no answer in time"
        elif codes_of(error) & MISSING or "no such table" in text or isinstance(error, NoFile):
            problem = f"there is no table {self._sessions.name}: {self.how_to_create}"
        elif "database is locked" in text:
            problem, is_outage = "the database is locked", False
        elif (codes_of(error) & READ_ONLY and "read" in text) or "readonly database" in text:
            problem, is_outage = "it cannot be written, only read", False
        elif codes_of(error) & FULL or "disk is full" in text or "errno: 28" in text:
            problem, is_outage = "its disk is full", False
        else:
            # Its text may show the statement's values.
            problem = " ".join([type(error).__name__, *map(str, codes_of(error))])
        return StoreUnavailable(operation, problem, is_outage=is_outage)
