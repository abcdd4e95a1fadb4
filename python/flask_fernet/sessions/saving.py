"""Saving a session in Python, hook by hook; natively ``src/python/session/save.rs`` does it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.http import dump_cookie

from .._core import CREATED, Policy, Provenance, SessionKeys, inflate, is_reference
from ..driver import Exchange, drive
from ..errors import ConfigurationError, SessionTooLarge, UnreadablePayload
from ..log import log_event
from ..stored.state import note_of
from .lifetimes import take_creation
from .payload import MARK
from .session import creation_of, provenance_of
from .storing import RESERVED, PresentStore, StoredSave, StoringInterface

if TYPE_CHECKING:
    from flask import Flask, Response


@dataclass(frozen=True)
class _Save:
    """One save of a session. Policy and clock are read once, so that all parts agree."""

    app: Flask
    session: SessionMixin
    response: Response
    policy: Policy
    #: Seconds since the epoch.
    now: float
    #: The cookie's name, and its attributes without ``expires``, as the hooks gave them.
    name: str
    attributes: Mapping[str, Any]

    def is_fresh(self, provenance: Provenance | None) -> bool:
        """Whether an unchanged session was issued too recently to be refreshed."""
        refresh_from = self.policy.refresh_from
        if not refresh_from or self.session.modified or provenance is None:
            return False
        return self.now - provenance.issued_at < refresh_from


@dataclass(frozen=True)
class _Sealed:
    """A token with its cookie."""

    token: str
    #: Length of the ``Set-Cookie`` value, in bytes.
    size: int
    fits: bool


def _reissues_still(provenance: Provenance) -> bool:
    until = provenance.reissue_until
    return until is not None and time.monotonic() <= until


class SavingFallback(StoringInterface):
    """Saves sessions through Flask's hooks."""

    __slots__ = ()

    def _save(self, app: Flask, session: SessionMixin | None, response: Response) -> None:
        drive(self._saving(app, session, response), PresentStore(self, app))

    def _saving(
        self, app: Flask, session: SessionMixin | None, response: Response
    ) -> Exchange[None]:
        if session is None:
            # Opening it raised, and this is the response to that error. One error is enough.
            return
        # The hooks run in Flask's order, each once: a hook may do anything, also to the session.
        name, attributes = cookie = self._cookie(app)
        # Read now: before Flask 3.1.3 reading `permanent` counts as access.
        accessed = session.accessed
        if accessed:
            response.vary.add("Cookie")
        if note_of(session) is not None:
            policy = self._policy(app)
            save_stored = StoredSave(app, session, response, policy, time.time(), cookie)
            yield from self._saving_stored(save_stored)
            return
        if not session:
            if session.modified:
                response.delete_cookie(name, **attributes)
                response.vary.add("Cookie")
            return
        provenance = provenance_of(session)
        is_due = self.should_set_cookie(app, session)
        reissued = None
        if provenance is not None and accessed and _reissues_still(provenance):
            reissued = None if response.cache_control.public else provenance
        save = None
        if is_due or reissued is not None:
            # Not earlier: a broken configuration must not fail a request that writes nothing.
            policy, now = self._policy(app), time.time()
            if policy.stores:
                began = self._began(app, policy, session, provenance)
                save_new = StoredSave(app, session, response, policy, now, cookie)
                yield from self._saving_new(save_new, began)
                return
            save = _Save(app, session, response, policy, now, name, attributes)
        if save is not None and is_due and not save.is_fresh(provenance):
            self._write(save)
        elif save is not None and reissued is not None:
            self._reissue(save, reissued)
        elif app.debug and provenance is not None:
            self._warn_of_lost_changes(app, session, provenance)

    def _began(
        self, app: Flask, policy: Policy, session: SessionMixin, provenance: Provenance | None
    ) -> int | None:
        """When a session began that came in its cookie and moves to the store, in seconds since the
        epoch; ``None`` if it begins now.
        """
        if provenance is None or provenance.payload is None or policy.storage is None:
            return None
        if vars(session).get(CREATED, 0) is None:
            # It was regenerated, or cleared.
            return None
        try:
            before, _ = take_creation(self._load(app, provenance.payload), 0)
        except UnreadablePayload:
            return None
        key = policy.storage.user_key
        if not isinstance(before, Mapping) or before.get(key) != session.get(key):
            return None
        return creation_of(session, provenance.issued_at)

    def _write(self, save: _Save) -> None:
        """Sets the cookie to the session as it is now."""
        expires = self.get_expiration_time(save.app, save.session)
        data = dict(save.session)
        if save.policy.absolute_lifetime is not None:
            data[CREATED] = creation_of(save.session, int(save.now))
        payload = self._dump(save.app, data)
        if is_reference(payload):
            raise ValueError(f"A session must not have a key that begins with {RESERVED!r}.")
        attributes = {**save.attributes, "expires": expires}
        sealed = self._seal(save, payload, int(save.now), attributes)
        if sealed.fits or save.policy.overflow == "warn":
            save.response.set_cookie(save.name, sealed.token, **attributes)
            save.response.vary.add("Cookie")
        elif not save.session.modified:
            # A mere refresh never fails: the old cookie stays.
            return
        elif not getattr(save.session, "__dict__", {}).get("_overflowed"):
            # Flask makes a response to this error and saves the same session with it: raise once.
            if hasattr(save.session, "__dict__"):
                save.session.__dict__["_overflowed"] = True
            limit = save.response.max_cookie_size or SessionKeys.MAX_TOKEN
            raise SessionTooLarge(sealed.size, limit, self._largest(save.app, save.session))

    def _reissue(self, save: _Save, provenance: Provenance) -> None:
        """Sets the cookie to the original payload under the newest key, with its issue time.

        Nested changes, which Flask cannot see, are therefore lost whether or not a key was rotated.
        If the payload no longer fits, the old cookie stays.
        """
        assert provenance.payload is not None  # noqa: S101 - kept for this purpose
        expires = self.get_expiration_time(save.app, save.session)
        if expires is not None and self._expiration_is_flasks():
            # Count from the time at which the session was issued.
            expires -= timedelta(seconds=max(0, int(save.now) - provenance.issued_at))
        attributes = {**save.attributes, "expires": expires}
        sealed = self._seal(save, provenance.payload, provenance.issued_at, attributes)
        if sealed.fits:
            save.response.set_cookie(save.name, sealed.token, **attributes)
            save.response.vary.add("Cookie")

    def _expiration_is_flasks(self) -> bool:
        hook = getattr(self.get_expiration_time, "__func__", None)
        return hook is SecureCookieSessionInterface.get_expiration_time

    def _seal(
        self, save: _Save, payload: bytes, issued_at: int, attributes: Mapping[str, Any]
    ) -> _Sealed:
        """The first token over the payload that fits into its cookie, or else the shortest."""
        limit = save.response.max_cookie_size
        too_large = []
        for candidate in self._payloads_to_try(save.policy, payload):
            token = self._token(save, candidate, issued_at)
            size = len(dump_cookie(save.name, token, max_size=0, **attributes))
            if (not limit or size <= limit) and len(token) <= SessionKeys.MAX_TOKEN:
                return _Sealed(token, size, fits=True)
            too_large.append(_Sealed(token, size, fits=False))
        return min(too_large, key=lambda sealed: sealed.size)

    def _payloads_to_try(self, policy: Policy, payload: bytes) -> Iterator[bytes]:
        """The forms in which a payload may be sealed, the preferred one first."""
        if not policy.writes_signed:
            return self._compressed(payload, policy.compression)
        # Flask's signed cookie has its own compression.
        inflated = inflate(payload) if payload.startswith(MARK) else None
        return iter([payload if inflated is None else inflated])

    def _token(self, save: _Save, payload: bytes, issued_at: int) -> str:
        policy = save.policy
        if policy.writes_signed and policy.signed is not None:
            return policy.signed.seal(payload, issued_at)
        if policy.keys is None:
            raise ConfigurationError(
                "The session cannot be saved: the keys with which it was opened are not in the "
                "configuration any more."
            )
        return policy.keys.seal(payload, issued_at, save.name)

    def _warn_of_lost_changes(
        self, app: Flask, session: SessionMixin, provenance: Provenance
    ) -> None:
        """In debug mode: warns that nested data was changed, which Flask does not notice."""
        if provenance.payload is None or type(self.serializer) is not TaggedJSONSerializer:
            # Another serializer may write the same session differently each time.
            return
        try:
            before, _ = take_creation(self._load(app, provenance.payload), 0)
            lost = self._dump(app, session) != self._dump(app, before)
        except Exception:  # noqa: BLE001 - from a user's tags; what cannot be written is lost
            lost = True
        if lost:
            log_event(
                logging.WARNING,
                "session.changes_lost",
                "Data nested in the session was changed, and the change is lost: Flask sees "
                "only changes to the session itself. Set session.modified = True after it.",
            )
