"""Stored sessions between Flask and the store: opened as ghosts, and saved when they changed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from flask.sessions import SecureCookieSessionInterface, SessionMixin

from .._core import CREATED, STORED, Policy, write_reference
from ..errors import (
    ConfigurationError,
    Reason,
    SessionConflict,
    SessionRejected,
    SessionTooLarge,
    StoreUnavailable,
    UnreadablePayload,
)
from ..log import logger
from ..signals import session_conflict, store_unavailable
from ..stored import exchange, owners
from ..stored.exchange import Change, Exchange, Identity, Outcome, Saved, Terms
from ..stored.ghost import appear, fill, ghost_class, is_ghost, new_ghost
from ..stored.merging import merge
from ..stored.records import ID_BYTES, MAX_PAYLOAD, Snapshot, opened
from ..stored.state import StoredNote, note_of
from .lifetimes import CLEARED
from .payload import MARK, PayloadInterface
from .session import DRAWN_ID, remember_creation
from .storage import Storage

if TYPE_CHECKING:
    from flask import Flask, Response
    from flask.sessions import SecureCookieSession

T = TypeVar("T")

#: What every key begins with that an app must not set.
RESERVED = "flask-fernet:"
_RESERVED = RESERVED.encode()
#: Seconds after a log-in or log-out within which a request that came with the former cookie sets no
#: new one: it would replace the one that the browser has just got.
SUPERSEDED_FOR = 10


class StoredSave:
    """One save of a session in an app with a store.

    :param now: seconds since the epoch.
    :param cookie: the cookie's name, and its attributes without ``expires``, if the hooks have been
        asked for them; if not, they are Flask's own, and are asked when a cookie is sent.
    """

    __slots__ = ("app", "cookie", "now", "policy", "response", "session")

    def __init__(
        self,
        app: Flask,
        session: SessionMixin,
        response: Response,
        policy: Policy,
        now: float,
        cookie: tuple[str, Mapping[str, Any]] | None,
    ) -> None:
        self.app = app
        self.session = session
        self.response = response
        self.policy = policy
        self.now = now
        self.cookie = cookie

    @property
    def storage(self) -> Storage:
        """The store and what belongs to it.

        :raises ConfigurationError: if there is none any more.
        """
        if self.policy.storage is None:
            raise ConfigurationError("SESSION_STORE was removed while a request was under way.")
        return self.policy.storage

    @property
    def is_public(self) -> bool:
        """Whether shared caches may keep the response: it then renews no cookie."""
        return bool(self.response.cache_control.public)


class _Terms(Terms):
    """What an app's configuration says, by way of its interface."""

    __slots__ = ("_app", "_interface", "_policy")

    def __init__(
        self, interface: StoringInterface, app: Flask, policy: Policy, storage: Storage
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
        if hook is StoringInterface.merge_sessions:
            return interface._merge(self._app, base, mine, theirs)
        return interface.merge_sessions(self._app, base, mine, theirs), ()


class StoringInterface(PayloadInterface):
    """Opens and saves the sessions that lie in a store."""

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
        assert policy.storage is not None  # noqa: S101 - the caller has checked
        records = policy.storage.records
        note = StoredNote(self, app, records, id, generation, issued_at, newest)
        ghosts = ghost_class(self.session_class)
        if ghosts is not None:
            return new_ghost(ghosts, note)  # type: ignore[no-any-return]
        session = self._read_session(app, note)
        if not hasattr(session, "__dict__"):
            raise ConfigurationError(
                "SESSION_STORE needs a session_class whose instances have a __dict__."
            )
        session.__dict__[STORED] = note
        return session

    def _revoke(self, app: Flask, note: StoredNote) -> bool:
        """Ends the session to which a note belongs. Returns whether it was there."""
        policy = self._policy(app)
        if policy.storage is None:
            raise ConfigurationError("SESSION_STORE was removed while a request was under way.")
        terms = self._terms(app, policy, policy.storage)
        ended = self._drive(app, policy.storage, owners.ended(terms, note.address))
        if ended:
            self._state.count_store_event("ended")
        return ended

    def _read(self, app: Flask, ghost: Any) -> None:
        """Reads the session of a ghost."""
        fill(ghost, self._read_session(app, ghost.__dict__[STORED]))

    def _read_session(self, app: Flask, note: StoredNote) -> SecureCookieSession:
        """The session to which a note belongs, or a new one in its place.

        :raises StoreUnavailable: if the store does not answer.
        """
        if note.failure is not None:
            raise StoreUnavailable(note.failure.operation, note.failure.problem, at_once=True)
        policy = self._policy(app)
        storage = policy.storage
        if storage is None:
            raise ConfigurationError("SESSION_STORE was removed while a request was under way.")
        terms = self._terms(app, policy, storage)
        try:
            loaded = self._drive(app, storage, exchange.load(terms, note.address, note.generation))
        except StoreUnavailable as error:
            note.failure = error
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
        session = self.session_class(loaded.data)
        remember_creation(session, loaded.snapshot.created)
        return session

    def _reject(self, app: Flask, reason: Reason, token: str) -> SecureCookieSession:
        """Counts a refused cookie, and gives a new session in its place."""
        raise NotImplementedError

    def _newer_policy(self, app: Flask, policy: Policy) -> Policy | None:
        """The policy with the keys that the ring has received since; ``None`` if it has not."""
        raise NotImplementedError

    def _terms(self, app: Flask, policy: Policy, storage: Storage) -> Terms:
        """What the configuration says, for one exchange."""
        return _Terms(self, app, policy, storage)

    def _drive(self, app: Flask, storage: Storage, asked: Exchange[T]) -> T:
        """Carries an exchange out.

        :raises StoreUnavailable: if the store does not answer. This has been counted, logged and
            signalled.
        """
        try:
            return exchange.drive(asked, storage.store)
        except StoreUnavailable as error:
            self._state.count_store_event("breaker" if error.at_once else "unavailable")
            if self._log_limit.allows(StoreUnavailable):
                logger.error("%s", error)
            store_unavailable.send(app, operation=error.operation, error=error)
            raise

    def _save_noted(
        self, app: Flask, session: SessionMixin, response: Response, policy: Policy
    ) -> None:
        """Saves a session whose cookie referred to the store. Called by the native path, which has
        set ``Vary``, where every hook is Flask's.
        """
        self._save_stored(StoredSave(app, session, response, policy, time.time(), None))

    def _save_stored(self, save: StoredSave) -> None:
        """Saves a session whose cookie referred to the store."""
        note = note_of(save.session)
        if note is None or note.failure is not None or note.has_ended:
            return
        if note.revoked:
            if save.session and self.should_set_cookie(save.app, save.session):
                self._save_new(save)
            else:
                self._delete_cookie(save)
            return
        if is_ghost(save.session):
            modified = bool(vars(save.session).get("modified"))
            if not modified and not self._is_due(save, note):
                return
            try:
                appear(save.session)
            except StoreUnavailable:
                if modified:
                    raise
                # A refresh never fails.
                return
            if note.failure is not None:
                return
        if note.lost is not None:
            self._save_lost(save, note)
            return
        try:
            self._save_change(save, note)
        except (StoreUnavailable, SessionConflict, SessionTooLarge):
            # Flask makes a response to this error and saves the same session with it: raise once.
            note.has_ended = True
            raise

    @staticmethod
    def _is_due(save: StoredSave, note: StoredNote) -> bool:
        """Whether the cookie of an unchanged session may have to be renewed."""
        if save.now - note.issued_at < save.policy.refresh_from:
            return False
        return save.app.config["SESSION_REFRESH_EACH_REQUEST"] and not save.is_public

    def _save_lost(self, save: StoredSave, note: StoredNote) -> None:
        """Saves what was put into the new session in place of one that did not open."""
        session = save.session
        if not session:
            # Of a request that lost its session to another one, the client's cookie is not touched.
            if session.modified and note.lost not in (Reason.GONE, Reason.SUPERSEDED):
                self._delete_cookie(save)
            return
        if not self.should_set_cookie(save.app, session):
            return
        if note.lost is Reason.SUPERSEDED:
            is_recent = save.now - note.superseded_at < SUPERSEDED_FOR
            if is_recent and session.get(save.storage.user_key) is None:
                self._report(save, Saved(Outcome.SUPERSEDED))
                return
        self._save_new(save)

    def _save_new(self, save: StoredSave) -> None:
        """Puts a session that is not in the store into it."""
        session, data = save.session, dict(save.session)
        id = _new_id(session)
        # Whatever fails now: Flask saves the same session again, with its response to the error.
        records = save.storage.records
        note = StoredNote(self, save.app, records, id, b"", int(save.now), True)
        note.has_ended = True
        vars(session)[STORED] = note
        payload = self._stored_payload(save, data)
        terms = self._terms(save.app, save.policy, save.storage)
        creation = exchange.create(terms, note.address, data, payload)
        try:
            saved = self._drive(save.app, save.storage, creation)
        except StoreUnavailable:
            if save.storage.is_readonly:
                return
            raise
        self._state.count_store_event("created")
        assert saved.loaded is not None  # noqa: S101 - it was created
        note.take(saved.loaded)
        note.generation, note.has_ended = saved.generation, False
        remember_creation(session, saved.loaded.snapshot.created)
        self._send_cookie(save, id, saved.generation, int(save.now))

    def _save_change(self, save: StoredSave, note: StoredNote) -> None:
        """Writes a session that was read from the store, if it changed or is due."""
        session, before = save.session, note.loaded
        data = dict(session)
        identity = self._identity(save, before.user, data)
        if not data and before.data and identity in (Identity.LOGGED_OUT, Identity.CLEARED):
            self._end(save, note)
            return
        payload = self._stored_payload(save, data)
        changed = payload != before.base
        is_overridden = not self._is_flasks("should_set_cookie")
        if is_overridden and not self.should_set_cookie(save.app, session):
            return
        is_old = save.now - note.issued_at >= save.policy.refresh_from
        if changed or identity is not Identity.SAME or session.modified:
            renew = is_old
        else:
            renew = (
                is_old and self._is_due(save, note) and self.should_set_cookie(save.app, session)
            )
        is_current = note.is_newest and before.snapshot.key == 0
        reissue = not is_current and session.accessed and not save.is_public
        rewrite = reissue and before.snapshot.key > 0
        generation = note.generation
        if changed or identity is not Identity.SAME or renew or rewrite:
            change = Change(note.address, before, data, payload, identity, renew)
            terms = self._terms(save.app, save.policy, save.storage)
            try:
                saved = self._drive(save.app, save.storage, exchange.save(terms, change))
            except SessionRejected:
                # The newest record does not open, and nothing is ever written over such a record.
                saved = Saved(Outcome.GONE)
            except (StoreUnavailable, SessionConflict) as error:
                if not changed and identity is Identity.SAME:
                    # A refresh never fails.
                    return
                is_away = isinstance(error, StoreUnavailable)
                # A log-out that was not made is never hidden.
                if is_away and save.storage.is_readonly and identity is not Identity.LOGGED_OUT:
                    return
                raise
            self._report(save, saved)
            if saved.outcome in (Outcome.GONE, Outcome.SUPERSEDED):
                note.has_ended = True
                return
            if saved.loaded is None:
                note.has_ended = True
                self._delete_cookie(save)
                return
            generation = saved.generation
            note.take(saved.loaded)
            remember_creation(session, saved.loaded.snapshot.created)
        else:
            self._state.count_store_event("unchanged")
        is_new = generation != note.generation
        if renew or is_new or is_overridden:
            note.issued_at = int(save.now)
        elif not (reissue and not note.is_newest):
            return
        note.generation, note.is_newest = generation, True
        self._send_cookie(save, note.id, generation, note.issued_at)

    @staticmethod
    def _identity(save: StoredSave, before: object, data: Mapping[str, Any]) -> Identity:
        user = data.get(save.storage.user_key)
        if user != before or type(user) is not type(before):
            return Identity.LOGGED_OUT if user is None else Identity.LOGGED_IN
        notes = vars(save.session)
        if notes.get(CLEARED):
            return Identity.CLEARED
        return Identity.REGENERATED if notes.get(CREATED, 0) is None else Identity.SAME

    def _end(self, save: StoredSave, note: StoredNote) -> None:
        """Ends a session that was emptied."""
        terms = self._terms(save.app, save.policy, save.storage)
        ended = self._drive(save.app, save.storage, exchange.end(terms, note.address, note.loaded))
        note.has_ended = True
        if ended:
            self._state.count_store_event("ended")
            self._delete_cookie(save)

    def _report(self, save: StoredSave, saved: Saved) -> None:
        """Counts and signals what became of a change."""
        if saved.outcome is Outcome.GONE:
            self._state.count_rejection(Reason.GONE)
            return
        self._state.count_store_event(saved.outcome.value)
        if saved.outcome is not Outcome.WRITTEN:
            session_conflict.send(save.app, outcome=saved.outcome.value, keys=list(saved.conflicts))

    def _stored_payload(self, save: StoredSave, data: Mapping[str, Any]) -> bytes:
        """A session as the bytes that are stored, not compressed.

        :raises SessionTooLarge: if there are too many of them.
        """
        payload = self._dump(save.app, data)
        if _RESERVED in payload and any(str(key).startswith(RESERVED) for key in data):
            raise ValueError(f"A session must not have a key that begins with {RESERVED!r}.")
        if len(payload) > MAX_PAYLOAD:
            raise SessionTooLarge(
                len(payload), MAX_PAYLOAD, self._largest(save.app, save.session), stored=True
            )
        return payload

    def _is_flasks(self, hook: str) -> bool:
        """Whether a hook is the one of Flask's interface."""
        flasks = getattr(SecureCookieSessionInterface, hook)
        return getattr(getattr(self, hook), "__func__", None) is flasks

    def _send_cookie(self, save: StoredSave, id: bytes, generation: bytes, issued_at: int) -> None:
        """Sets the cookie to a reference to the session."""
        keys = save.policy.keys
        assert keys is not None  # noqa: S101 - there is no storage without keys
        name, attributes = save.cookie or self._cookie(save.app)
        expires = self.get_expiration_time(save.app, save.session)
        if expires is not None and self._is_flasks("get_expiration_time"):
            # Count from the time at which the cookie was issued.
            expires -= timedelta(seconds=max(0, int(save.now) - issued_at))
        token = keys.seal(write_reference(id, generation), issued_at, name)
        save.response.set_cookie(name, token, **attributes, expires=expires)
        save.response.vary.add("Cookie")

    def _delete_cookie(self, save: StoredSave) -> None:
        name, attributes = save.cookie or self._cookie(save.app)
        save.response.delete_cookie(name, **attributes)
        save.response.vary.add("Cookie")


def _new_id(session: object) -> bytes:
    """The id of a session that is to be stored, drawn already if ``handle`` was asked for."""
    drawn = vars(session).pop(DRAWN_ID, None)
    return drawn if isinstance(drawn, bytes) else secrets.token_bytes(ID_BYTES)
