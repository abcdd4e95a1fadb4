"""Key rings: the keys of one purpose over years, and which of them does what at a given time.

What is here decides; it knows no clock and no file. Where a ring is kept is behind
:class:`RingStore`; ``ring_file.py`` keeps it in a file.
"""

from __future__ import annotations

import enum
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from ._core import Fernet
from .errors import KeyRingError
from .following import RingFernet

#: What the ring of an app's sessions is for.
SESSIONS = "sessions"
#: Seconds for which a new key only opens, so that every worker has it before any writes with it.
ACTIVATION_DELAY = 10
#: Seconds for which replaced keys are kept unless said otherwise: Flask's default session lifetime.
RETENTION = 31 * 24 * 3600
#: Attempts to change a ring that others change at the same time.
_ATTEMPTS = 20


class State(str, enum.Enum):
    """What a key does at a given time."""

    #: Opens; encrypts from its activation on.
    STAGED = "staged"
    #: Opens and encrypts. Exactly one key of a ring is primary at any time.
    PRIMARY = "primary"
    #: Opens, until the ring's retention after it was replaced.
    RETIRED = "retired"
    #: Does nothing any more; the next pruning removes it.
    EXPIRED = "expired"
    #: Does nothing any more, because somebody said so.
    REVOKED = "revoked"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RingKey:
    """One key and its times, all in seconds since the epoch."""

    id: str
    #: What :meth:`Fernet.generate_key` gives.
    key: str = field(repr=False)
    created: int
    #: From when on it may encrypt.
    activates: int
    #: When its successor takes over, if there is one.
    retires: int | None = None
    revoked: int | None = None


@dataclass(frozen=True)
class Ring:
    """An immutable ring. Every change gives another one."""

    purpose: str
    #: Seconds for which a replaced key goes on opening.
    retention: int
    #: The oldest first. Never empty of keys that are not revoked.
    keys: tuple[RingKey, ...]

    # What the keys do. A pure function of the ring and the time.

    def primary(self, now: float) -> RingKey:
        """The key that encrypts at ``now``.

        Of those not revoked, the one activated last; before the first activation (on a host
        whose clock is behind, say) the one to be activated first.
        """
        usable = [key for key in self.keys if key.revoked is None]
        active = [key for key in usable if key.activates <= now]
        if active:
            return max(active, key=_rank)
        return min(usable, key=_rank)

    def state(self, key: RingKey, now: float) -> State:
        """What ``key`` does at ``now``."""
        if key.revoked is not None:
            return State.REVOKED
        if key == self.primary(now):
            return State.PRIMARY
        if key.activates > now:
            return State.STAGED
        expires = self.expires(key)
        return State.EXPIRED if expires is not None and expires <= now else State.RETIRED

    def expires(self, key: RingKey) -> int | None:
        """When a key that has been replaced stops opening."""
        return None if key.retires is None else key.retires + self.retention

    def opening(self, now: float) -> list[RingKey]:
        """The keys that open at ``now``: the primary, then the others, the newest first."""
        primary = self.primary(now)
        others = [
            key
            for key in reversed(self.keys)
            if key != primary and self.state(key, now) in (State.STAGED, State.RETIRED)
        ]
        return [primary, *others]

    def next_change(self, now: float) -> float | None:
        """When the next key is activated or expires, if nothing else happens."""
        times = [key.activates for key in self.keys if key.revoked is None]
        times += [at for key in self.keys if (at := self.expires(key)) is not None]
        return min((at for at in times if at > now), default=None)

    # Changes.

    def rotated(self, now: float, activate_in: int = ACTIVATION_DELAY, force: bool = False) -> Ring:
        """With a new key, which is activated in ``activate_in`` seconds.

        :raises KeyRingError: while a key is staged, unless forced.
        """
        staged = [key.id for key in self.keys if self.state(key, now) is State.STAGED]
        if staged and not force:
            raise KeyRingError(
                f"{staged[0]} is still staged: a second rotation before the first has spread "
                "could leave workers without the key that others write with. Wait, or force it."
            )
        new = _new_key(now, activate_in)
        primary = self.primary(now)

        def succeeded(key: RingKey) -> RingKey:
            if key.revoked is None and key.activates > now:
                # Forced: what is still staged comes before the new key, never after it.
                activates = min(key.activates, new.activates - 1)
                return replace(key, activates=activates, retires=new.activates)
            if key == primary and (key.retires is None or key.retires > new.activates):
                return replace(key, retires=new.activates)
            return key

        return replace(self, keys=(*map(succeeded, self.keys), new))

    def revoked(self, key_id: str, now: float) -> Ring:
        """Without a key, at once. If it was the primary, a new key takes over in the same change.

        :raises KeyRingError: if there is no such key, or it is revoked already.
        """
        found = next((key for key in self.keys if key.id == key_id), None)
        if found is None or found.revoked is not None:
            known = ", ".join(key.id for key in self.keys if key.revoked is None)
            raise KeyRingError(f"{key_id!r} is none of the keys in use: {known}.")
        state = self.state(found, now)
        keys = tuple(replace(key, revoked=int(now)) if key is found else key for key in self.keys)
        if state is State.PRIMARY:
            # No worker has to wait for the new key: they look again when they meet its tokens.
            others = [key for key in keys if key.revoked is None]
            if not others:
                return replace(self, keys=(*keys, _new_key(now, 0)))
            return replace(self, keys=keys).rotated(now, activate_in=0, force=True)
        if state is State.STAGED:
            # The primary has lost its successor; there is another one only after a forced change.
            primary = self.primary(now)
            left = [key.activates for key in keys if self.state(key, now) is State.STAGED]
            stays = replace(primary, retires=min(left, default=None))
            keys = tuple(stays if key == primary else key for key in keys)
        return replace(self, keys=keys)

    def pruned(self, now: float) -> Ring:
        """Without the keys that have expired, and those revoked longer ago than the retention."""

        def gone(key: RingKey) -> bool:
            if key.revoked is not None:
                return key.revoked + self.retention <= now
            return self.state(key, now) is State.EXPIRED

        return replace(self, keys=tuple(key for key in self.keys if not gone(key)))

    # The document.

    def to_json(self) -> str:
        """The ring as it is kept."""
        document = {
            "version": 1,
            "purpose": self.purpose,
            "retention": self.retention,
            "keys": [
                {
                    "id": key.id,
                    "key": key.key,
                    "created": _to_text(key.created),
                    "activates": _to_text(key.activates),
                    "retires": None if key.retires is None else _to_text(key.retires),
                    "revoked": None if key.revoked is None else _to_text(key.revoked),
                }
                for key in self.keys
            ],
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Ring:
        """A ring as it was kept.

        :raises KeyRingError: for anything else. Says what is wrong, never shows a key.
        """
        try:
            document = json.loads(text)
        except ValueError:
            # Not its own message, which quotes the text.
            raise KeyRingError("The key ring is not JSON.") from None
        problem = _problem(document)
        if problem is not None:
            raise KeyRingError(f"The key ring {problem}.")
        keys = tuple(
            RingKey(
                id=key["id"],
                key=key["key"],
                created=_from_text(key["created"]),
                activates=_from_text(key["activates"]),
                retires=None if key.get("retires") is None else _from_text(key["retires"]),
                revoked=None if key.get("revoked") is None else _from_text(key["revoked"]),
            )
            for key in document["keys"]
        )
        return cls(document["purpose"], document["retention"], keys)


def new_ring(
    purpose: str, now: float, retention: int = RETENTION, former: Iterable[str] = ()
) -> Ring:
    """A ring whose first key is active at once.

    :param former: keys in use so far, the newest first. They are taken over as they are, so that
        workers which have the ring and workers which have not yet share what they write; the
        next rotation brings a fresh one. Without them the first key is fresh.
    """
    keys = list(former)
    if not keys:
        return Ring(purpose, retention, (_new_key(now, 0),))
    at = int(now)
    first = RingKey(_new_id(), keys[0], at, at)
    older = [
        RingKey(_new_id(), key, at, at - age, retires=at) for age, key in enumerate(keys[1:], 1)
    ]
    return Ring(purpose, retention, (*reversed(older), first))


def _new_key(now: float, activate_in: int) -> RingKey:
    created = int(now)
    return RingKey(_new_id(), Fernet.generate_key().decode(), created, created + activate_in)


def _new_id() -> str:
    return secrets.token_hex(4)


_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def _to_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime(_FORMAT)


def _from_text(text: str) -> int:
    return int(datetime.strptime(text, _FORMAT).replace(tzinfo=timezone.utc).timestamp())


def _problem(document: Any) -> str | None:
    """What is wrong with a document."""
    if not isinstance(document, dict):
        return "is no JSON object"
    if document.get("version") != 1:
        return "is of a version that this release does not know"
    if not isinstance(document.get("purpose"), str):
        return "does not say what it is for"
    retention = document.get("retention")
    if type(retention) is not int or retention < 0:
        return "has no retention in whole seconds"
    keys = document.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return "has no list of keys"
    for position, key in enumerate(keys):
        try:
            Fernet(key["key"])
            times = [key["created"], key["activates"], key.get("retires"), key.get("revoked")]
            for time_ in times[:2] + [time_ for time_ in times[2:] if time_ is not None]:
                _from_text(time_)
        except (KeyError, TypeError, ValueError):
            return f"has an entry, number {position}, that is no key with its times"
        if not isinstance(key.get("id"), str) or not key["id"]:
            return f"has an entry, number {position}, without an id"
    if len({key["id"] for key in keys}) != len(keys):
        return "has two keys with the same id"
    if all(key.get("revoked") is not None for key in keys):
        return "has no key that is not revoked"
    return None


def _rank(key: RingKey) -> tuple[int, bool, int, str]:
    """Later is newer. Of two activated in the same second, the one not replaced yet is."""
    return key.activates, key.retires is None, key.created, key.id


class RingStore(Protocol):
    """Where a ring is kept. Implement it to keep one elsewhere than in a file."""

    def load(self) -> bytes:
        """The document as it is now.

        :raises KeyRingError: if there is none, or it cannot or must not be read.
        """

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """Puts ``document`` in place of ``expected``, ``None`` for none at all, in one step.

        :returns: whether ``expected`` was what was there; if not, nothing was changed.
        """

    def fingerprint(self) -> object:
        """Something cheap to get that differs once the document has been replaced."""


class KeyRing:
    """A ring and the place where it is kept.

    :param store: the path of a file, or a :class:`RingStore`.
    """

    def __init__(self, store: str | Path | RingStore) -> None:
        if isinstance(store, (str, Path)):
            from .ring_file import RingFile

            store = RingFile(store)
        self.store = store

    def load(self) -> Ring:
        """The ring as it is kept now.

        :raises KeyRingError: if it cannot be read.
        """
        return Ring.from_json(self.store.load())

    def create(self, ring: Ring) -> None:
        """Keeps a new ring.

        :raises KeyRingError: if there is one already.
        """
        if not self.store.compare_and_set(None, ring.to_json().encode()):
            raise KeyRingError("There is a key ring already.")

    def change(self, change: Callable[[Ring], Ring]) -> Ring:
        """Replaces the ring by what ``change`` makes of it, whatever others do meanwhile.

        :returns: the new ring.
        :raises KeyRingError: if ``change`` does, or others always come first.
        """
        for _ in range(_ATTEMPTS):
            document = self.store.load()
            ring = Ring.from_json(document)
            changed = change(ring)
            if changed == ring:
                return ring
            if self.store.compare_and_set(document, changed.to_json().encode()):
                return changed
        raise KeyRingError("Others kept changing the key ring.")

    def fernet(self) -> RingFernet:
        """A ``MultiFernet`` that follows this ring, for data of the app's own.

        :raises KeyRingError: if the ring is for sessions: whoever can have a text of their choice
            encrypted under their key could make one.
        """
        if self.load().purpose == SESSIONS:
            raise KeyRingError(
                "This key ring is for sessions. Data of the app's own needs a ring of its own: "
                "flask fernet ring init --purpose data."
            )
        return RingFernet(self)
