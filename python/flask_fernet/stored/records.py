"""Records, sealed and opened, and the tags of users."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from .._core import RecordKeys
from ..errors import ConfigurationError
from ..stores.protocol import version_of

#: Bytes of a session's id.
ID_BYTES = 32
#: Bytes of a generation.
GENERATION_BYTES = 8
#: Bytes of an address.
ADDRESS_BYTES = 32
#: Maximum length of a session in a record, in bytes of JSON.
MAX_PAYLOAD = 1 << 20


class Snapshot(NamedTuple):
    """A record as it was read, opened."""

    #: Changes at each log-in and log-out, while the id stays.
    generation: bytes
    #: Seconds since the epoch of the session's beginning or last log-in.
    created: int
    #: Seconds since the epoch at which the expiry was last set.
    renewed_at: int
    #: The session, serialised, possibly compressed.
    payload: bytes
    #: Position of the key that made the record; 0 is the newest.
    key: int
    #: Changes at each write.
    version: bytes


class Loaded(NamedTuple):
    """A session as it was read."""

    snapshot: Snapshot
    #: The payload, not compressed.
    base: bytes
    data: dict[str, Any]
    #: Whose it is; ``None`` for nobody.
    user: object


def opened(keys: RecordKeys, address: bytes, record: bytes) -> Snapshot:
    """The contents of a record.

    :raises SessionRejected: if it is not authentic.
    """
    return Snapshot(*keys.open(address, record), version_of(record))


def owner_tags(keys: RecordKeys, user: object) -> list[bytes]:
    """The tags of a user under each key, that of the newest first.

    :raises ConfigurationError: if ``user`` is neither ``str`` nor ``int`` nor ``UUID``.
    """
    if isinstance(user, str):
        return keys.owner_tags(ord("s"), user.encode("utf-8", "surrogatepass"))
    if isinstance(user, int) and not isinstance(user, bool):
        return keys.owner_tags(ord("i"), str(user).encode())
    if isinstance(user, UUID):
        return keys.owner_tags(ord("u"), user.bytes)
    raise ConfigurationError(
        f"The session's SESSION_USER_KEY must hold str, int or UUID, not {type(user).__name__}."
    )


def tags_to_find(keys: RecordKeys, user: object) -> list[bytes]:
    """The tags under which sessions of a user may be found. A number is looked for as text too, in
    which Flask-Login keeps it.

    :raises ConfigurationError: if ``user`` is neither ``str`` nor ``int`` nor ``UUID``.
    """
    tags = owner_tags(keys, user)
    if isinstance(user, (int, UUID)):
        tags += owner_tags(keys, str(user))
    return tags


def handle_of(address: bytes) -> str:
    """The stable name of a session: its address as 43 characters of URL-safe base64. It opens
    nothing.
    """
    return urlsafe_b64encode(address).decode().rstrip("=")


def address_of(handle: object) -> bytes | None:
    """The address that a text from :func:`handle_of` names; ``None`` for any other value."""
    if not isinstance(handle, str) or not handle.isascii():
        return None
    try:
        address = urlsafe_b64decode(handle + "=")
    except Base64Error:
        return None
    return address if len(address) == ADDRESS_BYTES and handle_of(address) == handle else None


def tag_at(tags: Sequence[bytes], key: int) -> bytes | None:
    """The tag under one of the keys; ``None`` if there are no tags."""
    return tags[key] if key < len(tags) else None
