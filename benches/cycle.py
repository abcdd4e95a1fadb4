"""A session opened and saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask


def open_and_save(app: Flask, data: dict[str, Any]) -> Callable[[], object]:
    """A call that opens a session from a request and saves it, changed, to a response."""
    interface = app.session_interface
    context = app.test_request_context()
    context.push()
    session: Any = interface.session_class(data)  # type: ignore[attr-defined]
    session.modified = True
    first = app.response_class()
    interface.save_session(app, session, first)
    environ = dict(context.request.environ)
    environ["HTTP_COOKIE"] = first.headers["Set-Cookie"].partition(";")[0]
    request_class, response_class = app.request_class, app.response_class
    assert dict(interface.open_session(app, request_class(environ)) or {}) == data
    request = request_class(environ)

    def call() -> None:
        # Drop what Werkzeug has parsed: a new request would not have it.
        request.__dict__.pop("cookies", None)
        opened: Any = interface.open_session(app, request)
        opened.accessed = True
        opened.modified = True
        response.headers.clear()
        interface.save_session(app, opened, response)

    response = response_class()
    context.pop()
    app.app_context().push()
    return call


def length(app: Flask, data: dict[str, Any]) -> int:
    """The number of characters of the session cookie's value."""
    interface: Any = app.session_interface
    response = app.response_class()
    with app.test_request_context():
        session = interface.session_class(data)
        session.modified = True
        interface.save_session(app, session, response)
    return len(response.headers["Set-Cookie"].partition("=")[2].partition(";")[0])
