"""Fixtures that several modules share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import settings

from flask_fernet import EncryptedSessionInterface
from tests.apps import SECRET

# Timing on a busy machine says nothing about correctness.
settings.register_profile("default", deadline=None, max_examples=200)
settings.load_profile("default")

MakeApp = Callable[..., Flask]


@pytest.fixture(params=["native", "portable"])
def path(request: pytest.FixtureRequest) -> str:
    """Which of the two implementations of the interface a test goes through."""
    return str(request.param)


@pytest.fixture
def make_app(path: str) -> MakeApp:
    """Makes an app with encrypted sessions, through the native path and through Python."""

    def make(interface: EncryptedSessionInterface | None = None, **config: object) -> Flask:
        app = Flask(__name__)
        app.config.update({"SECRET_KEY": SECRET, **config})
        interface = EncryptedSessionInterface() if interface is None else interface
        if path == "portable":
            interface._state.leave_to_python()
        app.session_interface = interface
        return app

    return make
