"""Fixtures that several modules share."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import settings

from tests.apps import MakeApp, encrypted_app
from tests.clock import Clock

# Timing on a busy machine says nothing about correctness.
settings.register_profile("default", deadline=None, max_examples=200)
settings.load_profile("default")


@pytest.fixture(params=["native", "fallback"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Which of the two implementations of the interface a test goes through."""
    return str(request.param)


@pytest.fixture
def make_app(implementation: str) -> MakeApp:
    """Makes an app with encrypted sessions, natively and in Python: see ``encrypted_app``."""
    return partial(encrypted_app, implementation=implementation)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until the test moves it."""
    return Clock(monkeypatch)
