"""Apps with sessions, their views, and helpers that read their responses."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, make_response, request, session
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from werkzeug.wrappers import Response

from flask_fernet import EncryptedSessionInterface

SECRET = "a secret of more than sixteen bytes"
OTHER_SECRET = "another secret of more than sixteen bytes"
#: A time that is later than the issue time of any token, in seconds since the epoch.
FOREVER = 2**62
#: The file of the key ring of :func:`ring_app`, in the app's instance folder.
RING_NAME = "session-keys.json"

#: The type of the fixture ``make_app``.
MakeApp = Callable[..., Flask]


class NativeOnly(EncryptedSessionInterface):
    """An interface that fails the test if it falls back to Python."""

    def _open(self, *_: object) -> Any:
        raise AssertionError("opened by the fallback")

    def _save(self, *_: object) -> Any:
        raise AssertionError("saved by the fallback")


def encrypted_app(
    interface: EncryptedSessionInterface | None = None,
    *,
    implementation: str = "native",
    **config: object,
) -> Flask:
    """An app with encrypted sessions.

    :param implementation: ``"fallback"`` leaves every request to Python.
    """
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    interface = EncryptedSessionInterface() if interface is None else interface
    if implementation == "fallback":
        interface._state.disable()
    app.session_interface = interface
    return app


def signed_app(**config: object) -> Flask:
    """An app with Flask's own sessions and the views of :func:`add_views`."""
    app = add_views(Flask(__name__))
    app.config.update({"SECRET_KEY": SECRET, **config})
    # The app gets its own instance, because tests set hooks on it.
    app.session_interface = SecureCookieSessionInterface()
    return app


def ring_app(instance_path: Path, **config: object) -> Flask:
    """An app with views whose key ring is in its instance folder. It has not read the ring yet."""
    app = add_views(Flask(__name__, instance_path=str(instance_path)))
    app.config.update({"SESSION_ENCRYPTION_KEYRING": RING_NAME, **config})
    app.session_interface = EncryptedSessionInterface()
    return app


def started_ring_app(instance_path: Path, **config: object) -> Flask:
    """An app as :func:`ring_app` makes it, which has read its ring, as a starting worker does."""
    app = ring_app(instance_path, **config)
    EncryptedSessionInterface(app)
    return app


def secret_ring_app(instance_path: Path, **config: object) -> Flask:
    """An app as :func:`ring_app` makes it, with a secret that can wrap its ring."""
    return ring_app(instance_path, **{"TESTING": True, "SECRET_KEY": SECRET, **config})


def add_views(app: Flask) -> Flask:
    """Adds the views that most tests need: they read, write, or leave the session alone."""

    @app.get("/read")
    def read() -> str:
        return repr(dict(session))

    @app.get("/nothing")
    def nothing() -> str:
        return "nothing"

    @app.post("/write")
    def write() -> str:
        session.update(request.get_json())
        return ""

    @app.get("/public")
    def public() -> Any:
        response = make_response(repr(dict(session)))
        response.cache_control.public = True
        return response

    return app


def write(client: FlaskClient, **data: Any) -> str:
    """Puts data into the session and returns its token."""
    return token_of(set_cookie(client.post("/write", json=data)))


def deploy(workers: Sequence[Flask]) -> str:
    """Counts in one session while each worker replaces the one before it, and asserts that nothing
    of the count is lost. Returns the session's last token.

    :param workers: apps with the views, one for each step of the deploy.
    """
    cookie = write(workers[0].test_client(), count=0)
    count = 0
    for before, after in itertools.pairwise(workers):
        # Both workers answer in turn. The new one answers alone once the step is complete.
        for worker in (before, after, before, after, after):
            client = worker.test_client()
            client.set_cookie("session", cookie)
            assert client.get("/read").text == f"{{'count': {count}}}"
            count += 1
            cookie = write(client, count=count)
    return cookie


@contextlib.contextmanager
def quiet(app: Flask) -> Iterator[None]:
    """Logs no errors of an app meanwhile. Apps of one name share their logger."""
    app.logger.disabled = True
    try:
        yield
    finally:
        app.logger.disabled = False


def works(app: Flask) -> None:
    """Asserts that a session can be written and read back."""
    client = app.test_client()
    write(client, a=1)
    assert client.get("/read").text == "{'a': 1}"


def expiry_of(client: FlaskClient, name: str = "session") -> float:
    """When a client's cookie ends, in seconds since the epoch. It must be one that ends."""
    cookie = client.get_cookie(name)
    assert cookie is not None
    assert cookie.expires is not None
    return cookie.expires.timestamp()


def token_of(set_cookie: str) -> str:
    """Returns the value in a ``Set-Cookie`` header."""
    return set_cookie.partition("=")[2].partition(";")[0]


def set_cookie(response: Response) -> str:
    """Returns the ``Set-Cookie`` header of a response, which must have exactly one."""
    (header,) = response.headers.getlist("Set-Cookie")
    return header


def opened(app: Flask, token: str) -> tuple[bytes, int]:
    """Returns the payload and the issue time of a session token of this app."""
    keys = app.session_interface._policy(app).keys  # type: ignore[attr-defined]
    # No token is from the future at this time.
    name = app.session_interface.get_cookie_name(app)
    payload, issued_at, *_ = keys.open(token, FOREVER, FOREVER, name)
    return payload, issued_at


def readable(app: Flask, header: str) -> str:
    """Replaces the token in a ``Set-Cookie`` header with the contents of the token."""
    token = token_of(header)
    if not token:
        return header
    payload, issued_at = opened(app, token)
    return header.replace(token, f"<{issued_at} {payload!r}>")


def without_values(header: str) -> str:
    """Removes the value from a ``Set-Cookie`` header. Signed and encrypted ones share the rest."""
    return re.sub(r"^([^=]*)=[^;]+", r"\1=…", header)
