"""An app with Flask's sessions and one with ours, and the requests that both answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, make_response, session, stream_with_context
from flask.json.tag import JSONTag
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient

from flask_fernet import EncryptedSessionInterface
from tests.apps import SECRET, MakeApp, add_views, without_values
from tests.oracles import release
from tests.strategies import EVERYTHING


def add_compared_views(app: Flask) -> None:
    """Adds the views whose responses are compared. Each does something different to a session or
    to a response.
    """
    add_views(app)

    @app.get("/items")
    def items() -> str:
        return repr(sorted(session.items(), key=repr))

    @app.get("/write/<value>")
    def write_value(value: str) -> str:
        session["value"] = value
        return "written"

    @app.get("/permanent/<int:flag>")
    def permanent(flag: int) -> str:
        session.permanent = bool(flag)
        return "set"

    @app.get("/nested")
    def nested() -> str:
        session.setdefault("list", []).append(1)
        return repr(session["list"])

    @app.get("/pop")
    def pop() -> str:
        return repr(session.pop("value", None))

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return "cleared"

    @app.get("/everything")
    def everything() -> str:
        session.update(EVERYTHING)
        return "written"

    @app.get("/vary/<value>")
    def vary(value: str) -> Response:
        session.get("value")
        response = make_response("varies")
        response.headers["Vary"] = value
        return response

    @app.get("/vary-and-write/<value>")
    def vary_and_write(value: str) -> Response:
        session["value"] = value
        response = make_response("varies")
        response.vary.update(["Accept", value])
        return response

    @app.get("/cookie")
    def other_cookie() -> Response:
        session["value"] = "with another"
        response = make_response("two cookies")
        response.set_cookie("other", "…")
        return response

    @app.get("/stream")
    def stream() -> Response:
        session["value"] = "streamed"

        def generate() -> Any:
            yield repr(sorted(session.items(), key=repr))

        return Response(stream_with_context(generate()))

    @app.get("/error")
    def error() -> str:
        session["value"] = "before the error"
        raise KeyError("error")


PATHS = [
    "/items", "/nothing", "/write/a", "/write/é", "/permanent/1", "/permanent/0", "/nested", "/pop",
    "/clear", "/everything", "/vary/Cookie", "/vary/cookie", "/vary/Accept-Encoding", "/vary/*",
    "/vary/accept, cookie", '/vary/"odd", x', "/vary-and-write/Cookie", "/vary-and-write/X",
    "/cookie", "/error", "/missing",
]  # fmt: skip
if release("Flask") >= (3, 1, 2):
    # Before, Flask itself leaves the context of such a response behind.
    PATHS.append("/stream")


class Pair:
    """An app with Flask's sessions and one with ours."""

    def __init__(self, make_app: MakeApp, interface: type | None = None, **config: Any) -> None:
        self.signed = Flask(__name__)
        self.signed.config.update({"SECRET_KEY": SECRET, **config})
        # The app gets its own instance, because tests set hooks on it.
        self.signed.session_interface = SecureCookieSessionInterface()
        mine: Any = EncryptedSessionInterface
        if interface is not None:
            self.signed.session_interface = type(
                "Signed", (interface, SecureCookieSessionInterface), {}
            )()
            mine = type("Encrypted", (interface, EncryptedSessionInterface), {})
        self.encrypted = make_app(mine(), **config)
        self.apps = (self.signed, self.encrypted)

    def both(self, change: Callable[[Flask], Any]) -> None:
        """Makes the same change to both apps."""
        for app in self.apps:
            change(app)

    def clients(self) -> tuple[FlaskClient, FlaskClient]:
        """Adds the views to both apps and returns a client of each."""
        self.both(add_compared_views)
        return self.signed.test_client(), self.encrypted.test_client()


def seen(client: FlaskClient, path: str, **options: Any) -> Any:
    """Returns the response to a request, with every session token blanked."""
    response = client.get(path, **options)
    headers = [
        (name, without_values(value) if name == "Set-Cookie" else value)
        for name, value in response.headers
    ]
    return response.status_code, response.text, headers


def compare(pair: Pair, paths: list[str], **options: Any) -> None:
    """Asserts that both apps answer each request alike."""
    signed, encrypted = pair.clients()
    for path in paths:
        assert seen(encrypted, path, **options) == seen(signed, path, **options), path


class ComplexTag(JSONTag):
    __slots__ = ()
    key = " c"

    def check(self, value: Any) -> bool:
        return isinstance(value, complex)

    def to_json(self, value: Any) -> Any:
        return [value.real, value.imag]

    def to_python(self, value: Any) -> Any:
        return complex(*value)
