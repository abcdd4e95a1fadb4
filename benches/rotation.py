"""Rotation: opening with ten older keys, a token under the newest, against one key alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches.cycle import open_and_save
from benches.interfaces import app
from benches.payloads import LOGIN
from flask_fernet import EncryptedSessionInterface, Fernet

if TYPE_CHECKING:
    from benches.table import Table


def measure(table: Table) -> None:
    """One row."""
    newest = Fernet.generate_key()
    older = [Fernet.generate_key() for _ in range(10)]
    sides = {}
    for side, keys in {"ours": [newest, *older], "one key": [newest]}.items():
        made = app()
        made.session_interface = EncryptedSessionInterface(keys=keys)
        sides[side] = open_and_save(made, LOGIN)
    table.measure("open + save, Flask-Login, 11 keys", sides)
