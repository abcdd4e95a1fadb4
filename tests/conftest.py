"""Fixtures that several modules share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import settings

from flask_fernet import EncryptedSessionInterface, KeyRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.apps import RING_NAME, SECRET, MakeApp, add_views, encrypted_app
from tests.clock import Clock
from tests.leaks import secrets_in
from tests.servers import MariaServer, PostgresServer, RedisServer, running

# There is no deadline, because timing on a busy machine says nothing about correctness.
settings.register_profile(
    "default",
    deadline=None,
    # Fewer of them for tools that make Python many times slower.
    max_examples=int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "200")),
)
settings.load_profile("default")

#: The tests whose output had something secret in it.
_leaks: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Searches everything that a test printed or logged, in this process and in servers."""
    found = secrets_in("".join(text for _, text in report.sections))
    if found:
        _leaks.append(f"{report.nodeid}: {found}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _leaks:
        print("\nSomething secret was printed or logged:", *_leaks, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(params=["native", "fallback"])
def implementation(request: pytest.FixtureRequest) -> str:
    """The implementation of the interface that a test uses, ``native`` or ``fallback``."""
    return str(request.param)


@pytest.fixture
def make_app(implementation: str) -> MakeApp:
    """Makes an app with encrypted sessions for each implementation, see ``encrypted_app``."""
    return partial(encrypted_app, implementation=implementation)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with its own instance folder, as the command line loads it."""
    app = add_views(Flask(__name__, instance_path=str(tmp_path)))
    app.secret_key = SECRET
    app.session_interface = EncryptedSessionInterface()
    return app


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    """A key ring for sessions, made a while ago, in the place where ``ring_app`` looks for it."""
    ring = KeyRing(tmp_path / RING_NAME)
    ring.create(new_ring(SESSIONS, time.time() - 100))
    return ring


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until the test moves it."""
    return Clock(monkeypatch)


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
