"""Resident memory does not grow over many calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from benches.memory import resident
from flask_fernet import EncryptedSessionInterface, Fernet, InvalidToken, MultiFernet
from flask_fernet._core import Codec
from tests.apps import SECRET
from tests.strategies import EVERYTHING

CALLS = 30_000
#: If each call leaked the smallest object, memory would grow by more than this.
ALLOWED = CALLS * 16


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


@pytest.mark.parametrize(
    "make",
    [
        lambda: sessions(None),
        lambda: stored("nothing"),
        lambda: stored("read"),
        lambda: stored("change"),
        lambda: sessions("session=gAAAAABqsTeYAQ"),
        lambda: partial(Fernet(Fernet.generate_key()).encrypt, b"x" * 100),
        lambda: partial(refused, MultiFernet([Fernet(Fernet.generate_key())] * 2)),
        lambda: partial(Fernet, Fernet.generate_key()),
        lambda: partial(Codec().decode, Codec().encode(EVERYTHING) or b""),
    ],
    ids=[
        "sessions",
        "stored, untouched",
        "stored, read",
        "stored, changed",
        "refused sessions",
        "encrypt",
        "refused tokens",
        "keys",
        "codec",
    ],
)
def test_memory_does_not_grow(make: Callable[[], Callable[[], object]]) -> None:
    call = make()
    for _ in range(2000):
        call()
    before = resident()
    for _ in range(CALLS):
        call()
    assert resident() - before < ALLOWED
