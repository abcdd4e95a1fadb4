"""An app with Flask-Login whose sessions are in a store, or in the cookie if none is named, for
real servers: ``gunicorn tests.system.stored_app:create_app()``.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from flask import Flask, request, session
from flask_login import LoginManager, UserMixin, login_user, logout_user

from flask_fernet import EncryptedSessionInterface


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, id: str) -> None:
        self.id = id


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "the secret of the app with stored sessions"
    app.config.update(
        SESSION_STORE=os.environ.get("STORED_APP_STORE") or None,
        SESSION_STORE_ERRORS=os.environ.get("STORED_APP_ERRORS", "raise"),
        SESSION_ENCRYPTION_FORMAT=os.environ.get("STORED_APP_FORMAT", "fernet"),
        SESSION_ENCRYPTION_KEYRING=os.environ.get("STORED_APP_RING"),
    )
    if os.environ.get("STORED_APP_QUIET"):
        # Every request that the store does not answer would be an error in the log.
        logging.disable(logging.CRITICAL)
    sessions = EncryptedSessionInterface(app)
    logins = LoginManager(app)
    logins.user_loader(User)

    @app.get("/plain")
    def plain() -> str:
        return "ok"

    @app.get("/login/<user>")
    def login(user: str) -> str:
        login_user(User(user))
        return "in"

    @app.get("/logout")
    def logout() -> str:
        logout_user()
        return "out"

    @app.get("/read")
    def read() -> dict[str, Any]:
        return {"pid": os.getpid(), **dict(session.items())}

    @app.get("/set/<key>/<value>")
    def set_key(key: str, value: str) -> str:
        session.get(key)
        time.sleep(float(request.args.get("wait", 0)))
        session[key] = value
        return "set"

    @app.get("/revoke/<user>")
    def revoke(user: str) -> str:
        return str(sessions.revoke_user(user))

    return app
