"""A key ring as JSON: the document keeps everything, and no error contains a key."""

from __future__ import annotations

import contextlib
import copy
import json
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_fernet import Fernet, KeyRing, KeyRingError
from flask_fernet._core import SessionKeys
from flask_fernet.keys.document import decode, encode
from flask_fernet.keys.ring import MAX_SECONDS, MAX_SERIAL, SESSIONS, Ring, new_ring
from flask_fernet.sessions.salts import FLASKS_SALT, bound_ring_key
from flask_fernet.times import LATEST
from tests.apps import SECRET
from tests.clock import NOW
from tests.keys.rings import events, lived


@given(happened=events, later=st.integers(-500, 1500))
def test_a_ring_survives_its_document(happened: list[tuple[str, int, int]], later: int) -> None:
    ring, now = lived(happened)
    assert decode(encode(ring)) == ring
    # The order of the keys in the document has no effect.
    document = json.loads(encode(ring))
    document["keys"].reverse()
    turned = decode(json.dumps(document))
    assert turned.opening(now + later) == ring.opening(now + later)


ANOTHER_KEY = Fernet.generate_key().decode()
#: What somebody may put in place of any part of a document.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from([1, 0, "", "2026-01-02T03:04:05Z", "9999-12-31T23:59:59Z", ANOTHER_KEY]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed_documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A document with up to four changes, and the keys that were in it."""
    document = json.loads(encode(lived(draw(events))[0]))
    keys = [key["key"] for key in document["keys"]]
    parts = [document, *document["keys"]]
    for _ in range(draw(st.integers(0, 4))):
        part = draw(st.sampled_from(parts))
        name = draw(st.sampled_from([*part, "salt"]))
        if draw(st.booleans()):
            part[name] = draw(anything)
        else:
            part.pop(name, None)
    if isinstance(document.get("keys"), list) and draw(st.booleans()):
        document["keys"].append(copy.deepcopy(draw(st.sampled_from(parts[1:]) | anything)))
    text = json.dumps(document)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 5)) :]
    return text, keys


def ring_or_error(text: str) -> Ring | KeyRingError:
    try:
        return decode(text)
    except KeyRingError as error:
        return error


@given(changed=changed_documents(), now=st.integers(NOW - 1000, NOW + 10**9))
def test_a_changed_document_is_a_ring_or_a_named_error(
    changed: tuple[str, list[str]], now: int
) -> None:
    text, keys = changed
    found = ring_or_error(text)
    assert not [key for key in keys if key in f"{found} {found!r}"]
    if isinstance(found, KeyRingError):
        assert found.__context__ is None
        return
    # A ring can be written again and used.
    assert decode(encode(found)) == found
    for key in found.keys:
        SessionKeys([(key.id, bound_ring_key(key, FLASKS_SALT))], FLASKS_SALT)
    revoke = partial(found.revoked, found.keys[0].id)
    for use in (found.primary, found.opening, found.next_change, found.pruned, revoke):
        with contextlib.suppress(KeyRingError):
            use(now)


def test_no_key_is_left_in_an_error() -> None:
    whole = encode(lived([])[0])
    for text in (whole[:-5], whole[:-5].encode() + b"\xff"):
        with pytest.raises(KeyRingError) as raised:
            decode(text)
        assert raised.value.__context__ is None


@pytest.mark.parametrize("damage", ["cut", "version", "times", "form", "long"])
def test_no_key_is_left_in_a_frame(tmp_path: Path, damage: str) -> None:
    """No local variable of a failed read holds a key, because crash reporters record them."""
    path = tmp_path / "ring.json"
    KeyRing(path).create(new_ring(SESSIONS, NOW))
    whole = path.read_text()
    (key,) = decode(whole).keys
    path.write_text(
        {
            "cut": whole[:-5],
            "version": whole.replace('"version": 1', '"version": 2'),
            "times": whole.replace("T", " "),
            "form": whole,
            "long": whole + " " * (1 << 20),
        }[damage]
    )
    secrets = [SECRET] if damage == "form" else None
    with pytest.raises(KeyRingError) as raised:
        # Without the removal of all frames of this package.
        KeyRing.load.__wrapped__(KeyRing(path, secrets=secrets))  # type: ignore[attr-defined]
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)][1:]
    assert frames
    for frame in frames:
        assert key.key not in repr(list(frame.f_locals.values()))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("[" * 200_000, "not valid JSON"),
        ('{"version": 1, "purpose": "sessions", "retention": 1' + "0" * 400 + "}", "retention"),
        ('{"version": 2}', "version"),
        ('{"version": 1}', "no valid purpose"),
        ('{"version": 1, "purpose": "sessions", "retention": "x"}', "retention"),
        ('{"version": 1, "purpose": "sessions", "retention": 5, "keys": {}}', "list of keys"),
        ('{"version": 1, "purpose": "sessions", "retention": 5, "keys": []}', "not revoked"),
        (
            '{"version": 1, "purpose": "sessions", "retention": 5, "keys": [{"key": "SECRET"}]}',
            "no valid id",
        ),
    ],
)
def test_documents_that_are_not_rings_are_refused(document: str, problem: str) -> None:
    with pytest.raises(KeyRingError, match=problem) as raised:
        decode(document)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": 5}, r"no valid id in keys\[0\]"),
        ({"id": ""}, r"no valid id in keys\[0\]"),
        ({"key": "SECRET"}, r"no valid key with its times in keys\[0\]"),
        ({"created": "yesterday"}, r"no valid key with its times in keys\[0\]"),
        ({"revoked": 5}, r"no valid key with its times in keys\[0\]"),
        ({"id": "same"}, "the same id"),
        ({"activates": "2026-01-02T03:04:05Z"}, "activated at the same time"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(change: dict[str, object], problem: str) -> None:
    ring = new_ring(SESSIONS, NOW)
    document = json.loads(encode(ring.rotated(NOW, activate_in=10)))
    for key in document["keys"]:
        key.update(change)
    with pytest.raises(KeyRingError, match=problem) as raised:
        decode(json.dumps(document))
    assert ring.keys[0].key not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"purpose": "a\x1b[31m"}, "printable"),
        ({"purpose": "a\nb"}, "printable"),
        ({"purpose": "\ud800"}, "printable"),
        ({"purpose": "a" * 101}, "1 to 100"),
        ({"purpose": ""}, "1 to 100"),
        ({"keys": [{"id": "a\x1b[31m"}]}, r"no valid id in keys\[0\]"),
        ({"retention": 8000 * 365 * 24 * 3600}, "retention"),
        ({"retention": MAX_SECONDS + 1}, "retention"),
        ({"retention": -1}, "retention"),
        ({"serial": -1}, "serial"),
        ({"serial": 1.5}, "serial"),
        ({"serial": True}, "serial"),
        ({"serial": 2**53}, "serial"),
    ],
)
def test_a_ring_that_could_not_be_shown_is_refused(change: dict[str, Any], problem: str) -> None:
    document = json.loads(encode(new_ring(SESSIONS, NOW)))
    with pytest.raises(KeyRingError, match=problem):
        decode(json.dumps({**document, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"retention": 0},
        {"retention": MAX_SECONDS},
        {"purpose": "a"},
        {"purpose": "a" * 100},
        {"serial": 0},
        {"serial": MAX_SERIAL},
    ],
)
def test_a_ring_at_the_bounds_is_read(change: dict[str, Any]) -> None:
    document = {**json.loads(encode(new_ring(SESSIONS, NOW))), **change}
    assert json.loads(encode(decode(json.dumps(document)))) == document


def test_a_ring_of_many_keys_is_read() -> None:
    ring = new_ring(SESSIONS, NOW)
    many = tuple(
        replace(
            ring.keys[0], id=str(number), key=Fernet.generate_key().decode(), activates=NOW + number
        )
        for number in range(300)
    )
    assert len(decode(encode(replace(ring, keys=many))).keys) == 300


def test_a_ring_without_a_serial_is_older_than_all_that_have_one() -> None:
    document = json.loads(encode(new_ring(SESSIONS, NOW)))
    del document["serial"]
    assert decode(json.dumps(document)).serial == 0


def test_a_key_may_be_as_old_as_the_epoch() -> None:
    document = json.loads(encode(new_ring(SESSIONS, NOW)))
    document["keys"][0]["created"] = "1970-01-01T00:00:00Z"
    assert decode(json.dumps(document)).keys[0].created == 0
    document["keys"][0]["created"] = "1969-12-31T23:59:59Z"
    with pytest.raises(KeyRingError, match=r"no valid key with its times in keys\[0\]"):
        decode(json.dumps(document))


def test_a_key_whose_retention_ends_after_the_year_9999_is_refused() -> None:
    ring = new_ring(SESSIONS, NOW)
    late = replace(ring.keys[0], activates=LATEST - ring.retention)
    decode(encode(replace(ring, keys=(late,))))
    late = replace(late, activates=late.activates + 1)
    with pytest.raises(KeyRingError, match=r"after the year 9999 in keys\[0\]"):
        decode(encode(replace(ring, keys=(late,))))


def test_a_key_under_two_ids_is_refused() -> None:
    """Revoking one of them would not end the other."""
    ring = new_ring(SESSIONS, NOW)
    twice = replace(ring.keys[0], id="other", activates=NOW + 5, revoked=NOW)
    with pytest.raises(KeyRingError, match="the same key under two ids"):
        decode(encode(replace(ring, keys=(*ring.keys, twice))))
    # Keys that are taken over may come twice, from SECRET_KEY and its fallbacks.
    assert len(new_ring(SESSIONS, NOW, former=[ring.keys[0].key] * 2).keys) == 1


def test_the_highest_serial_is_one_that_every_reader_of_json_holds_exactly() -> None:
    ring = replace(new_ring(SESSIONS, NOW), serial=2**53 - 1)
    assert decode(encode(ring)) == ring
    with pytest.raises(KeyRingError, match="serial"):
        decode(encode(replace(ring, serial=2**53)))
