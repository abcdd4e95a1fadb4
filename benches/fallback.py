"""Fallback: open + save where a hook is overridden, in Python, and where a lifetime is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask
from flask.sessions import SecureCookieSessionInterface

from benches.cycle import open_and_save
from benches.interfaces import app
from benches.payloads import LOGIN
from flask_fernet import EncryptedSessionInterface

if TYPE_CHECKING:
    from benches.table import Table


class Hooked(EncryptedSessionInterface):
    """Overrides one hook, without effect."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return False


def measure(table: Table) -> None:
    """Two rows."""
    rows: dict[str, tuple[type[EncryptedSessionInterface], dict[str, Any]]] = {
        "a hook overridden": (Hooked, {}),
        "an absolute lifetime": (EncryptedSessionInterface, {"SESSION_ABSOLUTE_LIFETIME": 86400}),
    }
    for name, (interface, config) in rows.items():
        sides = {}
        for side, made in {
            "ours": interface(),
            "signed": SecureCookieSessionInterface(),
            "native": EncryptedSessionInterface(),
        }.items():
            one = app()
            if side == "ours":
                one.config.update(config)
            one.session_interface = made
            sides[side] = open_and_save(one, LOGIN)
        table.measure(f"open + save, Flask-Login, {name}", sides)
