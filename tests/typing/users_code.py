"""What an app with type hints does with this package: no cast, and nothing is ignored.

``assert_type`` fails in mypy and in pyright if an expression has another type.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Flask, current_app
from flask.sessions import SecureCookieSession
from quart import Quart
from typing_extensions import assert_type

from flask_fernet import (
    EncryptedSession,
    EncryptedSessionInterface,
    Fernet,
    KeyRing,
    MultiFernet,
    Reason,
    RegenerateMixin,
    SessionInfo,
    SessionStore,
    StoredMixin,
    session,
    session_rejected,
)
from flask_fernet import quart as encrypted_quart
from flask_fernet.stores.memory import MemoryStore
from flask_fernet.stores.protocol import Ownership, Replaced


class OwnSession(StoredMixin, RegenerateMixin, SecureCookieSession):
    pass


class OwnInterface(EncryptedSessionInterface):
    session_class = OwnSession

    def get_cookie_name(self, app: Flask) -> str:
        return "own"

    def merge_sessions(
        self, app: Flask, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> dict[str, Any]:
        return mine


class OwnStore:
    def read(self, address: bytes) -> bytes | None:
        return None

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        return True

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        return Replaced.DONE

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        return True


def note(app: Flask, reason: Reason, **_: object) -> None:
    assert_type(reason, Reason)


def create_app() -> Flask:
    app = Flask(__name__)
    app.session_interface = EncryptedSessionInterface()
    app.session_interface = OwnInterface(keys=[Fernet.generate_key()])
    sessions = EncryptedSessionInterface(app)
    store: SessionStore = OwnStore()
    app.config["SESSION_STORE"] = store or MemoryStore()
    session_rejected.connect(note, app)

    @app.get("/")
    def view() -> str:
        session["key"] = "value"
        session.regenerate()
        session.permanent = True
        assert_type(session.rejected, Reason | None)
        assert_type(session.handle, str | None)
        assert_type(session.revoke(), bool)
        assert_type(session, EncryptedSession)
        assert_type(sessions.list("1"), list[SessionInfo])
        assert_type(sessions.revoke_user(1, keep_current=True), int)
        return ""

    @app.get("/metrics")
    def metrics() -> dict[str, int]:
        found = EncryptedSessionInterface.of(current_app)
        assert_type(found, EncryptedSessionInterface)
        assert_type(found.store_events, dict[str, int])
        assert_type(found.migrations["cookie"].count, int)
        return found.rejections

    return app


def create_quart_app() -> Quart:
    app = Quart(__name__)
    app.session_interface = encrypted_quart.EncryptedSessionInterface()
    sessions = encrypted_quart.EncryptedSessionInterface(app)
    app.permanent_session_lifetime = timedelta(hours=1)

    @app.get("/")
    async def view() -> str:
        encrypted_quart.session.regenerate()
        assert_type(await encrypted_quart.session.revoke(), bool)
        assert_type(await sessions.revoke_user("1"), int)
        assert_type(await sessions.list("1"), list[SessionInfo])
        found = encrypted_quart.EncryptedSessionInterface.of(app)
        assert_type(found.rejections, dict[str, int])
        return ""

    return app


def tokens(keys: Sequence[bytes]) -> None:
    fernet = MultiFernet([Fernet(key) for key in keys])
    token = fernet.encrypt(b"data")
    assert_type(token, bytes)
    assert_type(fernet.decrypt(token.decode(), ttl=60), bytes)
    assert_type(KeyRing("data-keys.json").fernet().decrypt(token), bytes)
