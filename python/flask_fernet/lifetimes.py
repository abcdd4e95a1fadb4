"""Lifetimes beyond Flask's sliding one: from creation on, and how often it is refreshed."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .errors import ConfigurationError

#: The key of the payload that holds a session's creation, hidden from the session.
CREATED = "flask-fernet:created"


@dataclass(frozen=True)
class Lifetimes:
    """What the configuration says. All in seconds."""

    #: ``PERMANENT_SESSION_LIFETIME``.
    sliding: float
    #: ``SESSION_ABSOLUTE_LIFETIME``.
    absolute: float | None = None
    #: Age from which a permanent session is refreshed: a share of the sliding one.
    refresh_from: float = 0.0

    @classmethod
    def of(cls, config: Mapping[str, Any], sliding: timedelta) -> Lifetimes:
        """Read from the configuration.

        :raises ConfigurationError: if a setting cannot be used.
        """
        seconds = sliding.total_seconds()
        absolute = config.get("SESSION_ABSOLUTE_LIFETIME")
        if isinstance(absolute, timedelta):
            absolute = absolute.total_seconds()
        if absolute is not None and not (_is_number(absolute) and absolute > 0):
            raise ConfigurationError(
                "SESSION_ABSOLUTE_LIFETIME is a timedelta or a number of seconds above 0."
            )
        share = config.get("SESSION_REFRESH_AFTER")
        if share is not None and not (_is_number(share) and 0 <= share < 1):
            raise ConfigurationError(
                "SESSION_REFRESH_AFTER is the share of PERMANENT_SESSION_LIFETIME after which a "
                "session is refreshed: a number from 0 to less than 1."
            )
        return cls(seconds, absolute, seconds * (share or 0))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class RegenerateMixin:
    """A session whose absolute lifetime can begin again. A mixin for a ``session_class``."""

    modified: bool

    def regenerate(self) -> None:
        """Begins ``SESSION_ABSOLUTE_LIFETIME`` again, as after a log-in. Flask-Login's log-in does
        it by itself.
        """
        self.__dict__[CREATED] = None
        self.modified = True


def take_creation(data: Any, issued_at: int) -> tuple[Any, int]:
    """What a payload holds without the creation in it, and the creation: the issue time of one
    that has none, because it was made before the setting was on, or in another format.
    """
    if not isinstance(data, dict) or CREATED not in data:
        return data, issued_at
    data = dict(data)
    created = data.pop(CREATED)
    return data, created if type(created) is int else issued_at


def regenerate_at_login() -> None:
    """Has Flask-Login's log-ins regenerate the session, if it is there. Connecting again does
    nothing.
    """
    if "flask_login" in sys.modules:
        sys.modules["flask_login"].user_logged_in.connect(_regenerate)


def _regenerate(app: object, **_: object) -> None:
    from flask import session

    if isinstance(session._get_current_object(), RegenerateMixin):  # type: ignore[attr-defined]
        session.regenerate()  # type: ignore[attr-defined]
