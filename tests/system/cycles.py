"""Calls that are repeated to see whether memory grows: one cycle of each thing that an app does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask

from flask_fernet import EncryptedSessionInterface, Fernet, InvalidToken, MultiFernet
from flask_fernet._core import Codec
from tests.apps import SECRET
from tests.strategies import EVERYTHING


def refused(fernet: Any) -> None:
    try:
        fernet.decrypt(b"gAAAAABqsTeYAQ", ttl=5)
    except InvalidToken:
        return
    raise AssertionError


def sessions(cookie: str | None) -> Callable[[], object]:
    """Returns a call that opens the session of a cookie, or of a new one, and saves it."""
    app = Flask(__name__)
    app.secret_key = SECRET
    interface = app.session_interface = EncryptedSessionInterface()
    session: Any = interface.session_class(EVERYTHING)
    session.modified = True
    response = app.response_class()
    interface.save_session(app, session, response)
    header = cookie or response.headers["Set-Cookie"].partition(";")[0]
    environ = app.test_request_context(headers={"Cookie": header}).request.environ

    def call() -> None:
        opened: Any = interface.open_session(app, app.request_class(environ))
        opened["again"] = 1
        interface.save_session(app, opened, app.response_class())

    return call


def stored(use: str) -> Callable[[], object]:
    """Returns a call that opens and saves a stored session: read, changed, or left alone."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_STORE="memory://")
    interface = app.session_interface = EncryptedSessionInterface()
    session: Any = interface.session_class({"a": "x" * 2000, "list": [1, 2]})
    session.modified = True
    response = app.response_class()
    interface.save_session(app, session, response)
    header = response.headers["Set-Cookie"].partition(";")[0]
    environ = app.test_request_context(headers={"Cookie": header}).request.environ
    count = 0

    def call() -> None:
        nonlocal count
        count += 1
        opened: Any = interface.open_session(app, app.request_class(environ))
        if use == "change":
            opened["count"] = count
        elif use == "read":
            opened.get("a")
        interface.save_session(app, opened, app.response_class())

    return call


#: Makes the call of each.
CYCLES: dict[str, Callable[[], Callable[[], object]]] = {
    "sessions": lambda: sessions(None),
    "stored, untouched": lambda: stored("nothing"),
    "stored, read": lambda: stored("read"),
    "stored, changed": lambda: stored("change"),
    "refused sessions": lambda: sessions("session=gAAAAABqsTeYAQ"),
    "encrypt": lambda: partial(Fernet(Fernet.generate_key()).encrypt, b"x" * 100),
    "refused tokens": lambda: partial(refused, MultiFernet([Fernet(Fernet.generate_key())] * 2)),
    "keys": lambda: partial(Fernet, Fernet.generate_key()),
    "codec": lambda: partial(Codec().decode, Codec().encode(EVERYTHING) or b""),
}
