"""Servers that the tests of a session share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import MariaServer, PostgresServer, RedisServer, running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server."""
    with running(RedisServer) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with running(PostgresServer) as server:
        yield server


@pytest.fixture(scope="session")
def maria_server() -> Iterator[MariaServer]:
    """A MariaDB server."""
    with running(MariaServer) as server:
        yield server
