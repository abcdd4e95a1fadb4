"""Pytest fixtures for apps with encrypted sessions.

Name this module in the ``conftest.py`` of your tests, and have a fixture ``app`` there, as
pytest-flask wants it too::

    pytest_plugins = ["flask_fernet.testing.plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from .tester import SessionTester


@pytest.fixture
def session_tester(app: Flask) -> Iterator[SessionTester]:
    """Reads and makes sessions of the app of the fixture ``app``, see :class:`SessionTester`. A
    time that the test has travelled to ends with the test.
    """
    with SessionTester(app) as tester:
        yield tester
