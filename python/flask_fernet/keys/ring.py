"""Key rings: the keys of one purpose over years, and which of them does what at a given time.

What is here decides; it knows no clock and no file. Where a ring is kept is behind
:class:`RingStore`; ``ring_file.py`` keeps it in a file.
"""

from __future__ import annotations

import enum
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from .._core import Fernet, SessionKeys
from ..errors import KeyRingError
from ..times import MAX_CLOCK_SKEW, from_text, to_text
from .following import RingFernet
from .wrapping import WrappedStore, Wrapping

#: What the ring of an app's sessions is for.
SESSIONS = "sessions"
#: Seconds for which a new key only opens, so that every worker has it before any writes with it.
ACTIVATION_DELAY = 10
#: Seconds for which replaced keys are kept unless said otherwise: Flask's default session lifetime.
RETENTION = 31 * 24 * 3600
#: Seconds that a retention or a delay may take: a thousand years.
_LONGEST = 1000 * 365 * 24 * 3600
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
    #: From when on it may encrypt. Of two keys in use no two have the same.
    activates: int
    revoked: int | None = None


@dataclass(frozen=True)
class Ring:
    """An immutable ring. Every change gives another one."""

    purpose: str
    #: Seconds for which a replaced key goes on opening.
    retention: int
    #: Never empty of keys that are not revoked.
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
            return max(active, key=lambda key: key.activates)
        return min(usable, key=lambda key: key.activates)

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

    def retires(self, key: RingKey) -> int | None:
        """When the successor of ``key`` takes over or took over, if it has one. One that was
        revoked before its time is none.
        """
        successors = (
            other.activates
            for other in self.keys
            if other.activates > key.activates
            and (other.revoked is None or other.revoked >= other.activates)
        )
        return min(successors, default=None)

    def expires(self, key: RingKey) -> int | None:
        """When a key that has been replaced stops opening."""
        retires = self.retires(key)
        return None if retires is None else retires + self.retention

    def opening(self, now: float) -> list[RingKey]:
        """The keys that open at ``now``: the primary, then the others, the newest first."""
        primary = self.primary(now)
        others = [
            key
            for key in sorted(self.keys, key=lambda key: key.activates, reverse=True)
            if key != primary and self.state(key, now) in (State.STAGED, State.RETIRED)
        ]
        return [primary, *others]

    def next_change(self, now: float) -> int | None:
        """When the next key is activated or expires, if nothing else happens."""
        times = [key.activates for key in self.keys if key.revoked is None]
        times += [at for key in self.keys if (at := self.expires(key)) is not None]
        return min((at for at in times if at > now), default=None)

    # Changes.

    def rotated(self, now: float, activate_in: int = ACTIVATION_DELAY, force: bool = False) -> Ring:
        """With a new key, which is activated in ``activate_in`` seconds.

        :raises KeyRingError: while a key is staged, or if the clock is behind the one that made
            the newest key, unless forced.
        """
        staged = [key for key in self.keys if self.state(key, now) is State.STAGED]
        if staged and not force:
            raise KeyRingError(
                f"{staged[0].id} is still staged: a second rotation before the first has spread "
                "could leave workers without the key that others write with. Wait, or force it."
            )
        if now < max(key.created for key in self.keys) - MAX_CLOCK_SKEW and not force:
            raise KeyRingError(
                "This host's clock is behind the one that made the newest key: what is activated "
                "when would be wrong. Set the clock, or force it."
            )
        return self._with_new(now, activate_in)

    def _with_new(self, now: float, activate_in: int) -> Ring:
        """With a new key after all others. What is still staged comes right before it."""
        usable = [key for key in self.keys if key.revoked is None]
        staged = sorted((k for k in usable if k.activates > now), key=lambda k: k.activates)
        latest = max((key.activates for key in usable if key not in staged), default=0)
        # None of them before now: until now their predecessor has been writing.
        at = max(int(now) + activate_in, int(now) + len(staged), latest + len(staged) + 1)
        moved = {
            key.id: replace(key, activates=min(key.activates, at - len(staged) + position))
            for position, key in enumerate(staged)
        }
        keys = (moved.get(key.id, key) for key in self.keys)
        return replace(self, keys=(*keys, _new_key(now, at)))

    def revoked(self, key_id: str, now: float) -> Ring:
        """Without a key, at once. If it was the primary, a new key takes over in the same change.

        :raises KeyRingError: if there is no such key, or it is revoked already.
        """
        found = next((key for key in self.keys if key.id == key_id), None)
        if found is None or found.revoked is not None:
            known = ", ".join(key.id for key in self.keys if key.revoked is None)
            raise KeyRingError(f"{key_id!r} is none of the keys in use: {known}.")
        # On a host whose clock is behind it cannot be told whether the last key has taken over: it
        # is taken for the primary, or an older one might be that again.
        latest = max(key.created for key in self.keys)
        last = max((key for key in self.keys if key.revoked is None), key=lambda k: k.activates)
        was_primary = found == self.primary(now) or (now < latest and found == last)
        now = max(now, latest)
        keys = tuple(replace(key, revoked=int(now)) if key is found else key for key in self.keys)
        without = replace(self, keys=keys)
        # No worker has to wait for a new key: they look again when they meet its tokens.
        return without._with_new(now, activate_in=0) if was_primary else without

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
                    "created": to_text(key.created),
                    "activates": to_text(key.activates),
                    "revoked": None if key.revoked is None else to_text(key.revoked),
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
        except (ValueError, RecursionError):
            document = KeyRingError("The key ring is not JSON.")
        if isinstance(document, KeyRingError):
            # Raised out here: that error has the whole text with it.
            raise document
        problem = _problem(document)
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
        return cls(document["purpose"], document["retention"], keys)


def new_ring(
    purpose: str, now: float, retention: int = RETENTION, former: Iterable[str] = ()
) -> Ring:
    """A ring whose first key is active at once.

    :param former: keys in use so far, the newest first. They are taken over as they are, so that
        workers which have the ring and workers which have not yet share what they write; the
        next rotation brings a fresh one. Without them the first key is fresh.
    :raises KeyRingError: if ``retention`` is not between 0 seconds and a thousand years.
    """
    if not 0 <= retention <= _LONGEST:
        raise KeyRingError(f"A retention is at most {_LONGEST} seconds.")
    at = int(now)
    taken_over = [RingKey(_new_id(), key, at, at - age) for age, key in enumerate(former)]
    return Ring(purpose, retention, tuple(reversed(taken_over)) or (_new_key(now, at),))


def _new_key(now: float, activates: int) -> RingKey:
    if activates - int(now) > _LONGEST:
        raise KeyRingError(f"A key is activated within {_LONGEST} seconds.")
    return RingKey(_new_id(), Fernet.generate_key().decode(), int(now), activates)


def _new_id() -> str:
    return secrets.token_hex(4)


def _problem(document: Any) -> str | None:
    """What is wrong with a document."""
    if not isinstance(document, dict):
        return "is no JSON object"
    if document.get("version") != 1:
        return "is of a version that this release does not know"
    if not isinstance(document.get("purpose"), str):
        return "does not say what it is for"
    retention = document.get("retention")
    if type(retention) is not int or not 0 <= retention <= _LONGEST:
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


class RingStore(Protocol):
    """Where a ring is kept. Implement it to keep one elsewhere than in a file, and set
    ``SESSION_ENCRYPTION_KEYRING`` to a :class:`KeyRing` over it.

    Whatever goes wrong is raised as :class:`~flask_fernet.KeyRingError`, and as nothing else:
    workers keep what they read last then.
    """

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
    :param secrets: if given, the ring is kept encrypted (AES-256-GCM) under keys derived from
        these: under the first; it opens under each of them.
    :param command: the same with the secrets that a program prints, a line each: the program and
        its arguments.
    :param wrapping: the same as the settings of an app have it.
    :raises ConfigurationError: if ``secrets`` or ``command`` cannot be used.
    """

    def __init__(
        self,
        store: str | Path | RingStore,
        *,
        secrets: Iterable[str | bytes] | None = None,
        command: str | Sequence[str] | None = None,
        wrapping: Wrapping | None = None,
    ) -> None:
        if isinstance(store, (str, Path)):
            from .ring_file import RingFile

            store = RingFile(store)
        if secrets is not None:
            wrapping = Wrapping.under(secrets)
        elif command is not None:
            wrapping = Wrapping.by(command)
        # A ring that is kept in another way than the one said is refused, with the way to mend it.
        self.store = WrappedStore(store, wrapping or Wrapping())

    def __eq__(self, other: object) -> bool:
        """Whether both are the ring of the same file, kept in the same way."""
        return isinstance(other, KeyRing) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> object:
        from .ring_file import RingFile

        store = self.store.store
        return self.store.wrapping, str(store.path) if isinstance(store, RingFile) else id(store)

    def load(self) -> Ring:
        """The ring as it is kept now.

        :raises KeyRingError: if it cannot be read.
        """
        return Ring.from_json(self.store.load())

    def create(self, ring: Ring) -> None:
        """Keeps a new ring.

        :raises KeyRingError: if there is one already.
        """
        document = ring.to_json()
        # What could not be read again is not written.
        Ring.from_json(document)
        if not self.store.compare_and_set(None, document.encode()):
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
