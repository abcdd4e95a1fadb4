"""Stored sessions between Flask and the store: opened as ghosts, and read when they are used."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .._core import STORED, Policy
from ..driver import Exchange, drive
from ..errors import (
    ConfigurationError,
    Reason,
    SessionRejected,
    StoreUnavailable,
    UnreadablePayload,
)
from ..log import log_event
from ..signals import store_unavailable
from ..stored import exchange, owners
from ..stored.exchange import Terms
from ..stored.ghost import fill, fill_with, ghost_class, is_ghost, new_ghost
from ..stored.merging import merge
from ..stored.records import Loaded, Snapshot, opened
from ..stored.state import StoredNote
from .payload import MARK, PayloadInterface
from .session import remember_creation, remember_rejection
from .storage import Storage

if TYPE_CHECKING:
    from flask import Flask
    from flask.sessions import SecureCookieSession

T = TypeVar("T")


class _Terms(Terms):
    """What an app's configuration says, by way of its interface."""

    __slots__ = ("_app", "_interface", "_policy")

    def __init__(
        self, interface: ReadingInterface, app: Flask, policy: Policy, storage: Storage
    ) -> None:
        self._interface = interface
        self._app = app
        self._policy = policy
        self.keys = storage.records
        self.now = time.time()
        self.lifetime = storage.lifetime
        self.absolute_lifetime = policy.absolute_lifetime
        self.user_key = storage.user_key
        self.user_limit = storage.user_limit
        self.feed = storage.feed

    def open(self, address: bytes, record: bytes) -> Snapshot:
        """See :meth:`Terms.open`."""
        try:
            return opened(self.keys, address, record)
        except SessionRejected as error:
            if error.reason is not Reason.UNAUTHENTIC or not self.keys.may_be_newer(record):
                raise
        newer = self._interface._newer_policy(self._app, self._policy)
        if newer is None or newer.storage is None:
            raise SessionRejected(Reason.UNAUTHENTIC)
        self.keys = newer.storage.records
        return opened(self.keys, address, record)

    def read(self, payload: bytes) -> tuple[bytes, dict[str, Any]]:
        """See :meth:`Terms.read`."""
        if not payload.startswith(MARK):
            data = self._interface._load_natively(self._app, payload)
            if data is not None:
                return payload, data
        try:
            data = self._interface._load(self._app, payload)
            base = self._interface._inflated(payload)
        except UnreadablePayload:
            raise SessionRejected(Reason.UNDECODABLE) from None
        if not isinstance(data, dict):
            raise SessionRejected(Reason.UNDECODABLE)
        # What begins with the mark was packed by the serializer's side, see `_pack`.
        return payload if base.startswith(MARK) else base, data

    def dump(self, data: Mapping[str, Any]) -> bytes:
        """See :meth:`Terms.dump`."""
        return self._interface._dump(self._app, data)

    def pack(self, payload: bytes) -> bytes:
        """See :meth:`Terms.pack`. Only ``"always"`` compresses: a record need not fit anywhere."""
        if self._policy.compression != "always":
            return payload
        return next(self._interface._compressed(payload, "always"))

    def merge(
        self, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """See :meth:`Terms.merge`."""
        interface = self._interface
        hook = getattr(interface.merge_sessions, "__func__", None)
        if hook is ReadingInterface.merge_sessions:
            return interface._merge(self._app, base, mine, theirs)
        return interface.merge_sessions(self._app, base, mine, theirs), ()


class ReadingInterface(PayloadInterface):
    """Opens the sessions that lie in a store."""

    __slots__ = ()

    def merge_sessions(
        self, app: Flask, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> dict[str, Any]:
        """The session that is stored when another request has changed it too. May be overridden:
        return ``mine`` for "the last one wins", or raise :class:`SessionConflict`.

        :param base: the session as this request has read it.
        :param mine: the session as this request wants to store it.
        :param theirs: the session as it is in the store now.
        """
        return self._merge(app, base, mine, theirs)[0]

    def _merge(
        self, app: Flask, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[str]]:
        return merge(base, mine, theirs, lambda value: self._dump(app, {"": value}))

    def _stored(
        self,
        app: Flask,
        policy: Policy,
        id: bytes,
        generation: bytes,
        issued_at: int,
        newest: bool,
    ) -> SecureCookieSession:
        """The stored session to which a token refers, not read yet. Also called by the native path.

        :param newest: whether the token is as it would be written now.
        """
        note = StoredNote(self, app, policy, id, generation, issued_at, newest)
        ghosts = ghost_class(self.session_class)
        if ghosts is not None:
            return new_ghost(ghosts, note)  # type: ignore[no-any-return]
        assert policy.storage is not None  # noqa: S101 - the cookie was opened with it
        return self._session_of(drive(self._finding(app, note), policy.storage.store), note)

    def _session_of(
        self, found: Loaded | SecureCookieSession, note: StoredNote
    ) -> SecureCookieSession:
        """A session with what :meth:`_finding` has found, and with the note on it."""
        if isinstance(found, Loaded):
            session = self.session_class(found.data)
            remember_creation(session, found.snapshot.created)
        else:
            session = found
        if not hasattr(session, "__dict__"):
            raise ConfigurationError(
                "SESSION_STORE needs a session_class whose instances have a __dict__."
            )
        session.__dict__[STORED] = note
        return session

    def _revoke(self, app: Flask, note: StoredNote) -> bool:
        """Ends the session to which a note belongs. Returns whether it was there."""
        storage = self._present_storage(app)
        return drive(self._revoking(app, storage, note.address), storage.store)

    def _present_storage(self, app: Flask) -> Storage:
        """The storage of an app from which a session has come.

        :raises ConfigurationError: if it has none any more.
        """
        storage = self._policy(app).storage
        if storage is None:
            raise ConfigurationError("SESSION_STORE was removed while a request was under way.")
        return storage

    def _revoking(self, app: Flask, storage: Storage, address: bytes) -> Exchange[bool]:
        """Ends the session at an address. Returns whether it was there."""
        terms = self._terms(app, self._policy(app), storage)
        ended = yield from self._asking(app, owners.ended(terms, address))
        if ended:
            self._state.count_store_event("ended")
        return ended

    def _read(self, app: Flask, ghost: Any) -> None:
        """Reads the session of a ghost."""
        note: StoredNote = ghost.__dict__[STORED]
        assert note.policy.storage is not None  # noqa: S101 - the cookie was opened with it
        found = drive(self._finding(app, note), note.policy.storage.store)
        if not is_ghost(ghost):
            # A receiver of a signal has used the session meanwhile.
            return
        if isinstance(found, Loaded):
            fill_with(ghost, found.data)
            remember_creation(ghost, found.snapshot.created)
        else:
            fill(ghost, found)

    def _finding(self, app: Flask, note: StoredNote) -> Exchange[Loaded | SecureCookieSession]:
        """What the store has of a session, or a new session in its place.

        :raises StoreUnavailable: if the store does not answer.
        """
        if note.failure is not None:
            raise StoreUnavailable(note.failure.operation, note.failure.problem, at_once=True)
        if note.lost is not None:
            # A receiver of the signal uses the session.
            session = self.session_class()
            remember_rejection(session, note.lost)
            return session
        policy = note.policy
        storage = policy.storage
        assert storage is not None  # noqa: S101 - the cookie was opened with it
        terms = self._terms(app, policy, storage)
        try:
            loading = exchange.load(terms, note.address, note.generation)
            loaded = yield from self._asking(app, loading, note)
        except StoreUnavailable:
            if storage.is_readonly:
                return self.session_class()
            raise
        except SessionRejected as error:
            note.lost = error.reason
            if isinstance(error, exchange.Superseded):
                note.superseded_at = error.since
            return self._reject(app, error.reason, "")
        self._state.count_store_event("read")
        note.take(loaded)
        return loaded

    def _reject(self, app: Flask, reason: Reason, token: str) -> SecureCookieSession:
        """Counts a refused cookie, and gives a new session in its place."""
        raise NotImplementedError

    def _newer_policy(self, app: Flask, policy: Policy) -> Policy | None:
        """The policy with the keys that the ring has received since; ``None`` if it has not."""
        raise NotImplementedError

    def _terms(self, app: Flask, policy: Policy, storage: Storage) -> Terms:
        """What the configuration says, for one exchange."""
        return _Terms(self, app, policy, storage)

    def _asking(
        self, app: Flask, asked: Exchange[T], note: StoredNote | None = None
    ) -> Exchange[T]:
        """An exchange, with what an outage of the store needs.

        :param note: the note on the session, which remembers that the store did not answer.
        :raises StoreUnavailable: if the store does not answer. This has been counted, logged and
            signalled.
        """
        try:
            return (yield from asked)
        except StoreUnavailable as error:
            if note is not None:
                # At first: a receiver may use the session.
                note.failure = error
            self._state.count_store_event("breaker" if error.at_once else "unavailable")
            if self._log_limit.allows(StoreUnavailable):
                log_event(
                    logging.ERROR,
                    "store.unavailable",
                    "%s",
                    error,
                    operation=error.operation,
                    problem=error.problem,
                )
            store_unavailable.send(app, operation=error.operation, error=error)
            raise
