"""Tokens: `Fernet` against `cryptography` and `rfernet`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import cryptography.fernet
import rfernet

import flask_fernet

if TYPE_CHECKING:
    from benches.table import Table

KEY = flask_fernet.Fernet.generate_key()
SIZES = (32, 256, 1024, 3000, 65536)


def measure(table: Table) -> None:
    """One row per size and direction."""
    ours = flask_fernet.Fernet(KEY)
    crypto = cryptography.fernet.Fernet(KEY)
    other = rfernet.Fernet(KEY.decode())
    for size in SIZES:
        data = os.urandom(size)
        token = ours.encrypt(data)
        text = token.decode()
        table.measure(
            f"encrypt, {size} bytes",
            {
                "ours": partial(ours.encrypt, data),
                "cryptography": partial(crypto.encrypt, data),
                "rfernet": partial(other.encrypt, data),
            },
        )
        table.measure(
            f"decrypt, {size} bytes",
            {
                "ours": partial(ours.decrypt, token),
                "cryptography": partial(crypto.decrypt, token),
                "rfernet": partial(other.decrypt, text),
            },
        )
