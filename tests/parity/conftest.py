"""The frozen clock that both sides of a comparison share, and apps with both kinds of sessions."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_fernet import EncryptedSessionInterface
from flask_fernet.stores.memory import MemoryStore
from tests.apps import MakeApp, encrypted_app
from tests.clock import MID_SECOND, Clock


@pytest.fixture
def frozen(clock: Clock) -> None:
    """Freezes ``time.time`` and Flask's ``datetime.now`` with one clock."""
    clock.now = MID_SECOND
    clock.freeze_flask()


@pytest.fixture(params=["cookies", "stored"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the sessions of a test are, ``cookies`` or ``stored``."""
    return str(request.param)


@pytest.fixture
def make_placed(implementation: str, place: str) -> MakeApp:
    """Makes an app for each implementation, with sessions in cookies and with stored ones."""

    def make(interface: EncryptedSessionInterface | None = None, **config: Any) -> Flask:
        if place == "stored":
            # Flask renews a permanent session at each request.
            config = {"SESSION_STORE": MemoryStore(), "SESSION_REFRESH_AFTER": 0, **config}
        return encrypted_app(interface, implementation=implementation, **config)

    return make
