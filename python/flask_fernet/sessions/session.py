"""The session object, and the notes that opening leaves on it for saving."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from flask import current_app, has_app_context
from flask import session as flask_session
from flask.sessions import SecureCookieSession

from .._core import CREATED, PROVENANCE, Provenance
from ..errors import ConfigurationError, Reason
from ..stored.ghost import appear, is_ghost
from ..stored.records import ID_BYTES, handle_of
from ..stored.state import note_of
from ..tracebacks import frameless
from .lifetimes import RegenerateMixin

if TYPE_CHECKING:
    from flask import Flask

    from .storage import Storage

#: Name of the id that was drawn for a session which is not stored yet, in its ``__dict__``.
DRAWN_ID = "_drawn_id"


class HandleMixin:
    """A session that may lie in a store, and has a stable name."""

    @property
    def handle(self) -> str | None:
        """The stable name of this session, to keep other data by; ``None`` if sessions are in
        cookies. It may be shown, and opens nothing.
        """
        note = note_of(self)
        if is_ghost(self):
            # A cookie from before a log-in must not lead to what is kept by the handle.
            appear(self)
        if note is not None and not note.revoked and note.lost is None:
            return note.handle
        storage = self._present_storage()
        if storage is None:
            return None
        # It is not stored yet: the id is drawn now, and used when it is.
        drawn = self.__dict__.setdefault(DRAWN_ID, secrets.token_bytes(ID_BYTES))
        return handle_of(storage.records.address(drawn))

    @staticmethod
    def _present_app() -> Flask | None:
        """The app of the present context; ``None`` outside of one."""
        return current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]

    def _present_storage(self) -> Storage | None:
        """The storage of the present app, if its sessions are stored."""
        app = self._present_app()
        policy = getattr(getattr(app, "session_interface", None), "_policy", None)
        if policy is None:
            return None
        found = policy(app)
        return found.storage if found.stores else None

    def _require_store(self) -> None:
        """Checks that the sessions of the present app are stored.

        :raises ConfigurationError: if they are not.
        """
        if self._present_storage() is None:
            raise ConfigurationError(
                "Sessions in cookies cannot be ended: set SESSION_STORE, and a key."
            )


class StoredMixin(HandleMixin):
    """A session that may lie in a store. A mixin for a ``session_class``."""

    @frameless
    def revoke(self) -> bool:
        """Ends this session now, wherever its cookie is used. What is put in afterwards is a new
        session.

        :returns: whether it was there.
        :raises ConfigurationError: if sessions are in cookies, which cannot be ended.
        :raises StoreUnavailable: if the store does not answer. The session may go on then.
        """
        note = note_of(self)
        if note is None:
            self._require_store()
            self.clear()  # type: ignore[attr-defined]
            return False
        if is_ghost(self):
            # A cookie from before a log-in must not end the session that began with it.
            appear(self)
        ended = note.lost is None and note.host._revoke(note.app, note)
        note.revoked = note.revoked or ended
        self.clear()  # type: ignore[attr-defined]
        return ended


class EncryptedSession(StoredMixin, RegenerateMixin, SecureCookieSession):
    """A session of an encrypted cookie or of a store: Flask's own, with :meth:`regenerate`,
    :attr:`rejected`, :attr:`handle` and :meth:`revoke`.
    """


#: Flask's own ``session``, with the type of the sessions of this package: for type checkers.
session: EncryptedSession = flask_session  # type: ignore[assignment]


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
