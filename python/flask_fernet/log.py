"""The package's logger, and a limit on how often one thing is said."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("flask_fernet")

#: Seconds between two log lines about the same thing.
INTERVAL = 60.0


class RateLimit:
    """Allows one line per key and :data:`INTERVAL`, so that an attacker cannot fill the log."""

    def __init__(self) -> None:
        self._last: dict[object, float] = {}

    def allows(self, key: object) -> bool:
        """Whether a line about ``key`` is due now; if so, the next one is due an interval later.

        Keys come from a fixed set (reasons, say): each is remembered for good.
        """
        now = time.monotonic()
        if now - self._last.get(key, -INTERVAL) < INTERVAL:
            return False
        self._last[key] = now
        return True
