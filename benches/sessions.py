"""Sessions: open + save, against Flask's signed cookie, a hand-written one and flask-enciphers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask

from benches.interfaces import apps
from benches.payloads import PAYLOADS
from flask_fernet._core import Codec

if TYPE_CHECKING:
    from benches.table import Table


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
        # What werkzeug parsed is dropped, as a new request would not have it.
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


def measure(table: Table) -> None:
    """One row a payload; then the codec alone, against orjson without tags or sorting."""
    for name, data in PAYLOADS.items():
        sides = {side: open_and_save(app, data) for side, app in apps(data).items()}
        table.measure(f"open + save, {name}", sides)
    codec = Codec()
    for name, data in PAYLOADS.items():
        try:
            json.dumps(data)
        except TypeError:
            continue
        text = codec.encode(data)
        assert text is not None
        table.measure(
            f"codec reads, {name}",
            {
                "ours": partial(codec.decode, text),
                "orjson": partial(orjson.loads, text),
            },
        )
        table.measure(
            f"codec writes, {name}",
            {
                "ours": partial(codec.encode, data),
                "orjson": partial(orjson.dumps, data),
            },
        )
