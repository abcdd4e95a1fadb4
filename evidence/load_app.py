"""The app under load, for any WSGI server: ``evidence.load_app:create_app()``.

Four apps in one process, so that all are measured under the same conditions: sessions in our cookie
and in Redis, and beside them Flask's signed cookie and Flask-Session in the same Redis.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, session
from redis import Redis
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from benches.counting import add_views
from flask_fernet import EncryptedSessionInterface

#: What a session holds besides the count, as an app with Flask-Login and Flask-WTF keeps it.
CONTENTS = {"_user_id": "42", "_fresh": True, "_id": "f" * 128, "csrf_token": "c" * 40}


def _cookie(app: Flask) -> None:
    app.config["SESSION_ENCRYPTION_KEYRING"] = os.environ["LOAD_RING"]
    EncryptedSessionInterface(app)


def _redis(app: Flask) -> None:
    app.config.update(
        SESSION_ENCRYPTION_KEYRING=os.environ["LOAD_RING"], SESSION_STORE=os.environ["LOAD_REDIS"]
    )
    EncryptedSessionInterface(app)


def _signed(app: Flask) -> None:
    app.secret_key = "the secret of the app beside ours, under load"


def _flask_session(app: Flask) -> None:
    from flask_session import Session

    redis = Redis.from_url(os.environ["LOAD_REDIS"])
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis)
    Session(app)


#: By the path under which each is found, which also names its cookie.
SIDES: dict[str, Callable[[Flask], None]] = {
    "cookie": _cookie,
    "redis": _redis,
    "signed": _signed,
    "flask-session": _flask_session,
}


def _app(side: str) -> Flask:
    app = Flask(side)
    app.config.update(SESSION_COOKIE_NAME=side, SESSION_COOKIE_PATH="/")
    SIDES[side](app)

    @app.get("/login")
    def login() -> str:
        session.clear()
        session.update(CONTENTS)
        session.permanent = True
        return "0"

    return add_views(app)


def create_app() -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Serves each of the four apps under its path, or those that ``LOAD_SIDES`` names."""
    app = Flask("load")

    @app.get("/gil")
    def gil() -> str:
        return str(getattr(sys, "_is_gil_enabled", lambda: True)())

    sides = os.environ.get("LOAD_SIDES", ",".join(SIDES)).split(",")
    return DispatcherMiddleware(app, {f"/{side}": _app(side).wsgi_app for side in sides})
