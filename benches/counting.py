"""What the apps under load do: count in the session, and say what was counted."""

from __future__ import annotations

from flask import Flask, session


def add_views(app: Flask) -> Flask:
    """Adds both views."""

    @app.get("/")
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    @app.get("/read")
    def read() -> str:
        return str(session.get("count", 0))

    return app
