"""Apps with stored sessions, and a store that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, session
from flask.testing import FlaskClient

from flask_fernet import EncryptedSessionInterface, StoreUnavailable
from flask_fernet.stores.memory import MemoryStore
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
