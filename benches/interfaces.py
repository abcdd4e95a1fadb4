"""The session interfaces that are compared."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from flask import Flask, Request, Response
from flask.sessions import (
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
)

from flask_fernet import EncryptedSessionInterface

try:
    from flask_enciphers import EnciphersSession
except ImportError:
    EnciphersSession = None

SECRET = "the secret of the benchmarks"


class HandWritten(SecureCookieSessionInterface):
    """The interface of many articles: `cryptography` around Flask's own serializer."""

    fernet = Fernet(Fernet.generate_key())

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        token = request.cookies.get(self.get_cookie_name(app))
        if not token:
            return self.session_class()
        lifetime = int(app.permanent_session_lifetime.total_seconds())
        try:
            text = self.fernet.decrypt(token, ttl=lifetime).decode()
        except InvalidToken:
            return self.session_class()
        return self.session_class(self.serializer.loads(text))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session.accessed:
            response.vary.add("Cookie")
        if not session or not self.should_set_cookie(app, session):
            return
        token = self.fernet.encrypt(self.serializer.dumps(dict(session)).encode())
        response.set_cookie(
            self.get_cookie_name(app),
            token.decode(),
            expires=self.get_expiration_time(app, session),
            httponly=self.get_cookie_httponly(app),
            domain=self.get_cookie_domain(app),
            path=self.get_cookie_path(app),
            secure=self.get_cookie_secure(app),
            samesite=self.get_cookie_samesite(app),
        )
        response.vary.add("Cookie")


class HandWrittenJSON(HandWritten):
    """The same with plain JSON, which is cheaper and stores fewer types: Hush Line's, and that of
    flask-encrypted-cookies-session.
    """

    class serializer:
        dumps = staticmethod(json.dumps)
        loads = staticmethod(json.loads)


class DoesNothing(SessionInterface):
    """Opens the same plain dict each time and saves nothing: the cost of Flask alone."""

    class Session(dict, SessionMixin):  # type: ignore[type-arg]
        pass

    def __init__(self, data: dict[str, Any]) -> None:
        self.session = self.Session(data)

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self.session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        pass


def apps(data: dict[str, Any]) -> dict[str, Flask]:
    """One app per interface. flask-enciphers is left out if it cannot store the data."""
    made = {}
    interfaces: dict[str, Any] = {
        "ours": EncryptedSessionInterface,
        "signed": SecureCookieSessionInterface,
        "hand-written": HandWritten,
    }
    for name, interface in interfaces.items():
        made[name] = app()
        made[name].session_interface = interface()
    try:
        json.dumps(data)
    except TypeError:
        return made
    made["hand-written JSON"] = app()
    made["hand-written JSON"].session_interface = HandWrittenJSON()
    if EnciphersSession is not None:
        made["enciphers"] = app()
        made["enciphers"].config["ENCIPHERS_KEY"] = 2**100 + 12345
        EnciphersSession(made["enciphers"])
    return made


def app() -> Flask:
    """An app with a secret."""
    made = Flask("benches")
    made.secret_key = SECRET
    return made
