"""The sessions that are measured."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import sha512
from typing import Any

from flask_fernet import Fernet

LOGIN: dict[str, Any] = {
    "_user_id": "42",
    "_fresh": True,
    # As Flask-Login makes it; a text that repeats itself would be compressed better.
    "_id": sha512(b"127.0.0.1|a browser").hexdigest(),
    "csrf_token": "d5f1b4c26e8b6b4ff4b0b3fbd2a3ee7ec0a5c9ad",
    "_permanent": True,
}
CART = [
    {"sku": f"SKU-{n:05}", "name": f"Article number {n}", "price": 9.99 + n, "quantity": n % 3 + 1}
    for n in range(20)
]
PAYLOADS: dict[str, dict[str, Any]] = {
    "user id": {"user_id": 42},
    "the demo's": {
        "session_id": Fernet(Fernet.generate_key()).encrypt(b"42_ada_lovelace_1790000000")
    },
    "Flask-Login": LOGIN,
    "Flask-Login, datetime, tuple, bytes, flashes": {
        **LOGIN,
        "seen": datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc),
        "range": (1, 100),
        "digest": bytes(range(20)),
        "_flashes": [("message", "You were logged in."), ("info", "There is news.")],
    },
    "Flask-Login, cart of 20": {**LOGIN, "cart": CART},
}
