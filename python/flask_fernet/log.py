"""The package's logger, and a limit on how often one thing is said."""

from __future__ import annotations

import logging
import time

logger: logging.Logger = logging.getLogger("flask_fernet")

#: Seconds between two log lines about the same thing.
INTERVAL = 60.0


def log_event(level: int, event: str, message: str, *args: object, **fields: object) -> None:
    """Logs something that happens while an app runs.

    :param level: a level of :mod:`logging`.
    :param event: the stable name of what happened, the attribute ``event`` of the record.
        ``docs/observability.md`` lists them.
    :param message: for people; it may change between versions.
    :param fields: further attributes of the record. None may be secret.
    """
    # The caller's place in the code is that of the record.
    logger.log(level, message, *args, extra={"event": event, **fields}, stacklevel=2)


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
