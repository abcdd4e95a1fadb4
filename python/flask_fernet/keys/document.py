"""A key ring as JSON, and what makes a document invalid."""

from __future__ import annotations

import json
from typing import Any

from .._core import SessionKeys
from ..errors import KeyRingError
from ..times import LATEST, from_text, to_text
from .ring import MAX_SECONDS, MAX_SERIAL, Ring, RingKey

#: Maximum length of a ring's purpose, in characters.
MAX_PURPOSE = 100


def encode(ring: Ring) -> str:
    """The document of ``ring``: JSON, with times in UTC (ISO 8601). It holds the keys."""
    document = {
        "version": 1,
        "serial": ring.serial,
        "purpose": ring.purpose,
        "retention": ring.retention,
        "keys": [
            {
                "id": key.id,
                "key": key.key,
                "created": to_text(key.created),
                "activates": to_text(key.activates),
                "revoked": None if key.revoked is None else to_text(key.revoked),
                **({} if key.salt is None else {"salt": key.salt}),
            }
            for key in ring.keys
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def decode(text: str | bytes, where: str = "") -> Ring:
    """The ring of a document from :func:`encode`.

    :param where: the place of the ring, for the message: empty, or ``" at "`` and a path.
    :raises KeyRingError: if the document is invalid. The message says why and never shows a key.
    """
    ring = _ring_or_reason(text)
    if isinstance(ring, str):
        # Raise where nothing holds the document, keys included: not in an except block, because a
        # JSONDecodeError holds it and would become `__context__`; and not in a frame with a local
        # variable for it, because crash reporters record those.
        del text
        raise KeyRingError(f"The key ring{where} {ring}.")
    return ring


def _ring_or_reason(text: str | bytes) -> Ring | str:
    """The ring of a document; or why it is invalid, as the end of a sentence about the ring."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "is not valid JSON"
    reason = _invalid_because(document)
    if reason is not None:
        return reason
    keys = tuple(
        RingKey(
            id=key["id"],
            key=key["key"],
            created=from_text(key["created"]),
            activates=from_text(key["activates"]),
            revoked=None if key.get("revoked") is None else from_text(key["revoked"]),
            salt=key.get("salt"),
        )
        for key in document["keys"]
    )
    return Ring(document["purpose"], document["retention"], keys, document.get("serial", 0))


def _invalid_because(document: Any) -> str | None:
    """Why a document is invalid; ``None`` if it is valid."""
    if not isinstance(document, dict):
        return "is not a JSON object"
    if document.get("version") != 1:
        return "has a version that this release does not know"
    serial = document.get("serial", 0)
    if type(serial) is not int or not 0 <= serial <= MAX_SERIAL:
        return f"has no valid serial: it must be a whole number from 0 to {MAX_SERIAL}"
    purpose = document.get("purpose")
    if not (
        isinstance(purpose, str) and purpose.isprintable() and 1 <= len(purpose) <= MAX_PURPOSE
    ):
        return f"has no valid purpose: it must be 1 to {MAX_PURPOSE} printable characters"
    retention = document.get("retention")
    if type(retention) is not int or not 0 <= retention <= MAX_SECONDS:
        return f"has no valid retention: it must be from 0 to {MAX_SECONDS} whole seconds"
    keys = document.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return "has no list of keys"
    for position, key in enumerate(keys):
        identifier = key.get("id")
        if not (isinstance(identifier, str) and identifier and identifier.isprintable()):
            return f"has no valid id in keys[{position}]"
        try:
            # The same strict reader of keys that the session interface uses.
            SessionKeys([(identifier, key["key"])], b"")
            if from_text(key["created"]) < 0 or not isinstance(key.get("salt", ""), str):
                return f"has no valid key with its times in keys[{position}]"
            if from_text(key["activates"]) + retention > LATEST:
                return f"has a time after the year 9999 in keys[{position}]"
            if key.get("revoked") is not None:
                from_text(key["revoked"])
        except (KeyError, TypeError, ValueError):
            return f"has no valid key with its times in keys[{position}]"
    if len({key["id"] for key in keys}) != len(keys):
        return "has two keys with the same id"
    if len({key["key"] for key in keys}) != len(keys):
        # Revoking one of them would not end the other.
        return "has the same key under two ids"
    activations = [key["activates"] for key in keys if key.get("revoked") is None]
    if len(set(activations)) != len(activations):
        return "has two keys that are activated at the same time"
    if all(key.get("revoked") is not None for key in keys):
        return "has no key that is not revoked"
    return None
