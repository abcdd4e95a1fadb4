"""Policies: opening a session of one app among many, and under settings of unusual types."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask

from benches.interfaces import SECRET, app
from benches.payloads import LOGIN
from flask_fernet import EncryptedSessionInterface, KeyRing, new_ring

if TYPE_CHECKING:
    from benches.table import Table

#: Apps that one interface serves.
APPS = 100


def opening(made: Flask, interface: EncryptedSessionInterface) -> Callable[[], object]:
    """A call that opens a session."""
    made.session_interface = interface
    with made.test_request_context() as context:
        session: Any = interface.session_class(LOGIN)
        session.modified = True
        response = made.response_class()
        interface.save_session(made, session, response)
        environ = {
            **context.request.environ,
            "HTTP_COOKIE": response.headers["Set-Cookie"].partition(";")[0],
        }
    return partial(interface.open_session, made, made.request_class(environ))


def configured(**config: Any) -> Callable[[], object]:
    """The same, for an app of its own with these settings."""
    made = app()
    made.config.update(config)
    return opening(made, EncryptedSessionInterface())


def measure(table: Table) -> None:
    """One row per number of apps and per kind of setting; the other side has plain settings."""
    shared = EncryptedSessionInterface()
    calls = cycle([opening(app(), shared) for _ in range(APPS)])
    # Both sides take their call from an iterator.
    plain = cycle([configured()])
    table.measure(
        f"open, {APPS} apps under one interface",
        {"ours": lambda: next(calls)(), "one app": lambda: next(plain)()},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ring.json")
        KeyRing(path).create(new_ring("sessions", time.time()))
        named = configured(SESSION_ENCRYPTION_KEYRING=str(path))
        kinds = {
            "a Path": configured(SESSION_ENCRYPTION_KEYRING=path),
            "a KeyRing": configured(SESSION_ENCRYPTION_KEYRING=KeyRing(path)),
        }
        for kind, call in kinds.items():
            table.measure(f"open, key ring given as {kind}", {"ours": call, "as a str": named})
    accepted = configured(SESSION_ENCRYPTION_ACCEPT=["xaes-256-gcm"])
    for value in ({"xaes-256-gcm"}, frozenset({"xaes-256-gcm"}), ("xaes-256-gcm",)):
        call = configured(SESSION_ENCRYPTION_ACCEPT=value)
        name = f"open, SESSION_ENCRYPTION_ACCEPT given as a {type(value).__name__}"
        table.measure(name, {"ours": call, "as a list": accepted})
    call = configured(SECRET_KEY=bytearray(SECRET.encode()))
    table.measure("open, SECRET_KEY given as a bytearray", {"ours": call, "as a str": configured()})
