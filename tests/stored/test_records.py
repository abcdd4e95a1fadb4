"""Records, addresses and owner tags, against the vectors and the reader of the docs."""

from __future__ import annotations

import json
import pickle
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    SessionRejected,
)
from flask_fernet._core import RecordKeys, SessionKeys, read_reference, write_reference
from flask_fernet.stored.records import (
    address_of,
    handle_of,
    opened,
    owner_tags,
    tag_at,
    tags_to_find,
)
from flask_fernet.stores.memory import MemoryStore
from tests.apps import opened as opened_token
from tests.storing import cookie_of, storing_app

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/records.json").read_text())


def keys_of(*keys: str | bytes, salt: str = "cookie-session") -> RecordKeys:
    return RecordKeys(SessionKeys([("key", key) for key in keys], salt))


def reader() -> dict[str, Any]:
    """The reader in plain Python that docs/formats.md shows."""
    samples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/formats.md").read_text(), re.DOTALL)
    module: dict[str, Any] = {}
    for sample in samples:
        exec(sample, module)
    return module


@pytest.mark.parametrize("vector", VECTORS["records"], ids=lambda vector: vector["address"][:8])
def test_the_records_of_the_vectors_open(vector: dict[str, Any]) -> None:
    """Python only opens the vectors that Rust reads too, because it cannot choose a nonce."""
    keys = keys_of(vector["key"], salt=vector["salt"])
    raw = {
        name: urlsafe_b64decode(vector[name])
        for name in ("id", "address", "record", "payload", "generation", "nonce")
    }
    assert keys.address(raw["id"]) == raw["address"]
    snapshot = opened(keys, raw["address"], raw["record"])
    assert snapshot.generation == raw["generation"]
    assert (snapshot.created, snapshot.renewed_at) == (vector["created"], vector["renewed_at"])
    assert (snapshot.payload, snapshot.key) == (raw["payload"], 0)
    assert snapshot.version == raw["nonce"]


@pytest.mark.parametrize("vector", VECTORS["records"], ids=lambda vector: vector["address"][:8])
def test_the_reader_of_the_docs_reads_every_record(vector: dict[str, Any]) -> None:
    read = reader()["read_record"]
    record, address = (urlsafe_b64decode(vector[name]) for name in ("record", "address"))
    generation, created, payload = read(record, vector["key"], vector["salt"], address)
    assert generation == urlsafe_b64decode(vector["generation"])
    assert created == vector["created"]
    assert payload == urlsafe_b64decode(vector["payload"])


def test_the_reader_of_the_docs_reads_what_is_sealed_now() -> None:
    key = Fernet.generate_key()
    keys = keys_of(key)
    address = keys.address(bytes(32))
    record = keys.seal(address, b"12345678", 5, 6, b"{}")
    read = reader()["read_record"](record, key, "cookie-session", address)
    assert read == (b"12345678", 5, b"{}")


@pytest.mark.parametrize("vector", VECTORS["owners"], ids=lambda vector: vector["kind"])
def test_the_owner_tags_of_the_vectors(vector: dict[str, Any]) -> None:
    raw = urlsafe_b64decode(vector["user"])
    users: dict[str, Callable[[bytes], object]] = {
        "s": bytes.decode,
        "i": int,
        "u": lambda raw: UUID(bytes=raw),
    }
    user = users[vector["kind"]](raw)
    assert owner_tags(keys_of(vector["key"]), user) == [urlsafe_b64decode(vector["tag"])]


def test_the_references_of_the_vectors() -> None:
    for vector in VECTORS["references"]:
        both = urlsafe_b64decode(vector["id"]), urlsafe_b64decode(vector["generation"])
        assert write_reference(*both) == vector["payload"].encode()
        assert read_reference(vector["payload"].encode()) == both


def test_users_of_different_types_have_different_tags() -> None:
    keys = keys_of(Fernet.generate_key(), Fernet.generate_key())
    uuid = UUID(int=42)
    tags = [tuple(owner_tags(keys, user)) for user in (42, "42", uuid, str(uuid), "4")]
    assert len(set(tags)) == 5
    assert all(len(one) == 2 for one in tags)
    assert set(tags_to_find(keys, 42)) == {*tags[0], *tags[1]}
    assert tags_to_find(keys, "42") == list(tags[1])


@pytest.mark.parametrize("user", [True, 1.5, ["42"], b"42"])
def test_a_user_must_have_an_id_that_can_be_indexed(user: object) -> None:
    with pytest.raises(ConfigurationError, match="must hold str, int or UUID, not "):
        owner_tags(keys_of(Fernet.generate_key()), user)


def test_a_record_opens_under_its_key_and_at_its_address_only() -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    address = keys_of(old).address(bytes(32))
    record = keys_of(old).seal(address, bytes(8), 1, 2, b"{}")
    assert opened(keys_of(new, old), address, record).key == 1
    for keys, at in [
        (keys_of(new), address),
        (keys_of(old, salt="other"), address),
        (keys_of(old), keys_of(old).address(b"1" * 32)),
    ]:
        with pytest.raises(SessionRejected) as error:
            opened(keys, at, record)
        assert error.value.reason == "unauthentic"
    assert keys_of(new).may_be_newer(record)
    assert not keys_of(old).may_be_newer(record)
    for broken in (b"", b"\xa3" * 10, b"\xa1" + record[1:]):
        with pytest.raises(SessionRejected, match="malformed"):
            opened(keys_of(old), address, broken)


def test_an_address_is_a_hash_and_a_record_does_not_name_its_id() -> None:
    """Whoever reads the store cannot make the reference that a cookie holds."""
    store = MemoryStore()
    app = storing_app(store)
    client = app.test_client()
    client.post("/write", json={"_user_id": "1", "a": 1})
    payload, _ = opened_token(app, cookie_of(client) or "")
    reference = read_reference(payload)
    assert reference is not None
    (address,) = store.addresses()
    dump = pickle.dumps({name: value for name, value in vars(store).items() if "lock" not in name})
    assert address in dump
    salt = EncryptedSessionInterface.salt.encode()
    hashed = b"flask-fernet:address" + len(salt).to_bytes(4, "big") + salt + reference[0]
    assert address == sha256(hashed).digest()
    for part in reference:
        for spelling in (part, urlsafe_b64encode(part).rstrip(b"="), part.hex().encode()):
            assert spelling not in dump


def test_handles_name_addresses_and_nothing_else() -> None:
    address = bytes(range(32))
    handle = handle_of(address)
    assert len(handle) == 43
    assert address_of(handle) == address
    for wrong in ("", handle[:-1], handle + "A", handle[:-1] + "é", "!" * 43, None, 5, address):
        assert address_of(wrong) is None
    # Only one spelling names an address.
    assert sum(address_of(handle[:-1] + letter) == address for letter in "ABCDEFGHgh89_-") <= 1


def test_nobody_has_a_tag_under_any_key() -> None:
    assert [tag_at([], key) for key in (0, 1, 2)] == [None, None, None]
    assert [tag_at([b"new", b"old"], key) for key in (0, 1, 2)] == [b"new", b"old", None]
