"""The views of the apps under load: one counts in the session, one reads the count."""

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
