"""Quart apps for the tests, and what is done with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from quart import Quart, session, websocket

from flask_fernet.quart import EncryptedSessionInterface
from tests.apps import SECRET


def quart_app(interface: Any = None, **config: Any) -> Quart:
    """A Quart app with encrypted sessions, or those of another interface."""
    app = Quart(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    if interface is None:
        interface = EncryptedSessionInterface(app)
    app.session_interface = interface

    @app.get("/set/<key>/<value>")
    async def set_value(key: str, value: str) -> str:
        session[key] = value
        return ""

    @app.get("/get/<key>")
    async def get_value(key: str) -> str:
        return repr(session.get(key))

    @app.get("/untouched")
    async def untouched() -> str:
        return "ok"

    @app.get("/permanent/<value>")
    async def permanent(value: str) -> str:
        session.permanent = True
        session["value"] = value
        return ""

    @app.get("/pop/<key>")
    async def pop(key: str) -> str:
        return repr(session.pop(key, None))

    @app.get("/clear")
    async def clear() -> str:
        session.clear()
        return ""

    @app.get("/keys")
    async def keys() -> str:
        return repr(sorted(session))

    @app.get("/has/<key>")
    async def has(key: str) -> str:
        return repr(key in session)

    @app.get("/fail")
    async def fail() -> str:
        session["lost"] = 1
        raise RuntimeError

    @app.websocket("/ws/<key>/<value>")
    async def ws(key: str, value: str) -> None:
        await websocket.accept()
        await websocket.send(repr(session.get(key)))
        session[key] = value

    @app.websocket("/ws/clear")
    async def ws_clear() -> None:
        await websocket.accept()
        await websocket.send("ok")
        session.clear()

    return app


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a coroutine in an event loop of its own."""
    asyncio.run(asyncio.wait_for(main(), 60))


async def text(client: Any, path: str) -> str:
    """The body of the response to a GET."""
    response = await client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    body: str = await response.get_data(as_text=True)
    return body


async def talk(client: Any, path: str) -> str:
    """The message that a WebSocket sends, once the server has closed it."""
    async with client.websocket(path) as opened:
        message: str = await opened.receive()
        # Until the handler has ended: its session is saved then.
        with_end = asyncio.ensure_future(opened.receive())
        await asyncio.wait([with_end], timeout=1)
        with_end.cancel()
    return message


def cookie_of(client: Any) -> str:
    """The session cookie that a client has."""
    (cookie,) = [one for one in client.cookie_jar if one.name == "session"]
    return str(cookie.value)
