"""Fixtures that several modules share."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import settings

from flask_fernet import EncryptedSessionInterface, KeyRing
from flask_fernet.keys.ring import SESSIONS, new_ring
from tests.apps import RING_NAME, SECRET, MakeApp, add_views, encrypted_app
from tests.clock import Clock

# There is no deadline, because timing on a busy machine says nothing about correctness.
settings.register_profile("default", deadline=None, max_examples=200)
settings.load_profile("default")


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
