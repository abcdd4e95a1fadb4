"""Interfaces that people wrote themselves, and ours: cookies open in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from flask_fernet import EncryptedSessionInterface
from tests.apps import MakeApp, add_views, deploy
from tests.oracles import OracleFernet, OracleInvalidToken

KEY = OracleFernet.generate_key()


class HandWritten(SecureCookieSessionInterface):
    """`cryptography` around a serializer, as Hush Line and many articles have it."""

    fernet = OracleFernet(KEY)
    #: Plain JSON; Flask's serializer is the other choice.
    dumps: Any = staticmethod(json.dumps)
    loads: Any = staticmethod(json.loads)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        token = request.cookies.get(self.get_cookie_name(app), "")
        lifetime = int(app.permanent_session_lifetime.total_seconds())
        try:
            return self.session_class(self.loads(self.fernet.decrypt(token, ttl=lifetime).decode()))
        except (OracleInvalidToken, ValueError):
            return self.session_class()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session and self.should_set_cookie(app, session):
            token = self.fernet.encrypt(self.dumps(dict(session)).encode()).decode()
            response.set_cookie(self.get_cookie_name(app), token)


class Tagged(HandWritten):
    """The same with Flask's serializer."""

    dumps = SecureCookieSessionInterface.serializer.dumps
    loads = SecureCookieSessionInterface.serializer.loads


@pytest.mark.parametrize("interface", [HandWritten, Tagged])
def test_a_rolling_deploy_in_either_direction_loses_nothing(
    make_app: MakeApp, interface: type[HandWritten]
) -> None:
    theirs = add_views(Flask(__name__))
    theirs.session_interface = interface()
    ours = add_views(make_app(EncryptedSessionInterface(keys=[KEY])))
    deploy([theirs, ours, theirs])
