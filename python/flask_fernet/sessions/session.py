"""The session object, and the notes that opening leaves on it for saving."""

from __future__ import annotations

import contextlib

from flask.sessions import SecureCookieSession

from .._core import CREATED, PROVENANCE, Provenance
from ..errors import Reason
from .lifetimes import RegenerateMixin


class EncryptedSession(RegenerateMixin, SecureCookieSession):
    """A session from an encrypted cookie: Flask's own, with :meth:`regenerate` and
    :attr:`rejected`.
    """


# The notes are read and written through `__dict__` only: a session class with its own `__getattr__`
# may answer any name.


def provenance_of(session: object) -> Provenance | None:
    """How the session came, if opening has noted it."""
    provenance = getattr(session, "__dict__", {}).get(PROVENANCE)
    return provenance if isinstance(provenance, Provenance) else None


def remember_provenance(session: object, provenance: Provenance) -> None:
    """Notes how the session came. Does nothing if the session has no ``__dict__``."""
    with contextlib.suppress(AttributeError):
        session.__dict__[PROVENANCE] = provenance


def remember_rejection(session: object, reason: Reason) -> None:
    """Notes why the cookie was refused in whose place ``session`` is, if its class has
    :attr:`RegenerateMixin.rejected`.
    """
    if isinstance(session, RegenerateMixin):
        session.rejected = reason


def creation_of(session: object, now: int) -> int:
    """When the session was created or last regenerated, in seconds since the epoch; ``now`` if that
    has not been noted.
    """
    created = getattr(session, "__dict__", {}).get(CREATED)
    return created if isinstance(created, int) else now


def remember_creation(session: object, created: int) -> None:
    """Notes when the session was created. Does nothing if the session has no ``__dict__``."""
    with contextlib.suppress(AttributeError):
        session.__dict__[CREATED] = created
