"""A key ring: the keys of one purpose over years, and what each of them does at a given time.

A ring is a value. It reads no clock and no file: the time is an argument, and a change returns
another ring. So every worker that has the same ring gives the same answers.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .._core import MAX_CLOCK_SKEW, Fernet
from ..errors import KeyRingError
from ..tracebacks import frameless

#: The purpose of the ring of an app's sessions.
SESSIONS = "sessions"
#: Seconds for which a new key only opens, so that every worker has it before any writes with it.
ACTIVATION_DELAY = 10
#: Default retention, in seconds: 31 days, like Flask's default session lifetime.
RETENTION = 31 * 24 * 3600
#: Maximum retention and maximum delay of an activation, in seconds: a thousand years.
MAX_SECONDS = 1000 * 365 * 24 * 3600
#: Maximum serial of a ring: what JSON numbers hold exactly in every language (RFC 8259, section 6).
MAX_SERIAL = 2**53 - 1


class State(str, enum.Enum):
    """The state of a key, which decides its use at a given time."""

    #: It opens. It will encrypt from its activation on.
    STAGED = "staged"
    #: It opens and encrypts. Exactly one key of a ring is primary at any time.
    PRIMARY = "primary"
    #: It has been replaced, and opens until the ring's retention is over.
    RETIRED = "retired"
    #: It does nothing any more. The next pruning removes it.
    EXPIRED = "expired"
    #: It does nothing any more, because an operator revoked it.
    REVOKED = "revoked"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RingKey:
    """A key and its times, all in seconds since the epoch."""

    id: str
    #: The key as :meth:`Fernet.generate_key` returns it.
    key: str = field(repr=False)
    created: int
    #: When it may start to encrypt. No two keys that are not revoked share this time.
    activates: int
    revoked: int | None = None
    #: The salt of a session interface to which it is bound already, because it was derived from
    #: ``SECRET_KEY`` with that salt before the ring took it over.
    salt: str | None = None


@dataclass(frozen=True)
class Ring:
    """An immutable ring. Every change returns another one."""

    purpose: str
    #: Seconds for which a replaced key still opens.
    retention: int
    #: At least one of them is not revoked. Their order has no meaning.
    keys: tuple[RingKey, ...]
    #: A number that grows with each change. Workers never go back to a lower one.
    serial: int = 0

    # States: pure functions of the ring and the time.

    def primary(self, now: float) -> RingKey:
        """The key that encrypts at ``now`` (seconds since the epoch).

        This is the key activated last, of those not revoked. Before the first activation (for
        example on a host whose clock is behind) it is the key that will be activated first.
        """
        usable = [key for key in self.keys if key.revoked is None]
        active = [key for key in usable if key.activates <= now]
        if active:
            return max(active, key=lambda key: key.activates)
        return min(usable, key=lambda key: key.activates)

    def state(self, key: RingKey, now: float) -> State:
        """The state of ``key`` at ``now`` (seconds since the epoch)."""
        if key.revoked is not None:
            return State.REVOKED
        if key == self.primary(now):
            return State.PRIMARY
        if key.activates > now:
            return State.STAGED
        expires = self.expires(key)
        return State.EXPIRED if expires is not None and expires <= now else State.RETIRED

    def retires(self, key: RingKey) -> int | None:
        """When the next key takes over from ``key``, in seconds since the epoch; ``None`` if no
        key follows it. A key that was revoked before its activation never takes over.
        """
        successors = (
            other.activates
            for other in self.keys
            if other.activates > key.activates
            and (other.revoked is None or other.revoked >= other.activates)
        )
        return min(successors, default=None)

    def expires(self, key: RingKey) -> int | None:
        """When ``key`` stops opening, in seconds since the epoch; ``None`` if no key follows it."""
        retires = self.retires(key)
        return None if retires is None else retires + self.retention

    def opening(self, now: float) -> list[RingKey]:
        """The keys that open at ``now``: the primary first, then the others from newest to oldest.

        Newest means activated last.
        """
        primary = self.primary(now)
        others = [
            key
            for key in sorted(self.keys, key=lambda key: key.activates, reverse=True)
            if key != primary and self.state(key, now) in (State.STAGED, State.RETIRED)
        ]
        return [primary, *others]

    def next_change(self, now: float) -> int | None:
        """When the next key is activated or expires, in seconds since the epoch; ``None`` if no
        key will.
        """
        times = [key.activates for key in self.keys if key.revoked is None]
        times += [at for key in self.keys if (at := self.expires(key)) is not None]
        return min((at for at in times if at > now), default=None)

    # Changes.

    def rotated(self, now: float, activate_in: int = ACTIVATION_DELAY, force: bool = False) -> Ring:
        """This ring with one new key, which will be activated in ``activate_in`` seconds.

        :param force: rotate even in the two cases in which an error is raised.
        :raises KeyRingError: if a key is still staged, or if the clock is behind the one that made
            the newest key.
        """
        staged = [key for key in self.keys if self.state(key, now) is State.STAGED]
        if staged and not force:
            raise KeyRingError(
                f"{staged[0].id} is still staged. A second rotation before the first has spread "
                "could leave workers without the key that others write with. Wait, or use --force."
            )
        if now < max(key.created for key in self.keys) - MAX_CLOCK_SKEW and not force:
            raise KeyRingError(
                "The clock of this host is behind the one that made the newest key, so the new key "
                "would be activated at the wrong time. Set the clock, or use --force."
            )
        return self._with_new(now, activate_in)

    def _with_new(self, now: float, activate_in: int) -> Ring:
        """This ring with a new key that is activated after all others, at consecutive seconds after
        those that are still staged.
        """
        usable = [key for key in self.keys if key.revoked is None]
        staged = sorted((k for k in usable if k.activates > now), key=lambda k: k.activates)
        latest = max((key.activates for key in usable if key not in staged), default=0)
        # No staged key may be moved to a time before now: until now their predecessor has been
        # writing, and its retention counts from the activation of its successor.
        at = max(int(now) + activate_in, int(now) + len(staged), latest + len(staged) + 1)
        moved = {
            key.id: replace(key, activates=min(key.activates, at - len(staged) + position))
            for position, key in enumerate(staged)
        }
        keys = (moved.get(key.id, key) for key in self.keys)
        return replace(self, keys=(*keys, _new_key(now, at)))

    def revoked(self, key_id: str, now: float) -> Ring:
        """This ring with a key revoked at once. If it is the primary, the same change adds a new
        key, which takes over at once.

        :raises KeyRingError: if the ring has no such key, or it is revoked already.
        """
        found = next((key for key in self.keys if key.id == key_id), None)
        if found is None or found.revoked is not None:
            known = ", ".join(key.id for key in self.keys if key.revoked is None)
            raise KeyRingError(f"Unknown or revoked key {key_id!r}; keys in use: {known}.")
        # If this clock is behind we cannot know whether the newest key is primary yet. Assume it
        # is; otherwise revoking it could make an older key primary again.
        latest = max(key.created for key in self.keys)
        last = max((key for key in self.keys if key.revoked is None), key=lambda k: k.activates)
        was_primary = found == self.primary(now) or (now < latest and found == last)
        now = max(now, latest)
        keys = tuple(replace(key, revoked=int(now)) if key is found else key for key in self.keys)
        without = replace(self, keys=keys)
        # The new key needs no delay: a worker that meets a token under it polls the ring at once.
        return without._with_new(now, activate_in=0) if was_primary else without

    def pruned(self, now: float) -> Ring:
        """This ring without the keys that have expired, and without those that were revoked longer
        ago than the retention.
        """

        def gone(key: RingKey) -> bool:
            if key.revoked is not None:
                return key.revoked + self.retention <= now
            return self.state(key, now) is State.EXPIRED

        return replace(self, keys=tuple(key for key in self.keys if not gone(key)))


@frameless
def new_ring(
    purpose: str,
    now: float,
    retention: int = RETENTION,
    former: Iterable[str] = (),
    *,
    salts: Mapping[str, str | None] | None = None,
) -> Ring:
    """A ring whose first key is primary at once.

    :param now: the time, in seconds since the epoch.
    :param retention: seconds for which a replaced key still opens.
    :param former: keys in use so far, the newest first, as :meth:`Fernet.generate_key` returns
        them. The ring takes them over unchanged, so that workers with the ring and workers that do
        not have it yet open what the others write; the next rotation adds the first fresh key. If
        there are none, the first key is fresh.
    :param salts: for former keys that are bound to the salt of a session interface already, that
        salt.
    :raises KeyRingError: if ``retention`` is not between 0 seconds and a thousand years.
    """
    if not 0 <= retention <= MAX_SECONDS:
        raise KeyRingError(f"The retention must be from 0 to {MAX_SECONDS} seconds.")
    at = int(now)
    taken_over = [
        RingKey(_new_id(), key, at, at - age, salt=(salts or {}).get(key))
        for age, key in enumerate(dict.fromkeys(former))
    ]
    return Ring(purpose, retention, tuple(reversed(taken_over)) or (_new_key(now, at),), at)


def _new_key(now: float, activates: int) -> RingKey:
    if activates - int(now) > MAX_SECONDS:
        raise KeyRingError(f"The activation must be within {MAX_SECONDS} seconds.")
    return RingKey(_new_id(), Fernet.generate_key().decode(), int(now), activates)


def _new_id() -> str:
    return secrets.token_hex(4)
