"""Requests: a whole WSGI request that reads and writes its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, session
from werkzeug.test import EnvironBuilder

from benches.interfaces import DoesNothing, app, apps
from benches.payloads import LOGIN

if TYPE_CHECKING:
    from benches.table import Table


def request(app: Flask, data: dict[str, Any]) -> Callable[[], object]:
    """A call that makes one request to an app, as a server would."""

    @app.get("/login")
    def login() -> str:
        session.update(data)
        return ""

    @app.get("/")
    def view() -> str:
        session["count"] = session.get("count", 0) + 1
        return "hello"

    header = app.test_client().get("/login").headers.get("Set-Cookie", "")
    environ = EnvironBuilder(path="/", headers=[("Cookie", header.partition(";")[0])]).get_environ()

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        assert status == "200 OK"

    def call() -> None:
        body = app.wsgi_app(dict(environ), start_response)
        b"".join(body)

    return call


def measure(table: Table) -> None:
    """One row with every interface, and one that does nothing."""
    made = apps(LOGIN)
    nothing = app()
    nothing.session_interface = DoesNothing(LOGIN)
    made["nothing"] = nothing
    table.measure(
        "WSGI request, Flask-Login session",
        {side: request(app, LOGIN) for side, app in made.items()},
    )
