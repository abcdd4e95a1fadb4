"""The stores of Quart's sessions pass the contracts of every store, on real servers."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import sqlalchemy as sa

from flask_fernet import ConfigurationError, StoreUnavailable
from flask_fernet.stores.async_redis import AsyncRedisStore
from flask_fernet.stores.async_sql import AsyncSQLStore
from flask_fernet.stores.by_loop import ByLoop
from flask_fernet.stores.memory import AsyncMemoryStore
from flask_fernet.stores.protocol import Replaced
from flask_fernet.stores.urls import open_async_store
from flask_fernet.testing import (
    BlockingStore,
    OwnedSessionsContract,
    RevocationsContract,
    StoreContract,
    new_record,
)
from tests.ports import free_port
from tests.quart.apps import run
from tests.servers import MariaServer, PostgresServer, RedisServer, running


class Contracts(StoreContract, OwnedSessionsContract, RevocationsContract):
    """What a store of Quart's sessions does. The command line works on the same store by its
    ordinary twin.
    """


class TestMemory(Contracts):
    @pytest.fixture
    def store(self) -> Iterator[BlockingStore]:
        with BlockingStore(AsyncMemoryStore()) as store:
            yield store


class TestRedis(Contracts):
    @pytest.fixture(scope="class")
    def store(self, redis_server: RedisServer) -> Iterator[BlockingStore]:
        with BlockingStore(open_async_store(redis_server.url, 5)) as store:
            yield store


class TestSQLite(Contracts):
    @pytest.fixture(scope="class")
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingStore]:
        path = tmp_path_factory.mktemp("sqlite") / "sessions.db"
        with BlockingStore(open_async_store(f"sqlite:///{path}", 10)) as store:
            store.create_tables()
            yield store


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
class TestPostgreSQL(Contracts):
    @pytest.fixture
    def store(self, postgres_server: PostgresServer, driver: str) -> Iterator[BlockingStore]:
        url = postgres_server.url.replace("postgresql+psycopg", f"postgresql+{driver}")
        with BlockingStore(open_async_store(url, 10)) as store:
            store.create_tables()
            yield store


class TestMariaDB(Contracts):
    @pytest.fixture(scope="class")
    def store(self, maria_server: MariaServer) -> Iterator[BlockingStore]:
        with BlockingStore(open_async_store(maria_server.url, 10)) as store:
            store.create_tables()
            yield store


def test_each_event_loop_has_connections_of_its_own(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """As in a suite of tests with one loop for each test."""
    address, record = b"l" * 32, new_record()
    for url in (redis_server.url, f"sqlite:///{tmp_path}/sessions.db"):
        store: Any = open_async_store(url, 5)

        async def use(store: Any = store) -> None:
            if hasattr(store, "create_tables"):
                await store.create_tables()
            await store.create(address, record, 2_000_000_000, None)
            assert await store.read(address) == record
            await store.close()

        for _ in range(3):
            asyncio.run(use())


def test_what_belongs_to_a_closed_loop_is_let_go() -> None:
    class Engine:
        pass

    engines = ByLoop(Engine)
    seen = []

    async def use() -> None:
        engine = engines.get()
        assert engines.get() is engine
        seen.append(weakref.ref(engine))

    for _ in range(10):
        asyncio.run(use())
    gc.collect()
    assert [one() is not None for one in seen] == [False] * 9 + [True]

    async def take() -> tuple[object, object]:
        engines.get()
        return engines.take(), engines.take()

    taken, after = asyncio.run(take())
    assert isinstance(taken, Engine)
    assert after is None


def test_a_server_that_restarts_is_found_again() -> None:
    with running(RedisServer) as server:
        store: Any = open_async_store(server.url, 5)

        async def main() -> None:
            record = new_record()
            await store.create(b"r" * 32, record, 2_000_000_000, None)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await store.read(b"r" * 32)
            server.start()
            assert await store.read(b"r" * 32) == record
            await store.close()

        run(main)


def test_a_client_whose_connections_are_all_in_use_says_so(redis_server: RedisServer) -> None:
    async def main() -> None:
        store: Any = open_async_store(f"{redis_server.url}?max_connections=1", 0.3)
        pool = store._transport._clients.get().connection_pool
        held = await pool.get_connection()
        with pytest.raises(StoreUnavailable, match="every connection is in use") as caught:
            await store.read(b"c" * 32)
        # The server is not away, so that others may go on asking.
        assert not caught.value.is_outage
        await pool.release(held)
        assert await store.read(b"c" * 32) is None
        await store.close()

    run(main)


def test_a_script_that_the_server_has_forgotten_is_sent_again(redis_server: RedisServer) -> None:
    async def main() -> None:
        store: Any = open_async_store(redis_server.url, 5)
        for owner in (None, b"o" * 16):
            address, record, newer = os.urandom(32), new_record(), new_record()
            await store.create(address, record, 2_000_000_000, owner)
            with redis_server.client() as client:
                client.script_flush()
            answer = await store.replace(address, record[13:37], newer, None)
            assert answer is Replaced.DONE
            assert await store.read(address) == newer
        await store.close()

    run(main)


def test_a_database_that_restarts_is_found_again(postgres_server: PostgresServer) -> None:
    store: Any = open_async_store(postgres_server.url, 5)

    async def main() -> None:
        await store.create_tables()
        address, record = b"d" * 32, new_record()
        await store.create(address, record, 2_000_000_000, None)
        # The pool's connection is closed by the server.
        engine = sa.create_engine(postgres_server.url)
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        engine.dispose()
        assert await store.read(address) == record
        assert await store.delete(address)
        await store.close()

    run(main)


@pytest.mark.parametrize("scheme", ["redis", "postgresql+psycopg", "postgresql+asyncpg"])
def test_nobody_waits_for_a_server_that_does_not_answer(scheme: str) -> None:
    async def main() -> None:
        # The kernel accepts the connection, and nobody answers.
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            store: Any = open_async_store(f"{scheme}://127.0.0.1:{port}/0", 0.3)
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await store.read(b"n" * 32)
            assert time.monotonic() - began < 5
            await store.close()

    run(main)


@pytest.mark.parametrize("scheme", ["redis", "postgresql", "mysql"])
def test_a_server_that_is_not_there_is_named(scheme: str) -> None:
    async def main() -> None:
        store: Any = open_async_store(f"{scheme}://127.0.0.1:{free_port()}/0", 2)
        with pytest.raises(StoreUnavailable) as caught:
            await store.read(b"n" * 32)
        assert caught.value.is_outage
        await store.close()

    run(main)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host/0?nonsense=1",
        "redis+sentinel://host:26379",
        "redis+cluster://host:7000/3",
        "postgresql+nodriver://host/db",
        "sqlite://",
        "memory://x",
        "ftp://host",
        "nothing",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SESSION_STORE"):
        open_async_store(url, 1)


def test_an_app_may_share_its_client_and_its_engine(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main() -> None:
        client = redis.asyncio.Redis(port=redis_server.port)
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/app.db")
        for store in (AsyncRedisStore(client, "shared:"), AsyncSQLStore(lambda: engine)):
            if isinstance(store, AsyncSQLStore):
                assert await store.create_tables()
                await store.require_tables()
            record = new_record()
            assert await store.create(b"s" * 32, record, 2_000_000_000, None)
            assert await store.read(b"s" * 32) == record
            # They are the app's, and stay open.
        assert await client.ping()
        await client.aclose()
        await engine.dispose()

    run(main)


def test_a_blocking_client_is_refused(redis_server: RedisServer) -> None:
    import redis as blocking

    with pytest.raises(TypeError, match=r"redis\.asyncio"):
        AsyncRedisStore(blocking.Redis(port=redis_server.port))
