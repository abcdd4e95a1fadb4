"""Fixtures of the tests of stored sessions."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.storing import MakeStoring, RecordingStore, storing_app


@pytest.fixture
def store() -> RecordingStore:
    """A store that remembers what it was asked."""
    return RecordingStore()


@pytest.fixture
def make(store: RecordingStore, implementation: str) -> MakeStoring:
    """Makes apps with sessions in that store, for each implementation."""

    def make(interface: Any = None, **config: Any) -> Flask:
        return storing_app(store, implementation, interface, **config)

    return make


@pytest.fixture
def storing(make: MakeStoring) -> Flask:
    """An app with sessions in that store."""
    return make()
