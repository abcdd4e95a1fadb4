"""Sessions in real SQL databases: SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_fernet import ConfigurationError, StoreUnavailable
from flask_fernet.stores.protocol import Replaced, version_of
from flask_fernet.stores.sql import SQLStore, metadata, tables
from flask_fernet.stores.sql_urls import open_async_sql
from flask_fernet.stores.urls import open_store
from flask_fernet.testing import (
    MaintainedContract,
    OwnedSessionsContract,
    RevocationsContract,
    StoreContract,
    new_record,
)
from tests.servers import MariaServer, PostgresServer
from tests.storing import later, read_in_forked_children


class Contract(StoreContract, OwnedSessionsContract, RevocationsContract, MaintainedContract):
    pass


def emptied(url: str, timeout: float = 5.0) -> Any:
    """The store at a URL, with empty tables."""
    store: Any = open_store(url, timeout)
    store._metadata.drop_all(store._runner.engine())
    store.create_tables()
    return store


class TestSQLite(Contract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        store: Any = open_store(f"sqlite:///{tmp_path}/sessions.db", 5.0)
        store.create_tables()
        return store


class TestPostgreSQL(Contract):
    @pytest.fixture
    def store(self, postgres_server: PostgresServer) -> Any:
        return emptied(postgres_server.url)


class TestMariaDB(Contract):
    @pytest.fixture
    def store(self, maria_server: MariaServer) -> Any:
        return emptied(maria_server.url)


class TestSharedEngine(Contract):
    """An engine of the app's, whose own isolation level is another one."""

    @pytest.fixture
    def store(self, maria_server: MariaServer) -> Iterator[Any]:
        emptied(maria_server.url)
        engine = sa.create_engine(maria_server.url, isolation_level="REPEATABLE READ", pool_size=20)
        yield SQLStore(lambda: engine)
        engine.dispose()


class TestSharedPostgreSQL(Contract):
    @pytest.fixture
    def store(self, postgres_server: PostgresServer) -> Iterator[Any]:
        emptied(postgres_server.url)
        engine = sa.create_engine(postgres_server.url, isolation_level="SERIALIZABLE", pool_size=20)
        yield SQLStore(engine)
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgres", "maria"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty store in each database."""
    if request.param == "sqlite":
        return emptied_sqlite(tmp_path)
    return emptied(request.getfixturevalue(f"{request.param}_server").url)


def emptied_sqlite(folder: Path, timeout: float = 5.0, options: str = "") -> Any:
    store: Any = open_store(f"sqlite:///{folder}/sessions.db{options}", timeout)
    store.create_tables()
    return store


def test_tables_are_made_by_the_command_alone(tmp_path: Path) -> None:
    store: Any = open_store(f"sqlite:///{tmp_path}/sessions.db", 1.0)
    with pytest.raises(StoreUnavailable, match=r"run 'flask fernet store create'"):
        store.read(b"a" * 32)
    with pytest.raises(StoreUnavailable, match=r"run 'flask fernet store create'"):
        store.create(b"a" * 32, new_record(), later(), None)
    assert list(tmp_path.iterdir()) == []
    assert store.create_tables() == ["flask_fernet_sessions", "flask_fernet_revocations"]
    assert store.create_tables() == []
    assert store.create(b"a" * 32, new_record(), later(), None)


@pytest.mark.parametrize("server", ["postgres", "maria"])
def test_a_missing_table_is_named(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{server}_server").url
    store: Any = open_store(f"{url}?prefix=other_", 1.0)
    with pytest.raises(StoreUnavailable, match="no table other_sessions: run 'flask fernet store"):
        store.read(b"a" * 32)
    with pytest.raises(ConfigurationError, match="no table other_sessions and no table other_revo"):
        store.require_tables()
    (check,) = store.check()
    assert not check.ok


def test_the_files_of_sqlite_are_private(tmp_path: Path) -> None:
    store = emptied_sqlite(tmp_path)
    store.create(b"a" * 32, new_record(), later(), None)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert "sessions.db" in files
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_sqlite_waits_for_a_writer_and_then_gives_up(tmp_path: Path) -> None:
    store = emptied_sqlite(tmp_path, timeout=0.3)
    store.create(b"a" * 32, record := new_record(), later(), None)
    other = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="the database is locked"):
        store.replace(b"a" * 32, version_of(record), new_record(), None)
    assert 0.2 < time.monotonic() - begun < 2
    # Who reads is not in the way.
    assert store.read(b"a" * 32) == record
    other.execute("ROLLBACK")
    assert store.replace(b"a" * 32, version_of(record), new_record(), None) is Replaced.DONE
    other.close()


def test_a_writer_that_lost_sees_the_newest_record_under_repeatable_read(
    maria_server: MariaServer,
) -> None:
    """InnoDB shows a transaction the state at its first read."""
    emptied(maria_server.url)
    engine = sa.create_engine(maria_server.url, isolation_level="REPEATABLE READ")
    store, other = SQLStore(engine), SQLStore(engine)
    store.create(b"a" * 32, first := new_record(), later(), None)
    assert store.read(b"a" * 32) == first
    second = new_record()
    assert other.replace(b"a" * 32, version_of(first), second, None) is Replaced.DONE
    assert store.replace(b"a" * 32, version_of(first), new_record(), None) == second
    engine.dispose()


def test_expired_rows_do_not_pile_up(store: Any) -> None:
    for number in range(400):
        store.create(number.to_bytes(32, "big"), new_record(), int(time.time()) + 1, None)
    time.sleep(1.1)
    for number in range(40):
        store.create(b"n" + number.to_bytes(31, "big"), new_record(), later(), None)
    assert store.statistics().live == 40
    assert store.statistics().expired <= 4


def test_a_purge_spares_what_is_renewed_meanwhile(store: Any) -> None:
    address, record = b"a" * 32, new_record()
    store.create(address, record, int(time.time()) + 2, None)
    execute = store._execute

    def renewing(operation: str, statement: Any) -> Any:
        found = execute(operation, statement)
        if isinstance(found, list):
            # Between the query and the removal.
            with store._runner.engine().connect() as connection:
                connection.execute(sa.update(store._sessions).values(expires=later()))
        return found

    time.sleep(2.1)
    store._execute = renewing
    assert store.purge(10) == 0
    assert store.read(address) == record


def test_a_restart_is_not_noticed(postgres_server: PostgresServer) -> None:
    store = emptied(postgres_server.url)
    store.create(b"a" * 32, record := new_record(), later(), None)
    postgres_server.kill()
    with pytest.raises(StoreUnavailable):
        store.read(b"b" * 32)
    postgres_server.start()
    assert store.read(b"a" * 32) == record
    assert store.read(b"a" * 32) == record


@pytest.mark.parametrize("server", ["postgres", "maria"])
def test_a_mute_server_is_waited_for_once(server: str, request: pytest.FixtureRequest) -> None:
    running = request.getfixturevalue(f"{server}_server")
    store = emptied(running.url, 1.0)
    store.create(b"a" * 32, record := new_record(), later(), None)
    processes = frozen(running)
    try:
        for _ in range(2):
            # Over a connection that is open, and over a new one.
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable, match="no answer in time"):
                store.read(b"a" * 32)
            assert 0.8 < time.monotonic() - begun < 1.6
            store._runner.engine().dispose()
    finally:
        for process in processes:
            os.kill(process, 18)
    assert store.read(b"a" * 32) == record


def frozen(server: Any) -> list[int]:
    """Stops a server and its children. Returns their process ids."""
    main = server.process.pid
    children = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and parent_of(entry) == main
    ]
    for process in (main, *children):
        os.kill(process, 19)
    return [main, *children]


def parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_views_that_hold_their_own_connections_do_not_starve_the_store(
    postgres_server: PostgresServer,
) -> None:
    emptied(postgres_server.url)
    store: Any = open_store(f"{postgres_server.url}?max_connections=2", 2.0)
    store.create(b"a" * 32, record := new_record(), later(), None)
    engine = sa.create_engine(postgres_server.url, pool_size=4, max_overflow=0)
    seen: list[Any] = []

    def view() -> None:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
            seen.append(store.read(b"a" * 32))

    in_threads(8, view)
    assert seen == [record] * 8
    engine.dispose()


def in_threads(number: int, act: Callable[[], None]) -> None:
    threads = [threading.Thread(target=act) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TimeIsUp(Exception):
    pass


@pytest.mark.parametrize("kind", [TimeIsUp, KeyboardInterrupt])
def test_an_error_of_a_signal_leaves_no_busy_connection(
    postgres_server: PostgresServer, kind: type[BaseException]
) -> None:
    """A worker's time-out may be an ordinary exception, in the middle of a statement."""
    store = emptied(postgres_server.url)
    store.create(b"a" * 32, record := new_record(), later(), None)

    def interrupt(*_: object) -> None:
        raise kind

    former = signal.signal(signal.SIGALRM, interrupt)
    processes = frozen(postgres_server)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(kind):
            store.read(b"a" * 32)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        for process in processes:
            os.kill(process, signal.SIGCONT)
    assert [store.read(b"a" * 32) for _ in range(4)] == [record] * 4


def test_a_row_that_stays_locked_is_an_outage_of_that_row(maria_server: MariaServer) -> None:
    store = emptied(maria_server.url)
    store.create(b"a" * 32, new_record(), later(), None)
    holder = sa.create_engine(maria_server.url)
    with holder.begin() as connection:
        connection.execute(sa.update(store._sessions).values(expires=later()))
        quick: Any = open_store(maria_server.url, 5.0)
        with quick._runner.engine().connect() as session:
            session.exec_driver_sql("SET SESSION innodb_lock_wait_timeout=1")
        with pytest.raises(StoreUnavailable) as error:
            quick.delete(b"a" * 32)
        assert "locked" in str(error.value) or "in time" in str(error.value)
    holder.dispose()


def test_every_connection_in_use_is_an_outage(postgres_server: PostgresServer) -> None:
    emptied(postgres_server.url)
    store: Any = open_store(f"{postgres_server.url}?max_connections=1&timeout=0.2", 5.0)
    held = store._runner.engine().raw_connection()
    with pytest.raises(StoreUnavailable, match="every connection is in use"):
        store.read(b"a" * 32)
    held.close()
    assert store.read(b"a" * 32) is None


def test_a_forked_child_opens_connections_of_its_own(store: Any) -> None:
    read_in_forked_children(store)


def test_a_prefix_and_a_schema_name_other_tables(postgres_server: PostgresServer) -> None:
    engine = sa.create_engine(postgres_server.url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS shop"))
    store = emptied(f"{postgres_server.url}?prefix=web_&schema=shop")
    assert store.create(b"a" * 32, new_record(), later(), None)
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM shop.web_sessions")).scalar() == 1
    engine.dispose()


def test_alembic_finds_no_difference(store: Any) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store._runner.engine().connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    ours = [one for one in differences if "flask_fernet" in repr(one)]
    assert [one for one in ours if one[0] not in ("remove_table", "remove_index")] == []


def test_tables_are_made_once_for_each_metadata() -> None:
    own = sa.MetaData()
    assert tables(own) is not None
    assert tables(own).sessions is tables(own).sessions
    assert len(own.tables) == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "must name a file: sqlite:////"),
        ("sqlite:///:memory:", "must name a file: sqlite:////"),
        ("sqlite:///x.db?timeout=no", "timeout in SESSION_STORE must be a number"),
        ("postgresql+psycopg://u:geheim@h:port/db", "must be a valid URL"),
        ("postgresql+nothing://u:geheim@h/db", "a driver that SQLAlchemy does not have"),
        ("mysql+asyncmy://u:geheim@h/db", "needs the package 'asyncmy'|cannot be used"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        open_store(url, 1.0)
    assert "geheim" not in str(error.value)


def test_a_missing_sqlalchemy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "flask_fernet.stores.sql_urls")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'flask-fernet\[sql\]'"):
        open_store("sqlite:///x.db", 1.0)


class Broken:
    """A runner that raises errors before it works."""

    def __init__(self, runner: Any, *errors: Exception) -> None:
        self.runner = runner
        self.errors = list(errors)

    def run(self, statement: Any, values: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return self.runner.run(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)


class Deadlock(sqlite3.OperationalError):
    sqlstate = "40001"


class TestDetails:
    """What databases seldom do."""

    def test_a_deadlock_is_a_conflict(self, tmp_path: Path) -> None:
        store = emptied_sqlite(tmp_path)
        runner = store._runner
        record, newer = new_record(), new_record()
        store._runner = Broken(runner, Deadlock(), Deadlock())
        assert store.create(b"a" * 32, record, later(), None)
        store._runner = Broken(runner, Deadlock())
        assert store.replace(b"a" * 32, version_of(record), newer, None) == record
        store._runner = Broken(runner, Deadlock(), Deadlock())
        assert store.delete(b"a" * 32)
        store._runner = Broken(runner, *[Deadlock()] * 9)
        for method, *arguments in (
            ("read", b"a" * 32),
            ("delete", b"a" * 32),
            ("revoke", b"*", int(time.time()), 60),
        ):
            with pytest.raises(StoreUnavailable, match="the row is locked") as error:
                getattr(store, str(method))(*arguments)
            assert not error.value.is_outage

    def test_two_revocations_at_once_are_both_made(self, tmp_path: Path) -> None:
        store = emptied_sqlite(tmp_path)
        now, runner = int(time.time()), store._runner

        class Meanwhile(Broken):
            """Another host revokes between the query and the statement that follows it."""

            done = 0

            def run(self, statement: Any, values: Any) -> Any:
                if "SELECT" not in statement.text and self.done < 2:
                    self.done += 1
                    store._runner = runner
                    store.revoke(b"*", now, 60)
                    store._runner = self
                return super().run(statement, values)

        store._runner = Meanwhile(runner)
        assert store.revoke(b"*", now, 60) >= now + 2
        assert len(store.revoked_since(0)) == 1

        class Always(Meanwhile):
            def run(self, statement: Any, values: Any) -> Any:
                self.done = 0
                return super().run(statement, values)

        store._runner = Always(runner)
        with pytest.raises(StoreUnavailable, match="the row is locked"):
            store.revoke(b"*", now, 60)

    def test_long_listings_come_in_pages(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.stores.sql._PAGE", 2)
        store = emptied_sqlite(tmp_path)
        addresses = [bytes([number]) * 32 for number in range(7)]
        for address in addresses:
            store.create(address, new_record(), later(), None)
        assert list(store.addresses()) == addresses

    def test_checks_tell_of_rows_that_nobody_purges(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from flask_fernet.stores.protocol import StoreStatistics

        store = emptied_sqlite(tmp_path)
        monkeypatch.setattr(store, "statistics", lambda: StoreStatistics(5, 2000, None))
        assert "2000 expired sessions are not purged" in [c.message for c in store.check()][1]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("attempt to write a readonly database", "it cannot be written, only read"),
            ("database or disk is full", "its disk is full"),
        ],
    )
    def test_errors_of_the_disk_are_named(self, tmp_path: Path, text: str, problem: str) -> None:
        store = emptied_sqlite(tmp_path)
        store._runner = Broken(store._runner, sqlite3.OperationalError(text))
        with pytest.raises(StoreUnavailable, match=problem):
            store.read(b"a" * 32)

    def test_a_bug_is_no_outage(self, tmp_path: Path) -> None:
        store = emptied_sqlite(tmp_path)
        store._runner = Broken(store._runner, KeyError("a bug"))
        with pytest.raises(KeyError):
            store.read(b"a" * 32)

    def test_tables_that_cannot_be_made_are_an_outage(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = emptied_sqlite(tmp_path)

        def refuse(_: object) -> None:
            raise sa.exc.OperationalError("CREATE", {}, sqlite3.OperationalError("no right"))

        monkeypatch.setattr(store._metadata, "create_all", refuse)
        with pytest.raises(StoreUnavailable):
            store.create_tables()

    def test_a_shared_engine_survives_a_restart(self, postgres_server: PostgresServer) -> None:
        emptied(postgres_server.url)
        engine = sa.create_engine(postgres_server.url)
        store = SQLStore(engine)
        store.create(b"a" * 32, record := new_record(), later(), None)
        postgres_server.kill()
        postgres_server.start()
        assert store.read(b"a" * 32) == record
        postgres_server.kill()
        try:
            with pytest.raises(StoreUnavailable):
                store.read(b"a" * 32)
        finally:
            postgres_server.start()
        engine.dispose()

    def test_connections_of_a_parent_are_never_used(self, tmp_path: Path) -> None:
        from flask_fernet.stores import sql_urls

        store = emptied_sqlite(tmp_path)
        store.create(b"a" * 32, record := new_record(), later(), None)
        pool = store._runner.engine().pool
        sql_urls._after_fork_in_child()
        assert store._runner.engine().pool is not pool
        assert store.read(b"a" * 32) == record

    def test_prepared_statements_can_be_turned_off(self, postgres_server: PostgresServer) -> None:
        emptied(postgres_server.url)
        store: Any = open_store(f"{postgres_server.url}?prepare_threshold=0", 5.0)
        for _ in range(8):
            assert store.read(b"a" * 32) is None
        with store._runner.engine().raw_connection() as connection:
            assert connection.driver_connection.prepare_threshold is None


def test_a_flask_app_needs_no_greenlet(tmp_path: Path) -> None:
    """SQLAlchemy 2.1 does not bring it."""
    code = """
import sys
sys.modules["greenlet"] = None
from flask_fernet import ConfigurationError
from flask_fernet.stores.urls import open_async_store, open_store
store = open_store(sys.argv[1], 5)
store.create_tables()
print(store.read(bytes(32)))
try:
    open_async_store(sys.argv[1], 5)
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/sessions.db"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "None",
        "SESSION_STORE needs greenlet in a Quart app: pip install 'SQLAlchemy[asyncio]'.",
    ]


class TestTornConnection:
    """psycopg says "connection socket closed" when a socket fails while it waits, and keeps the
    connection, on which a command is in progress for ever.
    """

    @pytest.fixture
    def address(self, postgres_server: PostgresServer) -> bytes:
        address = os.urandom(32)
        emptied(postgres_server.url).create(address, new_record(), later(), None)
        return address

    @staticmethod
    def torn(waiting: Any) -> Any:
        """Sends what is to be sent, and returns what came back if nothing is to be waited for.

        :raises OperationalError: instead of waiting.
        """
        try:
            next(waiting)
        except StopIteration as done:
            return done.value
        raise psycopg.OperationalError("connection socket closed")

    def test_it_is_replaced(
        self, postgres_server: PostgresServer, address: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = open_store(postgres_server.url, 5.0)
        assert store.read(address) is not None
        with monkeypatch.context() as patches:
            patches.setattr(psycopg.Connection, "wait", lambda _, waiting: self.torn(waiting))
            with pytest.raises(StoreUnavailable):
                store.read(address)
        for _ in range(3):
            assert store.read(address) is not None

    def test_it_is_replaced_in_an_event_loop(
        self, postgres_server: PostgresServer, address: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = open_async_sql(postgres_server.url, 5.0)

        async def wait(_: object, waiting: Any, interval: float = 0.0) -> Any:
            return self.torn(waiting)

        async def read() -> None:
            assert await store.read(address) is not None
            with monkeypatch.context() as patches:
                patches.setattr(psycopg.AsyncConnection, "wait", wait)
                with pytest.raises(StoreUnavailable):
                    await store.read(address)
            for _ in range(3):
                assert await store.read(address) is not None
            await store.close()

        asyncio.run(read())
