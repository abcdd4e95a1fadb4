"""Rotation: opening with ten older keys, against one key alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benches.cycle import open_and_save
from benches.interfaces import app
from benches.payloads import LOGIN
from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet._core import SessionKeys
from flask_fernet.settings import ENCRYPTED_FORMATS

if TYPE_CHECKING:
    from benches.table import Table


def measure(table: Table) -> None:
    """Measures a session under the newest key, then a token under the oldest, in each format."""
    newest = Fernet.generate_key()
    older = [Fernet.generate_key() for _ in range(10)]
    sides = {}
    for side, keys in {"ours": [newest, *older], "one key": [newest]}.items():
        made = app()
        made.session_interface = EncryptedSessionInterface(keys=keys)
        sides[side] = open_and_save(made, LOGIN)
    table.measure("open + save, Flask-Login, 11 keys", sides)
    for format_ in ENCRYPTED_FORMATS:
        alone = SessionKeys([("oldest", older[-1])], "", format_)
        keys_: list[tuple[str, str | bytes]] = [
            (str(number), key) for number, key in enumerate([newest, *older])
        ]
        token = alone.seal(bytes(300), 0, "session")
        table.measure(
            f"open, {format_}, under the oldest of 11 keys",
            {
                "ours": partial(SessionKeys(keys_, "", format_).open, token, 0, 1, "session"),
                "one key": partial(alone.open, token, 0, 1, "session"),
            },
        )
