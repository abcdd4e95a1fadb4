"""What the tests of stored sessions share: apps, a store that remembers, and checks."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask, Response, request_finished, session
from flask.testing import FlaskClient

from flask_fernet import EncryptedSessionInterface, StoreUnavailable
from flask_fernet.stores.memory import MemoryStore
from flask_fernet.stores.protocol import SessionStore
from flask_fernet.testing import new_record
from tests.apps import SECRET, add_views

#: The type of the fixture ``make``.
MakeStoring = Callable[..., Flask]


class RecordingStore(MemoryStore):
    """Remembers the names of the methods that were called, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.is_away = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("read", "create", "replace", "delete", "owned", "revoke", "revoked_since"):
            if name != "revoked_since":
                self.asked.append(name)
            if self.is_away:
                raise StoreUnavailable(name, "it is away")
        return found

    def taken(self) -> list[str]:
        """What was asked since the last call, but for the look at the revocations."""
        asked, self.asked = self.asked, []
        return asked


def storing_app(
    store: object,
    implementation: str = "native",
    interface: EncryptedSessionInterface | None = None,
    **config: object,
) -> Flask:
    """An app with sessions in a store, and views that change them."""
    app = add_storing_views(Flask(__name__))
    app.config.update({"SECRET_KEY": SECRET, "SESSION_STORE": store, **config})
    interface = interface or EncryptedSessionInterface()
    if implementation == "fallback":
        interface._state.disable()
    interface.init_app(app)
    return app


def add_storing_views(app: Flask) -> Flask:
    """Adds the views of ``add_views`` and further ones."""
    add_views(app)

    @app.get("/login/<user>")
    def login(user: str) -> str:
        session["_user_id"] = user
        session.permanent = True
        return ""

    @app.get("/logout")
    def logout() -> str:
        session.pop("_user_id", None)
        return ""

    @app.get("/pop/<key>")
    def pop(key: str) -> str:
        return repr(session.pop(key, None))

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return ""

    @app.get("/append/<item>")
    def append(item: str) -> str:
        session.setdefault("list", []).append(item)
        return ""

    @app.get("/rejected")
    def rejected() -> str:
        return str(getattr(session, "rejected", None))

    @app.get("/regenerate")
    def regenerate() -> str:
        session.regenerate()  # type: ignore[attr-defined]
        return ""

    @app.get("/act")
    def act() -> str:
        return str(app.extensions["act"]())

    return app


def act(client: FlaskClient, view: Callable[[], object]) -> Any:
    """The response to a request whose view does something."""
    client.application.extensions["act"] = view
    return client.get("/act")


@contextlib.contextmanager
def failing_once_saved(app: Flask) -> Iterator[None]:
    """Makes the app's good responses fail when their sessions are saved: Flask answers with another
    response, and saves the session again.
    """

    def fail(sender: object, response: Response) -> None:
        if response.status_code == 200:
            raise RuntimeError

    with request_finished.connected_to(fail, app):
        yield


def cookie_of(client: FlaskClient, name: str = "session") -> str | None:
    """The value of a client's cookie."""
    cookie = client.get_cookie(name)
    return None if cookie is None else cookie.value


def with_cookie(app: Flask, value: str | None, name: str = "session") -> FlaskClient:
    """A client that has this cookie."""
    client = app.test_client()
    if value is not None:
        client.set_cookie(name, value)
    return client


def later() -> int:
    """An hour from now, in seconds since the epoch."""
    return int(time.time()) + 3600


def read_in_forked_children(store: SessionStore) -> None:
    """Assert that four forked children and their parent each read the records they ask for.

    A child that shared a connection with its parent would get the answers of others.
    """
    records = {bytes([number]) * 32: new_record() for number in range(1, 5)}
    for address, record in records.items():
        assert store.create(address, record, later(), None)
    children = []
    for address, record in records.items():
        child = os.fork()
        if not child:
            status = 1
            try:
                status = 0 if all(store.read(address) == record for _ in range(200)) else 1
            finally:  # A child that failed must not go on with the tests of its parent.
                os._exit(status)
        children.append(child)
    for _ in range(200):
        for address, record in records.items():
            assert store.read(address) == record
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
