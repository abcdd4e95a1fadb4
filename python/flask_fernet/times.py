"""Times as people and documents write them, and by how much clocks may differ."""

from __future__ import annotations

from datetime import datetime, timezone

#: Seconds by which a token may be dated ahead, as in ``src/token/keys.rs``.
MAX_CLOCK_SKEW = 60

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def to_text(seconds: int) -> str:
    """Seconds since the epoch as UTC (ISO 8601)."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime(_FORMAT)


def from_text(text: str) -> int:
    """Undoes :func:`to_text`.

    :raises ValueError: for another form.
    """
    return int(datetime.strptime(text, _FORMAT).replace(tzinfo=timezone.utc).timestamp())
