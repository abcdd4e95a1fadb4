"""What carries statements to a SQL database."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from .sql_errors import is_timeout, leaves_connection_usable
from .sql_statements import Statement


class Runner(Protocol):
    """What carries statements to a database. It raises the errors of the database's driver."""

    def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """The rows of a result, if there are any, and the number of rows concerned."""

    def engine(self) -> Engine:
        """The engine. Its dialect says what kind of database it is."""

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection, for what is not done by requests."""

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

    def connection(self) -> AbstractContextManager[Connection]:
        """See :class:`Runner`."""
        return self._engine.connect()

    def make_file(self) -> None:
        """See :class:`Runner`."""
        make_private_file(self._engine)

    def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
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
                    is_ours = isinstance(error, self._engine.dialect.dbapi.Error)  # type: ignore[union-attr]
                    if attempt == 1 and is_ours and not is_timeout(error):
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
            # A signal's handler has raised it in the middle of a statement.
            return True
        return (
            is_timeout(error)
            or dialect.is_disconnect(error, connection, None)
            or not leaves_connection_usable(error, dialect.name)
        )


class SharedEngine:
    """Statements through an engine of the app's, each in a transaction of its own."""

    def __init__(self, engine: Engine | Callable[[], Engine]) -> None:
        self._given = engine

    def engine(self) -> Engine:
        """See :class:`Runner`."""
        engine = self._given if isinstance(self._given, Engine) else self._given()
        return engine.execution_options(isolation_level="AUTOCOMMIT")

    def connection(self) -> AbstractContextManager[Connection]:
        """See :class:`Runner`."""
        return self.engine().connect()

    def make_file(self) -> None:
        """See :class:`Runner`: the app's database is made by the app."""

    def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """See :class:`Runner`."""
        for attempt in (1, 2):
            try:
                with self.engine().connect() as connection:
                    return _executed(connection, statement, values)
            except DBAPIError as error:
                if attempt == 1 and error.connection_invalidated:
                    continue
                if error.orig is None:
                    raise
                raise error.orig from None
        raise AssertionError("unreachable")


class OneConnection:
    """Statements on one connection, which somebody else has taken out of a pool."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: Whether the connection was lost under a statement.
        self.is_lost: bool = False

    def engine(self) -> Engine:
        """See :class:`Runner`."""
        return self._connection.engine

    def connection(self) -> AbstractContextManager[Connection]:
        """See :class:`Runner`."""
        return nullcontext(self._connection)

    def make_file(self) -> None:
        """See :class:`Runner`: there is a connection, and so a file."""

    def run(self, statement: Statement, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """See :class:`Runner`."""
        try:
            return _executed(self._connection, statement, values)
        except DBAPIError as error:
            if error.orig is None:
                raise
            if not leaves_connection_usable(error.orig, self.engine().dialect.name):
                self._connection.invalidate()
            self.is_lost = self._connection.invalidated
            raise error.orig from None


def _executed(
    connection: Connection, statement: Statement, values: Mapping[str, Any]
) -> tuple[list[Any], int]:
    result = connection.exec_driver_sql(statement.text, statement.arguments(values))
    rows = list(result) if result.returns_rows else []
    return rows, result.rowcount


def make_private_file(engine: Engine) -> None:
    """Makes the file of a SQLite database, readable for its owner alone, if it is missing."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        os.close(os.open(engine.url.database, os.O_CREAT | os.O_RDWR, 0o600))
