"""A lock that a forked child can take, whoever held it in the parent."""

from __future__ import annotations

import os
import threading
import weakref

# All locks of this process, for the one fork handler: os.register_at_fork() cannot be undone, so a
# handler for each lock would keep every lock alive. The set holds them weakly.
_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


class ForkSafeLock:
    """A :class:`threading.Lock` that is free in a forked child, where the thread that held it does
    not exist.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: The number of forks between the process that made this lock and this process.
        self.forks = 0
        _locks.add(self)

    def acquire(self, timeout: float) -> bool:
        """Takes the lock, waiting at most ``timeout`` seconds. Returns whether it was taken."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Releases the lock."""
        self._lock.release()


def _after_fork_in_child() -> None:
    for lock in _locks:
        lock._lock = threading.Lock()
        lock.forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
