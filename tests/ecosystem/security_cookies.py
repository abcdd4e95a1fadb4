"""Flask-Security's tests read the session cookie with a serializer that they make themselves. This
plugin gives them that of the app's interface instead, whichever it is.
"""

from __future__ import annotations

import importlib
from typing import Any

from flask import Flask


def serializer_of_cookies(secret: str, **_: Any) -> Any:
    """The serializer of the session cookies of an app with this secret."""
    app = Flask(__name__)
    app.secret_key = secret
    return app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]


def pytest_collection_finish() -> None:
    """Replaces the name in the module of the tests."""
    module: Any = importlib.import_module("tests.test_utils")
    module.URLSafeTimedSerializer = serializer_of_cookies
