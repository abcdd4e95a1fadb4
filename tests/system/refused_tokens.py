"""Tokens that are wrong in one place, whose instructions ``test_instructions.py`` compares."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from functools import partial

from benches.instructions import run_marked
from flask_fernet import Fernet, SessionRejected
from flask_fernet._core import SessionKeys
from tests.clock import NOW
from tests.oracles import fernet_token_of_blocks

PAYLOAD = b'{"_user_id":"42","_fresh":true}' * 3
KEY = Fernet.generate_key()
#: How often each is opened.
TIMES = 20


def flipped(token: str, at: int) -> str:
    """A token with one bit of one byte changed."""
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[at] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


def padded(key: bytes, text: bytes, padding: bytes) -> str:
    """A Fernet token with any padding, under a right MAC."""
    return fernet_token_of_blocks(key, text + padding, NOW).decode()


def opened(keys: SessionKeys, token: str) -> None:
    """Opens a token, and does nothing if it is refused."""
    with contextlib.suppress(SessionRejected):
        keys.open(token, NOW, 60, "session")


def refused() -> dict[str, dict[str, Callable[[], object]]]:
    """Openings of tokens, by what they have in common, and by what is wrong. Nothing may tell those
    with something in common apart.
    """
    found: dict[str, dict[str, Callable[[], object]]] = {}
    for kind, header in (("fernet", 25), ("xaes-256-gcm", 37)):
        keys = SessionKeys([("key", KEY)], "salt", kind)
        token = keys.seal(PAYLOAD, NOW, "session")
        length = len(base64.urlsafe_b64decode(token))
        # Behind the version, the hint, the time and the nonce: the text, and the MAC.
        found[f"{kind}: a byte"] = {
            str(at): partial(opened, keys, flipped(token, at)) for at in range(header, length, 3)
        }
        old = keys.seal(PAYLOAD, NOW - 10**6, "session")
        found[f"{kind}: a forgery"] = {
            "new": partial(opened, keys, flipped(token, -1)),
            "old": partial(opened, keys, flipped(old, -1)),
        }
    keys = SessionKeys([("key", KEY)], "salt", "fernet")
    paddings = [bytes(16), b"\x0f" + b"\x10" * 15, b"\x10" * 15 + b"\x11", b"\x01" * 15 + b"\x02"]
    found["fernet: padding under a right MAC"] = {
        padding.hex(): partial(opened, keys, padded(KEY, b"x" * 96, padding))
        for padding in paddings
    }
    return found


if __name__ == "__main__":
    openings = [opening for group in refused().values() for opening in group.values()]
    run_marked([*openings, *reversed(openings)], times=TIMES)
