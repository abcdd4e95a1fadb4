"""Finds keys, session cookies, ids and contents in what tests print and log."""

from __future__ import annotations

import re

from tests.apps import SECRET
from tests.strategies import FLASK_LOGIN

#: 32 bytes as base64 with padding: a key. A handle has no padding, and may be shown.
_KEY = re.compile(r"(?<![\w=-])[\w-]{43}=(?![\w=])")
#: The tokens of both formats, and Flask's signed cookies.
_TOKEN = re.compile(
    r"(?<![\w-])(gAAAAA|o[Q-Za-f])[\w-]{60,}|(?<![\w.-])\.?eJ[\w-]{20,}\.[\w-]{6}\.[\w-]{27}"
)
#: What tests put into sessions, and their secret.
_TEXTS = [SECRET, str(FLASK_LOGIN["_id"]), str(FLASK_LOGIN["csrf_token"])]


def secrets_in(text: str) -> str | None:
    """The first secret in a text, shortened; ``None`` if there is none."""
    for pattern in (_KEY, _TOKEN):
        found = pattern.search(text)
        if found is not None:
            return f"{found.group(0)[:12]}…"
    return next((f"{one[:12]}…" for one in _TEXTS if one in text), None)
