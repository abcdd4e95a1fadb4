"""Revocations, which every worker follows.

A revocation names a subject: a user, by one of the tags, or everybody. All sessions of that subject
that began before it are refused, whether or not the index of the user's sessions was complete.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

#: The subject that stands for all sessions.
EVERYBODY = b"*"
#: Seconds between two looks at the feed, at least.
INTERVAL = 1.0
#: Seconds by which the clocks of those who write to one feed may differ.
CLOCK_SKEW = 60
#: Seconds after a revocation within which a session may have begun and is refused nevertheless,
#: because another worker may not have known of it.
MARGIN = 2
#: Revocations from which on the old ones are dropped.
MANY = 10_000
#: Seconds for which a revocation is kept at least: 31 days.
KEPT_FOR = 31 * 24 * 3600


def user_subject(tag: bytes) -> bytes:
    """The subject for the user with this tag."""
    return b"u" + tag


class Feed:
    """The revocations that this process knows of."""

    def __init__(self) -> None:
        self._revoked: dict[bytes, int] = {}
        #: The latest revocation known, in seconds since the epoch by the feed's clock.
        self._latest = 0
        #: When the feed is asked again, on the monotonic clock.
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether the feed is to be asked now. It is then not due in other threads."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + INTERVAL
        return True

    def ask_again(self) -> None:
        """Makes the feed due: it did not answer."""
        self._next = 0.0

    @property
    def since(self) -> int:
        """The moment from which on revocations may be unknown, in seconds since the epoch."""
        return max(0, self._latest - CLOCK_SKEW)

    def learn(self, revoked: Iterable[tuple[bytes, int]]) -> None:
        """Takes over what the feed has answered."""
        for subject, moment in revoked:
            self._revoked[subject] = max(moment, self._revoked.get(subject, moment))
            self._latest = max(moment, self._latest)

    @property
    def is_empty(self) -> bool:
        """Whether no revocation is known."""
        return not self._revoked

    def not_before(self, tags: Sequence[bytes]) -> int:
        """The earliest beginning of a session of the user with these tags that is not revoked, in
        seconds since the epoch.
        """
        subjects = [EVERYBODY, *map(user_subject, tags)]
        moments = [self._revoked[subject] for subject in subjects if subject in self._revoked]
        return max(moments) + MARGIN if moments else 0

    def forget(self, before: int) -> None:
        """Drops revocations before a moment, in seconds since the epoch, once there are many."""
        if len(self._revoked) < MANY:
            return
        self._revoked = {
            subject: moment for subject, moment in self._revoked.items() if moment >= before
        }
