"""Opening and saving a session in Python, hook by hook, like Flask's own interface.

``_core.NativeInterface`` does the same in one native call where all the Python code that would run
is Flask's own, and calls ``_open`` and ``_save`` here for everything else. Both make the same
cookies; ``tests/parity/test_implementations.py`` compares them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from itsdangerous.serializer import is_text_serializer
from werkzeug.http import dump_cookie

from .._core import (
    COMPRESSED,
    CREATED,
    MAX_INFLATED,
    NativeInterface,
    NativeState,
    Policy,
    Provenance,
    SessionKeys,
    deflate,
    inflate,
)
from ..errors import (
    ConfigurationError,
    Reason,
    SessionRejected,
    SessionTooLarge,
    UnreadablePayload,
)
from ..log import RateLimit, logger
from ..settings import SIGNED_FORMAT
from ..signals import session_migrated, session_rejected
from .lifetimes import take_creation
from .session import creation_of, provenance_of, remember_creation, remember_provenance

if TYPE_CHECKING:
    from flask import Flask, Request, Response

    from .._core import _Host

_MARK = bytes([COMPRESSED])


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
    #: Upper bound of the length of the ``Set-Cookie`` value, in bytes.
    size: int
    fits: bool


class FallbackInterface(NativeInterface, SecureCookieSessionInterface):
    """The part of the interface that works through Flask's hooks."""

    __slots__ = ("_log_limit", "_state")

    #: The native path reads this slot.
    _state: NativeState
    _log_limit: RateLimit

    def _resolve_policy(self, app: Flask) -> Policy:
        """The policy of ``app``, resolved now."""
        raise NotImplementedError

    def _policy(self, app: Flask) -> Policy:
        """The policy of ``app``, from the cache while nothing that it depends on changes."""
        cached = self._cached_policy(app)
        return self._resolve_policy(app) if cached is None else cached

    # Opening.

    def _open(self, app: Flask, request: Request) -> SecureCookieSession | None:
        policy = self._policy(app)
        if policy.is_null:
            return None
        try:
            name = self.get_cookie_name(app)
            token = request.cookies.get(name)
        except UnicodeDecodeError:
            # Werkzeug raises it for a header that is not UTF-8.
            return self._reject(app, Reason.MALFORMED)
        if not token:
            return self.session_class()
        try:
            if policy.signed is not None and policy.signed.looks_like_one(token):
                return self._open_signed(app, policy, token)
            opened = self._open_encrypted(app, policy, token, name)
        except SessionRejected as error:
            return self._reject(app, error.reason)
        return self._restore(app, *opened)

    def _open_signed(self, app: Flask, policy: Policy, token: str) -> SecureCookieSession:
        assert policy.signed is not None  # noqa: S101 - the caller has checked
        max_age = int(policy.lifetime.total_seconds())
        payload, issued_at = policy.signed.open(token, int(time.time()), max_age)
        if payload.startswith(_MARK):
            # A custom serializer wrote it. Unchanged, it would be taken for compressed.
            payload = deflate(payload)
        return self._restore(app, payload, issued_at, True, SIGNED_FORMAT)

    def _open_encrypted(
        self, app: Flask, policy: Policy, token: str, name: str
    ) -> tuple[bytes, int, bool, str]:
        keys = policy.keys
        if keys is None:
            raise SessionRejected(Reason.MALFORMED)
        max_age = int(policy.lifetime.total_seconds())
        try:
            return keys.open(token, int(time.time()), max_age, name)
        except SessionRejected as error:
            if error.reason is not Reason.UNAUTHENTIC or policy.ring is None:
                raise
        # Another worker may already have a newer ring.
        unchanged = policy.ring.poll_now() is policy.ring_state
        newer = None if unchanged else self._resolve_policy(app).keys
        if newer is None or newer is keys:
            raise SessionRejected(Reason.UNAUTHENTIC)
        return newer.open(token, int(time.time()), max_age, name)

    def _restore(
        self, app: Flask, payload: bytes, issued_at: int, newest: bool, source: str
    ) -> SecureCookieSession:
        """The session in an authentic payload. Also called by the native path.

        :param newest: whether the newest key made the token.
        :param source: the format of the token.
        """
        try:
            data = self._load(app, payload)
        except UnreadablePayload:
            return self._reject(app, Reason.UNDECODABLE)
        if not isinstance(data, Mapping):
            return self._reject(app, Reason.UNDECODABLE)
        data, created = take_creation(data, issued_at)
        policy = self._policy(app)
        absolute = policy.absolute_lifetime
        if absolute is not None and time.time() - created > absolute:
            return self._reject(app, Reason.EXPIRED)
        session = self.session_class(data)
        if absolute is not None:
            remember_creation(session, created)
        reissue = self._count_migration(app, policy, source) or not newest
        if reissue or app.debug or policy.refresh_from:
            remember_provenance(session, Provenance(payload, issued_at, reissue))
        return session

    def _reissue_later(
        self,
        app: Flask,
        session: SecureCookieSession,
        issued_at: int,
        payload: bytes,
        source: str,
    ) -> None:
        """Notes that a session came under an older key or in another format. Called by the native
        path.
        """
        self._count_migration(app, self._policy(app), source)
        remember_provenance(session, Provenance(payload, issued_at, reissue=True))

    def _count_migration(self, app: Flask, policy: Policy, source: str) -> bool:
        """Counts a session that came in another format than the one written; whether it did."""
        if source == policy.format:
            return False
        self._state.count_migration(source, int(time.time()))
        session_migrated.send(app, format=source)
        return True

    def _reject(self, app: Flask, reason: Reason) -> SecureCookieSession:
        """Counts a refused cookie, and gives a new session in its place."""
        return self._rejected(app, reason, self._state.count_rejection(reason))

    def _rejected(self, app: Flask, reason: str, total: int) -> SecureCookieSession:
        """Logs and signals a refused cookie that has been counted, and gives a new session in its
        place. Also called by the native path.

        :param total: the number of cookies refused for this reason so far.
        """
        reason = Reason(reason)
        if self._log_limit.allows(reason):
            # An expired session is nothing to investigate.
            level = logging.INFO if reason is Reason.EXPIRED else logging.WARNING
            logger.log(level, "Refused a session cookie: %s (%d so far).", reason, total)
        session_rejected.send(app, reason=reason)
        return self.session_class()

    # Saving.

    def _save(self, app: Flask, session: SessionMixin, response: Response) -> None:
        # The hooks run in Flask's order, each once: a hook may do anything, also to the session.
        name = self.get_cookie_name(app)
        attributes: dict[str, Any] = {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "partitioned": self.get_cookie_partitioned(app),
            "samesite": self.get_cookie_samesite(app),
            "httponly": self.get_cookie_httponly(app),
        }
        # Read now: before Flask 3.1.3 reading `permanent` counts as access.
        accessed = session.accessed
        if accessed:
            response.vary.add("Cookie")
        if not session:
            if session.modified:
                response.delete_cookie(name, **attributes)
                response.vary.add("Cookie")
            return
        provenance = provenance_of(session)
        is_due = self.should_set_cookie(app, session)
        reissued = None
        if provenance is not None and provenance.reissue and accessed:
            reissued = None if response.cache_control.public else provenance
        save = None
        if is_due or reissued is not None:
            # Not earlier: a broken configuration must not fail a request that writes nothing.
            save = _Save(app, session, response, self._policy(app), time.time(), name, attributes)
        if save is not None and is_due and not save.is_fresh(provenance):
            self._write(save)
        elif save is not None and reissued is not None:
            self._reissue(save, reissued)
        elif app.debug and provenance is not None:
            self._warn_of_lost_changes(app, session, provenance)

    def _write(self, save: _Save) -> None:
        """Sets the cookie to the session as it is now."""
        expires = self.get_expiration_time(save.app, save.session)
        data = dict(save.session)
        if save.policy.absolute_lifetime is not None:
            data[CREATED] = creation_of(save.session, int(save.now))
        payload = self._dump(save.app, data)
        attributes = {**save.attributes, "expires": expires}
        sealed = self._seal(save, payload, int(save.now), attributes)
        if sealed.fits or save.policy.overflow == "warn":
            save.response.set_cookie(save.name, sealed.token, **attributes)
            save.response.vary.add("Cookie")
        elif not getattr(save.session, "__dict__", {}).get("_overflowed"):
            # Flask makes a response to this error and saves the same session with it: raise once.
            if hasattr(save.session, "__dict__"):
                save.session.__dict__["_overflowed"] = True
            limit = save.response.max_cookie_size or SessionKeys.MAX_TOKEN
            raise SessionTooLarge(sealed.size, limit)

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
        # Each character that is not ASCII may become nine characters long.
        overhead = 256 + 9 * sum(
            len(value) for value in (save.name, *attributes.values()) if isinstance(value, str)
        )
        too_large = []
        for candidate in self._payloads_to_try(save.policy, payload):
            token = self._token(save, candidate, issued_at)
            bound = len(token) + overhead
            if bound <= min(limit or SessionKeys.MAX_TOKEN, SessionKeys.MAX_TOKEN):
                return _Sealed(token, bound, fits=True)
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
        inflated = inflate(payload) if payload.startswith(_MARK) else None
        return iter([payload if inflated is None else inflated])

    def _compressed(self, payload: bytes, compression: str) -> Iterator[bytes]:
        """The payload, compressed and not, in the order that ``SESSION_COMPRESSION`` asks for."""
        unchanged = payload.startswith(_MARK) or len(payload) > MAX_INFLATED
        if unchanged or compression != "always":
            yield payload
        if unchanged or compression == "never":
            return
        packed = deflate(payload)
        if len(packed) < len(payload):
            yield packed
        if compression == "always":
            yield payload

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
            logger.warning(
                "Data nested in the session was changed, and the change is lost: Flask sees "
                "only changes to the session itself. Set session.modified = True after it."
            )

    # Bytes.

    def _dump(self, app: Flask, data: Mapping[str, Any]) -> bytes:
        """A session as bytes, as the interface's serializer writes it."""
        plain = dict(data)
        payload = self._dump_natively(app, plain)
        return self._pack(plain) if payload is None else payload

    def _pack(self, value: Any) -> bytes:
        """Any value as bytes, by the serializer. Never gives bytes that look compressed and are
        not.
        """
        text = self.serializer.dumps(value)
        payload = text.encode() if isinstance(text, str) else text
        return deflate(payload) if payload.startswith(_MARK) else payload

    def _load(self, app: Flask, payload: bytes) -> Any:
        """Undoes :meth:`_pack` and ``deflate``.

        :raises UnreadablePayload: if the payload was not written by the serializer.
        """
        if payload.startswith(_MARK):
            inflated = inflate(payload)
            if inflated is None:
                raise UnreadablePayload("broken or oversized compressed payload")
            payload = inflated
        data = self._load_natively(app, payload)
        if data is not None:
            return data
        serializer = self.serializer
        try:
            is_text = isinstance(serializer, TaggedJSONSerializer) or is_text_serializer(serializer)
            return serializer.loads(payload.decode() if is_text else payload)  # type: ignore[arg-type]
        except Exception as error:
            # Anything: the serializer may be the user's, and the payload is authentic.
            raise UnreadablePayload("the serializer does not read the payload") from error


if TYPE_CHECKING:
    # The native path calls these methods by name: the checker compares them with the protocol.
    _host: type[_Host] = FallbackInterface
