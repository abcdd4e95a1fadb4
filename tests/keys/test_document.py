"""A key ring as JSON: it keeps everything, and says what is wrong without a key."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_fernet import KeyRingError
from flask_fernet.keyring import SESSIONS, Ring, new_ring
from tests.clock import NOW
from tests.keys.rings import events, lived


@given(happened=events, later=st.integers(-500, 1500))
def test_a_ring_survives_its_document(happened: list[tuple[str, int, int]], later: int) -> None:
    ring, now = lived(happened)
    assert Ring.from_json(ring.to_json()) == ring
    # A pure function: the order in the document decides nothing.
    document = json.loads(ring.to_json())
    document["keys"].reverse()
    turned = Ring.from_json(json.dumps(document))
    assert turned.opening(now + later) == ring.opening(now + later)


def test_no_key_is_left_in_an_error() -> None:
    whole = lived([])[0].to_json()
    for text in (whole[:-5], whole[:-5].encode() + b"\xff"):
        with pytest.raises(KeyRingError) as raised:
            Ring.from_json(text)
        assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("[" * 200_000, "not JSON"),
        ('{"version": 1, "purpose": "sessions", "retention": 1' + "0" * 400 + "}", "retention"),
        ('{"version": 2}', "version"),
        ('{"version": 1}', "what it is for"),
        ('{"version": 1, "purpose": "sessions", "retention": "x"}', "retention"),
        ('{"version": 1, "purpose": "sessions", "retention": 5, "keys": {}}', "list of keys"),
        ('{"version": 1, "purpose": "sessions", "retention": 5, "keys": []}', "not revoked"),
        (
            '{"version": 1, "purpose": "sessions", "retention": 5, "keys": [{"key": "SECRET"}]}',
            "number 0",
        ),
    ],
)
def test_documents_that_are_not_rings_are_refused(document: str, problem: str) -> None:
    with pytest.raises(KeyRingError, match=problem) as raised:
        Ring.from_json(document)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": 5}, "without an id"),
        ({"id": ""}, "without an id"),
        ({"key": "SECRET"}, "no key with its times"),
        ({"created": "yesterday"}, "no key with its times"),
        ({"revoked": 5}, "no key with its times"),
        ({"id": "same"}, "the same id"),
        ({"activates": "2026-01-02T03:04:05Z"}, "activated at the same time"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(change: dict[str, object], problem: str) -> None:
    ring = new_ring(SESSIONS, NOW)
    document = json.loads(ring.rotated(NOW, activate_in=10).to_json())
    for key in document["keys"]:
        key.update(change)
    with pytest.raises(KeyRingError, match=problem) as raised:
        Ring.from_json(json.dumps(document))
    assert ring.keys[0].key not in str(raised.value)
    assert raised.value.__context__ is None
