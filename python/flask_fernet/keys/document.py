"""A key ring as it is kept: a JSON document."""

from __future__ import annotations

import json
from typing import Any

from .._core import SessionKeys
from ..errors import KeyRingError
from ..times import from_text, to_text
from .ring import MAX_SECONDS, Ring, RingKey


def encode(ring: Ring) -> str:
    """The ring as it is kept."""
    document = {
        "version": 1,
        "purpose": ring.purpose,
        "retention": ring.retention,
        "keys": [
            {
                "id": key.id,
                "key": key.key,
                "created": to_text(key.created),
                "activates": to_text(key.activates),
                "revoked": None if key.revoked is None else to_text(key.revoked),
            }
            for key in ring.keys
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def decode(text: str | bytes) -> Ring:
    """A ring as it was kept.

    :raises KeyRingError: for anything else. Says what is wrong, never shows a key.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = KeyRingError("The key ring is not JSON.")
    if isinstance(document, KeyRingError):
        # Raised out here: that error has the whole text with it.
        raise document
    problem = _invalid_because(document)
    if problem is not None:
        raise KeyRingError(f"The key ring {problem}.")
    keys = tuple(
        RingKey(
            id=key["id"],
            key=key["key"],
            created=from_text(key["created"]),
            activates=from_text(key["activates"]),
            revoked=None if key.get("revoked") is None else from_text(key["revoked"]),
        )
        for key in document["keys"]
    )
    return Ring(document["purpose"], document["retention"], keys)


def _invalid_because(document: Any) -> str | None:
    """What is wrong with a document."""
    if not isinstance(document, dict):
        return "is no JSON object"
    if document.get("version") != 1:
        return "is of a version that this release does not know"
    if not isinstance(document.get("purpose"), str):
        return "does not say what it is for"
    retention = document.get("retention")
    if type(retention) is not int or not 0 <= retention <= MAX_SECONDS:
        return "has no retention in whole seconds"
    keys = document.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return "has no list of keys"
    for position, key in enumerate(keys):
        if not isinstance(key.get("id"), str) or not key["id"]:
            return f"has an entry, number {position}, without an id"
        try:
            # The strict reader, which the session interface uses too.
            SessionKeys([(key["id"], key["key"])], [], b"")
            for name in ("created", "activates"):
                from_text(key[name])
            if key.get("revoked") is not None:
                from_text(key["revoked"])
        except (KeyError, TypeError, ValueError):
            return f"has an entry, number {position}, that is no key with its times"
    if len({key["id"] for key in keys}) != len(keys):
        return "has two keys with the same id"
    activations = [key["activates"] for key in keys if key.get("revoked") is None]
    if len(set(activations)) != len(activations):
        return "has two keys that are activated at the same time"
    if all(key.get("revoked") is not None for key in keys):
        return "has no key that is not revoked"
    return None
