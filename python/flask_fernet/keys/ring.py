"""Key rings: the keys of one purpose over years, and which of them does what at a given time.

What is here decides; it knows no clock and no file.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .._core import Fernet
from ..errors import KeyRingError
from ..times import MAX_CLOCK_SKEW

#: What the ring of an app's sessions is for.
SESSIONS = "sessions"
#: Seconds for which a new key only opens, so that every worker has it before any writes with it.
ACTIVATION_DELAY = 10
#: Seconds for which replaced keys are kept unless said otherwise: Flask's default session lifetime.
RETENTION = 31 * 24 * 3600
#: Seconds that a retention or a delay may take: a thousand years.
MAX_SECONDS = 1000 * 365 * 24 * 3600


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


def new_ring(
    purpose: str, now: float, retention: int = RETENTION, former: Iterable[str] = ()
) -> Ring:
    """A ring whose first key is active at once.

    :param former: keys in use so far, the newest first. They are taken over as they are, so that
        workers which have the ring and workers which have not yet share what they write; the
        next rotation brings a fresh one. Without them the first key is fresh.
    :raises KeyRingError: if ``retention`` is not between 0 seconds and a thousand years.
    """
    if not 0 <= retention <= MAX_SECONDS:
        raise KeyRingError(f"A retention is at most {MAX_SECONDS} seconds.")
    at = int(now)
    taken_over = [RingKey(_new_id(), key, at, at - age) for age, key in enumerate(former)]
    return Ring(purpose, retention, tuple(reversed(taken_over)) or (_new_key(now, at),))


def _new_key(now: float, activates: int) -> RingKey:
    if activates - int(now) > MAX_SECONDS:
        raise KeyRingError(f"A key is activated within {MAX_SECONDS} seconds.")
    return RingKey(_new_id(), Fernet.generate_key().decode(), int(now), activates)


def _new_id() -> str:
    return secrets.token_hex(4)
