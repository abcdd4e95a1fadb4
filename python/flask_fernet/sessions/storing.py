"""Stored sessions between Flask and the store: saved when they changed, or are due."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask.sessions import SecureCookieSessionInterface, SessionMixin

from .._core import CREATED, STORED, Policy, write_reference
from ..driver import Exchange, drive
from ..errors import (
    ConfigurationError,
    Reason,
    SessionConflict,
    SessionRejected,
    SessionTooLarge,
    StoreUnavailable,
)
from ..signals import session_conflict
from ..stored import changes, exchange
from ..stored.changes import Change, Identity, Outcome, Saved
from ..stored.ghost import appear, is_ghost
from ..stored.records import ID_BYTES, MAX_PAYLOAD
from ..stored.state import StoredNote, note_of
from .lifetimes import CLEARED
from .session import DRAWN_ID, remember_creation
from .storage import Storage
from .stored_reading import ReadingInterface

if TYPE_CHECKING:
    from flask import Flask, Response

#: What every key begins with that an app must not set.
RESERVED = "flask-fernet:"
_RESERVED = RESERVED.encode()
#: Flask's key for ``session.permanent``.
_PERMANENT = "_permanent"
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
        self.app: Flask = app
        self.session: SessionMixin = session
        self.response: Response = response
        self.policy: Policy = policy
        self.now: float = now
        self.cookie: tuple[str, Mapping[str, Any]] | None = cookie

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


class PresentStore:
    """The store that an app's configuration names when the store is first asked: a request that
    asks nothing does not fail because of a configuration that cannot be used.
    """

    def __init__(self, interface: StoringInterface, app: Flask) -> None:
        self._interface = interface
        self._app = app

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """See :meth:`Caller.call`."""
        return self._interface._present_storage(self._app).store.call(name, arguments)


class StoringInterface(ReadingInterface):
    """Opens and saves the sessions that lie in a store."""

    __slots__ = ()

    def _save_noted(
        self, app: Flask, session: SessionMixin, response: Response, policy: Policy
    ) -> None:
        """Saves a session whose cookie referred to the store. Called by the native path, which has
        set ``Vary``, where every hook is Flask's.
        """
        save = StoredSave(app, session, response, policy, time.time(), None)
        drive(self._saving_stored(save), PresentStore(self, app))

    def _saving_stored(self, save: StoredSave) -> Exchange[None]:
        """Saves a session whose cookie referred to the store."""
        note = note_of(save.session)
        if note is not None and note.must_delete:
            self._delete_cookie(save)
            return
        if note is None or note.has_ended:
            return
        if note.failure is not None:
            if vars(save.session).get(CLEARED):
                # Without the store the session was empty, and the log-out cannot be made.
                note.has_ended = True
                raise note.failure
            return
        if note.revoked:
            if save.session and self.should_set_cookie(save.app, save.session):
                yield from self._saving_anew(save)
            else:
                self._delete_cookie(save)
            return
        is_untouched = is_ghost(save.session)
        if is_untouched:
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
            yield from self._saving_lost(save, note)
            return
        try:
            yield from self._saving_change(save, note, is_untouched)
        except Exception:
            # Flask makes a response to this error and saves the same session with it: raise once.
            note.has_ended = True
            raise

    @staticmethod
    def _is_due(save: StoredSave, note: StoredNote) -> bool:
        """Whether the cookie of a session that was not read may have to be renewed."""
        is_old = save.now - note.issued_at >= save.policy.stored_refresh_from
        return is_old and StoringInterface._refreshes(save)

    @staticmethod
    def _refreshes(save: StoredSave) -> bool:
        """Whether sessions are renewed that were not changed."""
        return save.app.config["SESSION_REFRESH_EACH_REQUEST"] and not save.is_public

    def _saving_lost(self, save: StoredSave, note: StoredNote) -> Exchange[None]:
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
        yield from self._saving_anew(save)

    def _saving_anew(self, save: StoredSave) -> Exchange[None]:
        """Saves a session in place of one that has ended, where new sessions are."""
        if save.policy.stores:
            yield from self._saving_new(save)
        else:
            del vars(save.session)[STORED]
            yield from self._saving(save.app, save.session, save.response)

    def _saving(
        self, app: Flask, session: SessionMixin | None, response: Response
    ) -> Exchange[None]:
        """Saves any session."""
        raise NotImplementedError

    def _saving_new(self, save: StoredSave, began: int | None = None) -> Exchange[None]:
        """Puts a session that is not in the store into it.

        :param began: when the session began, in seconds since the epoch, if it was in its cookie.
        """
        session, data = save.session, dict(save.session)
        id = _new_id(session)
        # Whatever fails now: Flask saves the same session again, with its response to the error.
        note = StoredNote(self, save.app, save.policy, id, b"", int(save.now), True)
        note.has_ended = True
        vars(session)[STORED] = note
        payload = self._stored_payload(save, data)
        terms = self._terms(save.app, save.policy, save.storage)
        creation = changes.create(terms, note.address, data, payload, began)
        try:
            saved = yield from self._asking(save.app, creation)
        except StoreUnavailable:
            if save.storage.is_readonly:
                return
            raise
        self._state.count_store_event("created")
        assert saved.loaded is not None  # noqa: S101 - it was created
        note.take(saved.loaded)
        note.generation, note.has_ended, note.must_send = saved.generation, False, True
        remember_creation(session, saved.loaded.snapshot.created)
        self._send_cookie(save, note)

    def _saving_change(
        self, save: StoredSave, note: StoredNote, is_untouched: bool
    ) -> Exchange[None]:
        """Writes a session that was read from the store, if it changed or is due.

        :param is_untouched: whether it was only read because its cookie may have to be renewed.
        """
        session, before = save.session, note.loaded
        data = dict(session)
        identity = self._identity(save, before.user, data)
        if not data and before.data and identity in (Identity.LOGGED_OUT, Identity.CLEARED):
            yield from self._ending(save, note)
            return
        payload = self._stored_payload(save, data)
        changed = payload != before.base
        is_overridden = not self._is_flasks("should_set_cookie")
        if is_overridden and not self.should_set_cookie(save.app, session):
            return
        # The record and its cookie are renewed together; one of them may have failed.
        renewed_at = min(note.issued_at, before.snapshot.renewed_at)
        age = save.now - renewed_at
        # A session whose cookie every response must set was renewed when it was first saved.
        is_old = not note.must_send and age >= save.policy.stored_refresh_from
        if bool(data.get(_PERMANENT)) != bool(before.data.get(_PERMANENT)):
            renew = note.must_send = True
        elif changed or identity is not Identity.SAME or session.modified:
            renew = is_old and not save.is_public
        else:
            renew = (
                is_old
                and self._refreshes(save)
                and (is_overridden or self.should_set_cookie(save.app, session))
            )
        reissue = session.accessed and not save.is_public
        rewrite = reissue and before.snapshot.key > 0
        generation = note.generation
        if changed or identity is not Identity.SAME or renew or rewrite:
            change = Change(note.address, before, data, payload, identity, renew)
            terms = self._terms(save.app, save.policy, save.storage)
            try:
                saved = yield from self._asking(save.app, changes.save(terms, change))
            except SessionRejected:
                # The newest record does not open, and nothing is ever written over such a record.
                saved = Saved(Outcome.GONE)
            except (StoreUnavailable, SessionConflict) as error:
                if not changed and identity is Identity.SAME:
                    # A refresh never fails.
                    return
                is_away = isinstance(error, StoreUnavailable)
                # That a user was not logged out, or stays another one, is never hidden.
                is_hidden = identity is Identity.SAME or before.user is None
                if is_away and save.storage.is_readonly and is_hidden:
                    return
                raise
            self._report(save, saved)
            if saved.outcome in (Outcome.GONE, Outcome.SUPERSEDED):
                note.has_ended = True
                return
            if saved.loaded is None:
                note.has_ended = note.must_delete = True
                self._delete_cookie(save)
                return
            generation = saved.generation
            note.take(saved.loaded)
            remember_creation(session, saved.loaded.snapshot.created)
        else:
            self._state.count_store_event("unchanged")
        note.must_send = note.must_send or generation != note.generation
        # One that is not permanent is not renewed. A new cookie lets it be read less often, and the
        # record ends it all the same.
        is_looked_at = is_untouched and save.policy.stored_refresh_from > 0
        if renew or note.must_send or is_overridden or is_looked_at:
            note.issued_at = int(save.now)
        elif not (reissue and not note.is_newest):
            return
        note.generation, note.is_newest = generation, True
        self._send_cookie(save, note)

    @staticmethod
    def _identity(save: StoredSave, before: object, data: Mapping[str, Any]) -> Identity:
        user = data.get(save.storage.user_key)
        if user != before or type(user) is not type(before):
            return Identity.LOGGED_OUT if user is None else Identity.LOGGED_IN
        notes = vars(save.session)
        if notes.get(CLEARED):
            return Identity.CLEARED
        return Identity.REGENERATED if notes.get(CREATED, 0) is None else Identity.SAME

    def _ending(self, save: StoredSave, note: StoredNote) -> Exchange[None]:
        """Ends a session that was emptied."""
        terms = self._terms(save.app, save.policy, save.storage)
        ending = exchange.end(terms, note.address, note.loaded)
        ended = yield from self._asking(save.app, ending)
        note.has_ended = True
        if ended:
            note.must_delete = True
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

    def _stored_payload(self, save: StoredSave, data: dict[str, Any]) -> bytes:
        """A session as the bytes that are stored, not compressed.

        :raises SessionTooLarge: if there are too many of them.
        """
        payload = self._dump_natively(save.app, data)
        if payload is None:
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

    def _send_cookie(self, save: StoredSave, note: StoredNote) -> None:
        """Sets the cookie to a reference to the session."""
        keys = save.policy.keys
        assert keys is not None  # noqa: S101 - there is no storage without keys
        name, attributes = save.cookie or self._cookie(save.app)
        expires = self.get_expiration_time(save.app, save.session)
        if expires is not None and self._is_flasks("get_expiration_time"):
            # Count from the time at which the cookie was issued.
            expires -= timedelta(seconds=max(0, int(save.now) - note.issued_at))
        token = keys.seal(write_reference(note.id, note.generation), note.issued_at, name)
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
