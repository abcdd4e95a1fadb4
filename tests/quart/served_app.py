"""A Quart app for a real server. Its store is in ``QUART_STORE``."""

from __future__ import annotations

import asyncio
import os

from quart import Quart, websocket

from flask_fernet.quart import EncryptedSessionInterface, session
from tests.quart.apps import quart_app


def create_app() -> Quart:
    app = quart_app(SESSION_STORE=os.environ.get("QUART_STORE"))
    sessions = app.session_interface
    assert isinstance(sessions, EncryptedSessionInterface)

    @app.get("/pid")
    async def pid() -> str:
        return str(os.getpid())

    @app.get("/log-out-everywhere/<user>")
    async def log_out(user: str) -> str:
        return str(await sessions.revoke_user(user))

    @app.websocket("/listen/<kind>")
    async def listen(kind: str) -> None:
        await websocket.accept()
        session["heard"] = kind
        try:
            await websocket.receive()
        except asyncio.CancelledError:
            if kind == "aborted":
                raise
            if kind == "revoked":
                await session.revoke()

    return app


app = create_app()
