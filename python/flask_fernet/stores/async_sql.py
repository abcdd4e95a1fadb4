"""Sessions in a SQL database, through SQLAlchemy's asynchronous engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..errors import StoreUnavailable
from .by_loop import ByLoop
from .protocol import Ownership, Replaced
from .sql import SQLStore
from .sql_errors import NoFile
from .sql_runners import make_private_file
from .table import PREFIX


class AsyncSQLStore:
    """Keeps records in a table of a SQL database, without blocking an event loop.

    ``SESSION_STORE = "postgresql+psycopg://…"`` of a Quart app makes one with an engine of its own.
    The statements and their meaning are those of :class:`~flask_fernet.stores.sql.SQLStore`.

    :param engine: an engine of the app's, or a function that returns it. Statements run in
        ``AUTOCOMMIT``.
    :param prefix: begins the name of every table.
    :param schema: the schema of the tables.
    :param timeout: seconds that an operation may take.
    """

    def __init__(
        self,
        engine: AsyncEngine | Callable[[], AsyncEngine],
        prefix: str = PREFIX,
        schema: str | None = None,
        timeout: float = 1.0,
    ) -> None:
        self._engines = None
        self._set_up(
            (lambda: engine) if isinstance(engine, AsyncEngine) else engine,
            prefix,
            schema,
            timeout,
        )

    @classmethod
    def with_own_engines(
        cls, make: Callable[[], AsyncEngine], prefix: str, schema: str | None, timeout: float
    ) -> AsyncSQLStore:
        """A store with an engine of its own for each event loop.

        :param make: makes an engine.
        """
        self = cls.__new__(cls)
        engines = ByLoop(make)
        self._engines = engines
        self._set_up(engines.get, prefix, schema, timeout)
        return self

    _engines: ByLoop[AsyncEngine] | None

    def _set_up(
        self, engine: Callable[[], AsyncEngine], prefix: str, schema: str | None, timeout: float
    ) -> None:
        self._engine = engine
        self._timeout = timeout
        # Each call is made on a connection of the asynchronous engine.
        self._store = SQLStore(lambda: self._engine().sync_engine, prefix, schema)
        self._store.how_to_create = "await the session interface's create_tables(app)"

    async def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        return await self._run("read", address)  # type: ignore[no-any-return]

    async def create(
        self, address: bytes, record: bytes, expires: int, owner: bytes | None
    ) -> bool:
        """See :meth:`SessionStore.create`."""
        return await self._run("create", address, record, expires, owner)  # type: ignore[no-any-return]

    async def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        return await self._run("replace", address, version, record, expires, ownership)  # type: ignore[no-any-return]

    async def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        return await self._run("delete", address, owner)  # type: ignore[no-any-return]

    async def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        return await self._run("owned", owners)  # type: ignore[no-any-return]

    async def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`."""
        return await self._run("revoke", subject, moment, keep_for)  # type: ignore[no-any-return]

    async def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        return await self._run("revoked_since", moment)  # type: ignore[no-any-return]

    async def create_tables(self) -> list[str]:
        """Creates the tables that are missing. Returns their names.

        :raises StoreUnavailable: if the database does not answer, or does not permit it.
        """
        make_private_file(self._engine().sync_engine)
        return await self._run("create_tables")  # type: ignore[no-any-return]

    async def require_tables(self) -> None:
        """Checks that the tables are there.

        :raises ConfigurationError: if one is missing.
        :raises StoreUnavailable: if the database does not answer.
        """
        if self._has_no_file():
            raise self._store.without_tables(self._store.table_names)
        await self._run("require_tables")

    def _has_no_file(self) -> bool:
        """Whether the file of a SQLite database is missing."""
        url = self._engine().sync_engine.url
        return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()

    async def close(self) -> None:
        """Closes the connections of the running event loop, unless they are the app's."""
        engine = None if self._engines is None else self._engines.take()
        if engine is not None:
            await engine.dispose()

    async def _run(self, method: str, *arguments: Any) -> Any:
        """The result of a method of a store, on a connection of the pool.

        :raises StoreUnavailable: if the database does not answer in time.
        """
        try:
            return await asyncio.wait_for(self._attempts(method, arguments), self._timeout)
        except (TimeoutError, asyncio.TimeoutError):
            problem = f"no answer within {self._timeout:g} s"
        raise StoreUnavailable(method, problem)

    async def _attempts(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return await self._attempt(method, arguments)
        except _ConnectionLost:
            # A server that was restarted. What is sent may arrive twice.
            pass
        try:
            return await self._attempt(method, arguments)
        except _ConnectionLost as error:
            raise error.unavailable from None

    async def _attempt(self, method: str, arguments: tuple[Any, ...]) -> Any:
        engine = self._engine().execution_options(isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(self._call, method, arguments)
        except (SQLAlchemyError, OSError) as error:
            # While connecting: the store names the errors of its statements itself.
            cause = getattr(error, "orig", None) or error
            dbapi: Any = engine.dialect.dbapi
            if not isinstance(cause, (NoFile, dbapi.Error, SQLAlchemyError, OSError)):
                raise
            named = self._store._away(method, cause)
        raise named

    def _call(self, connection: Connection, method: str, arguments: tuple[Any, ...]) -> Any:
        store, runner = self._store.on(connection)
        try:
            return getattr(store, method)(*arguments)
        except StoreUnavailable as error:
            if runner.is_lost:
                raise _ConnectionLost(error) from None
            raise


class _ConnectionLost(Exception):
    """A connection that was open had been closed by the server."""

    def __init__(self, unavailable: StoreUnavailable) -> None:
        super().__init__()
        self.unavailable = unavailable
