"""Times as text, for people and documents."""

from __future__ import annotations

from datetime import datetime, timezone

#: A time later than that of any token, in seconds since the epoch. As a maximum age it bounds
#: nothing.
FOREVER = 2**62

#: The last second that can be shown, 9999-12-31T23:59:59Z, in seconds since the epoch.
LATEST = 253_402_300_799

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def to_text(seconds: int) -> str:
    """Seconds since the epoch as UTC text (ISO 8601), for example ``2026-09-21T14:13:20Z``."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime(_FORMAT)


def from_text(text: str) -> int:
    """The seconds since the epoch of a text from :func:`to_text`.

    :raises ValueError: if ``text`` has another form.
    """
    return int(datetime.strptime(text, _FORMAT).replace(tzinfo=timezone.utc).timestamp())
