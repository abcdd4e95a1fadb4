"""Formats: `xaes-256-gcm` against `fernet`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches.cycle import open_and_save
from benches.interfaces import app
from benches.payloads import PAYLOADS
from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet._core import SessionKeys

if TYPE_CHECKING:
    from benches.table import Table


def measure(table: Table) -> None:
    """One row per payload, and the lengths of the tokens."""
    for name, data in PAYLOADS.items():
        sides = {}
        for side, format_ in {"ours": "xaes-256-gcm", "fernet": "fernet"}.items():
            made = app()
            made.config["SESSION_ENCRYPTION_FORMAT"] = format_
            made.session_interface = EncryptedSessionInterface()
            sides[side] = open_and_save(made, data)
        table.measure(f"xaes-256-gcm, {name}", sides)
    for size in (50, 100, 300, 1000):
        lengths = {
            format_.replace("-", "_"): len(
                SessionKeys([("key", Fernet.generate_key())], "", format_).seal(
                    bytes(size), 0, "session"
                )
            )
            for format_ in ("xaes-256-gcm", "fernet")
        }
        table.note(f"characters of a token over {size} bytes", **lengths)
