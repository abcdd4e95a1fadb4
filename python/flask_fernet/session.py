"""The session object, and the note that opening leaves on it for saving."""

from __future__ import annotations

import contextlib

from flask.sessions import SecureCookieSession

from ._core import Origin
from .lifetimes import CREATED, RegenerateMixin

#: Where a note is kept, in a session's ``__dict__``: a session class with a ``__getattr__`` of
#: its own may answer anything to any name. As in ``src/python/origin.rs``.
_ORIGIN = "_origin"


class EncryptedSession(RegenerateMixin, SecureCookieSession):
    """A session out of an encrypted cookie: Flask's own, and :meth:`regenerate`."""


def origin_of(session: object) -> Origin | None:
    """The note on a session, if there is one."""
    origin = getattr(session, "__dict__", {}).get(_ORIGIN)
    return origin if isinstance(origin, Origin) else None


def remember_origin(session: object, origin: Origin) -> None:
    """Leaves a note on a session; one of a class without room for it goes without."""
    with contextlib.suppress(AttributeError):
        session.__dict__[_ORIGIN] = origin


def creation_of(session: object, now: int) -> int:
    """When a session was created or regenerated last, in seconds since the epoch."""
    created = getattr(session, "__dict__", {}).get(CREATED)
    return created if isinstance(created, int) else now


def remember_creation(session: object, created: int) -> None:
    """Leaves the time on a session."""
    with contextlib.suppress(AttributeError):
        session.__dict__[CREATED] = created
