"""The interface's methods for the sessions of a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask

from ..driver import Exchange, drive
from ..errors import ConfigurationError
from ..stored import changes, owners
from ..stored.changes import Change, Identity
from ..stored.exchange import is_revoked
from ..stored.feed import MARGIN
from ..stored.ghost import appear, is_ghost
from ..stored.owners import SessionInfo
from ..stored.records import address_of
from ..stored.state import StoredNote, note_of
from ..stores.protocol import OwnedSessions, Revocations
from ..tracebacks import frameless
from .session import remember_creation
from .storage import Storage
from .storing import StoringInterface

if TYPE_CHECKING:
    from flask import Flask

_list = list


class UsersInterface(StoringInterface):
    """Lists and ends stored sessions, for the app of the present context."""

    __slots__ = ()

    @frameless
    def list(self, user: object, *, app: Flask | None = None) -> _list[SessionInfo]:
        """The stored sessions of a user, the one used last first.

        :param user: what the session has under ``SESSION_USER_KEY``: ``str``, ``int`` or ``UUID``.
            A number finds sessions that have it as text too.
        :param app: the app; the present one by default.
        :raises ConfigurationError: without a ``SESSION_STORE`` that finds the sessions of a user.
        :raises StoreUnavailable: if the store does not answer.
        """
        app, storage = self._storage(app)
        return drive(self._listing(app, storage, user), storage.store)

    def _listing(self, app: Flask, storage: Storage, user: object) -> Exchange[_list[SessionInfo]]:
        owners.require(storage.store.store, OwnedSessions, "finds the sessions of a user")
        terms = self._terms(app, self._policy(app), storage)
        current = self._current_note()
        address = None if current is None else current.address
        return (yield from self._asking(app, owners.listed(terms, user, address)))

    @frameless
    def revoke(self, handle: str, *, app: Flask | None = None) -> bool:
        """Ends one session, wherever it is used.

        :param handle: the :attr:`SessionInfo.handle` of the session, or its ``session.handle``.
        :param app: the app; the present one by default.
        :returns: whether it was there.
        :raises ConfigurationError: without a ``SESSION_STORE``.
        :raises StoreUnavailable: if the store does not answer. The session may go on then.
        """
        app, storage = self._storage(app)
        address = address_of(handle)
        if address is None:
            return False
        return drive(self._revoking(app, storage, address), storage.store)

    @frameless
    def revoke_user(
        self, user: object, *, keep_current: bool = False, app: Flask | None = None
    ) -> int:
        """Ends all sessions of a user, wherever they are used: log-out everywhere.

        :param user: see :meth:`list`.
        :param keep_current: whether the session of the present request goes on, under a new cookie.
        :param app: the app; the present one by default.
        :returns: how many were ended.
        :raises ConfigurationError: without a ``SESSION_STORE``.
        :raises StoreUnavailable: if the store does not answer. Sessions may go on then.
        """
        app, storage = self._storage(app)
        return drive(self._revoking_user(app, storage, user, keep_current), storage.store)

    def _revoking_user(
        self, app: Flask, storage: Storage, user: object, keep_current: bool
    ) -> Exchange[int]:
        store = storage.store.store
        if not isinstance(store, Revocations):
            owners.require(store, OwnedSessions, "finds the sessions of a user")
        terms = self._terms(app, self._policy(app), storage)
        note = (yield from self._regenerating(app, storage, user)) if keep_current else None
        kept = None if note is None else note.address
        count = yield from self._asking(app, owners.ended_of(terms, store, user, kept))
        if note is not None and is_revoked(terms, note.loaded):
            # The store's clock is far ahead of ours.
            yield from self._regenerating(app, storage, user)
        for _ in range(count):
            self._state.count_store_event("ended")
        return count

    def _regenerating(
        self, app: Flask, storage: Storage, user: object
    ) -> Exchange[StoredNote | None]:
        """The note on the present session, if it is one of this user's. It has been given a new
        beginning, which is later than a revocation that is made now.
        """
        note = self._current_note()
        if note is None or note.has_ended:
            return None
        before = note.loaded
        if before.user is None or str(before.user) != str(user):
            return None
        terms = self._terms(app, self._policy(app), storage)
        begins = int(terms.now) + 2 * MARGIN + 1
        if terms.feed is not None:
            begins = max(begins, terms.feed.not_before(terms.tags(before.user)))
        # At once, and not at the end of the request: another one of this browser may be under way.
        change = Change(
            note.address, before, before.data, before.base, Identity.LOGGED_IN, True, begins
        )
        saved = yield from self._asking(app, changes.save(terms, change), note)
        if saved.loaded is None:
            return None
        note.take(saved.loaded)
        note.generation, note.must_send = saved.generation, True
        remember_creation(self._current_session(), saved.loaded.snapshot.created)
        return note

    @frameless
    def revoke_all(self, *, app: Flask | None = None) -> None:
        """Ends every session of the app, of whatever user. Each worker knows within two seconds.

        :param app: the app; the present one by default.
        :raises ConfigurationError: without a ``SESSION_STORE`` that passes revocations on.
        :raises StoreUnavailable: if the store does not answer. Sessions may go on then.
        """
        app, storage = self._storage(app)
        drive(self._revoking_all(app, storage), storage.store)

    def _revoking_all(self, app: Flask, storage: Storage) -> Exchange[None]:
        owners.require(storage.store.store, Revocations, "passes revocations on")
        terms = self._terms(app, self._policy(app), storage)
        yield from self._asking(app, owners.ended_for_all(terms))

    def _storage(self, app: Flask | None) -> tuple[Flask, Storage]:
        """The app and its storage.

        :raises ConfigurationError: if it has none.
        """
        if app is None:
            app = self._current_app()
        storage = self._policy(app).storage
        if storage is None:
            raise ConfigurationError(
                "Sessions in cookies cannot be listed or ended: set SESSION_STORE, and a key."
            )
        return app, storage

    def _current_app(self) -> Flask:
        """The app of the present context."""
        return flask.current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]

    def _current_session(self) -> Any:
        """The present request's session; ``None`` outside of a request."""
        if not flask.has_request_context():
            return None
        return flask.session._get_current_object()  # type: ignore[attr-defined]

    def _current_note(self) -> StoredNote | None:
        """The note on the present request's session, if it is a stored one."""
        current = self._current_session()
        if is_ghost(current):
            # Its cookie may be from before a log-in.
            appear(current)
        note = note_of(current)
        return None if note is None or note.lost is not None or note.revoked else note
