"""Opening and saving a session in Python, hook by hook, as Flask's own interface does.

``_core.NativePath`` does the same in one native call for every request in which all that is in
the way is Flask's own, and calls ``_open`` and ``_save`` here for the others. Both give the same
cookies; ``tests/test_paths.py`` holds them together.
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

from . import settings
from ._core import NativePath, NativeState, Origin, SessionKeys, deflate, inflate
from .errors import ConfigurationError, Reason, SessionRejected, SessionTooLarge
from .lifetimes import CREATED, take_creation
from .session import creation_of, origin_of, remember_creation, remember_origin
from .signals import session_migrated, session_rejected

if TYPE_CHECKING:
    from flask import Flask, Request, Response

    from .sources import Sealing

logger = logging.getLogger("flask_fernet")

#: First byte of a compressed payload: JSON never begins so.
_COMPRESSED = b"."
#: Most bytes that a compressed payload may unpack to, as in ``src/compress.rs``.
_MAX_INFLATED = 1 << 20
#: Seconds between two log lines about the same reason.
_LOG_INTERVAL = 60.0


@dataclass(frozen=True)
class _Sealed:
    """A token and the length in bytes of the ``Set-Cookie`` value that it makes, at most."""

    token: str
    size: int
    fits: bool


@dataclass(frozen=True)
class Migration:
    """Sessions that came in another format than the one written."""

    count: int
    #: When the last one came, in seconds since the epoch.
    last_seen: int


class PortablePath(NativePath, SecureCookieSessionInterface):
    """The part of the interface that works through Flask's hooks."""

    __slots__ = ("_logged", "_migrations", "_state")

    #: Looked up by the native path.
    _state: NativeState
    _logged: dict[Reason, float]
    _migrations: dict[str, Migration]

    def _sealing(self, app: Flask) -> Sealing:
        """What the configuration says now."""
        raise NotImplementedError

    def _known_sealing(self, app: Flask) -> Sealing:
        """The same, from the last time as long as nothing has changed."""
        known: Sealing | None = self._last_sealing(app)
        return self._sealing(app) if known is None else known

    # Opening.

    def _open(self, app: Flask, request: Request) -> SecureCookieSession | None:
        sealing = self._known_sealing(app)
        if sealing.is_null:
            return None
        try:
            name = self.get_cookie_name(app)
            token = request.cookies.get(name)
        except UnicodeDecodeError:
            # Raised by Werkzeug for a header that is not UTF-8.
            return self._reject(app, Reason.MALFORMED)
        if not token:
            return self.session_class()
        try:
            if sealing.signed is not None and sealing.signed.looks_like_one(token):
                return self._open_signed(app, sealing, token)
            opened = self._open_encrypted(app, sealing, token, name)
        except SessionRejected as error:
            return self._reject(app, error.reason)
        return self._restore(app, *opened)

    def _open_signed(self, app: Flask, sealing: Sealing, token: str) -> SecureCookieSession:
        assert sealing.signed is not None  # noqa: S101 - for the type checker
        max_age = int(sealing.lifetime.total_seconds())
        payload, issued_at = sealing.signed.open(token, int(time.time()), max_age)
        if payload.startswith(_COMPRESSED):
            # From a custom serializer: bare, it would be taken for compressed.
            payload = deflate(payload)
        return self._restore(app, payload, issued_at, True, "flask-signed")

    def _open_encrypted(
        self, app: Flask, sealing: Sealing, token: str, name: str
    ) -> tuple[bytes, int, bool, str]:
        keys = sealing.keys
        if keys.made is None:
            raise SessionRejected(Reason.MALFORMED)
        max_age = int(sealing.lifetime.total_seconds())
        try:
            return keys.made.open(token, int(time.time()), max_age, name)
        except SessionRejected as error:
            if error.reason is not Reason.UNAUTHENTIC or keys.ring is None:
                raise
        # Another worker may have a newer ring.
        newer = None if keys.ring.poll_now() is keys.state else self._sealing(app).keys.made
        if newer is None or newer is keys.made:
            raise SessionRejected(Reason.UNAUTHENTIC)
        return newer.open(token, int(time.time()), max_age, name)

    def _count_migration(self, app: Flask, source: str) -> bool:
        """Whether a session came in another format than the one written; if so, counts it."""
        if source == (app.config.get("SESSION_ENCRYPTION_FORMAT") or settings.FORMATS[0]):
            return False
        former = self._migrations.get(source, Migration(0, 0))
        self._migrations[source] = Migration(former.count + 1, int(time.time()))
        session_migrated.send(app, format=source)
        return True

    def _restore(
        self, app: Flask, payload: bytes, issued_at: int, newest: bool, source: str
    ) -> SecureCookieSession:
        """The session in an authentic payload of the format ``source``."""
        try:
            data = self._load(app, payload)
        except Exception:  # noqa: BLE001 - a user's serializer, an authentic payload
            return self._reject(app, Reason.UNDECODABLE)
        if not isinstance(data, Mapping):
            return self._reject(app, Reason.UNDECODABLE)
        data, created = take_creation(data, issued_at)
        lifetimes = self._known_sealing(app).lifetimes
        if lifetimes.absolute is not None and time.time() - created > lifetimes.absolute:
            return self._reject(app, Reason.EXPIRED)
        session = self.session_class(data)
        if lifetimes.absolute is not None:
            remember_creation(session, created)
        moved = self._count_migration(app, source)
        if moved or not newest or app.debug or lifetimes.refresh_from:
            remember_origin(session, Origin(payload, issued_at, reissue=moved or not newest))
        return session

    def _reissue_later(
        self,
        app: Flask,
        session: SecureCookieSession,
        issued_at: int,
        payload: bytes,
        source: str,
    ) -> None:
        """Called by the native path for a session under an older key, or in another format."""
        self._count_migration(app, source)
        remember_origin(session, Origin(payload, issued_at, reissue=True))

    def _reject(self, app: Flask, reason: str) -> SecureCookieSession:
        """A new session in place of one that did not open."""
        reason = Reason(reason)
        self._state.count_rejection(reason)
        now = time.monotonic()
        if now - self._logged.get(reason, -_LOG_INTERVAL) >= _LOG_INTERVAL:
            self._logged[reason] = now
            # An expired session is nothing to look into.
            level = logging.INFO if reason is Reason.EXPIRED else logging.WARNING
            total = self._state.rejections()[reason.value]
            logger.log(level, "Refused a session cookie: %s (%d so far).", reason, total)
        session_rejected.send(app, reason=reason)
        return self.session_class()

    # Saving.

    def _save(self, app: Flask, session: SessionMixin, response: Response) -> None:
        # In Flask's order, each once: a hook may do anything, to the session as well.
        name = self.get_cookie_name(app)
        attributes: dict[str, Any] = {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "partitioned": self.get_cookie_partitioned(app),
            "samesite": self.get_cookie_samesite(app),
            "httponly": self.get_cookie_httponly(app),
        }
        # Before Flask 3.1.3 looking at `permanent` counts as access.
        accessed = session.accessed
        if accessed:
            response.vary.add("Cookie")
        if not session:
            if session.modified:
                response.delete_cookie(name, **attributes)
                response.vary.add("Cookie")
            return
        origin = origin_of(session)
        if self.should_set_cookie(app, session) and not self._is_fresh(app, session, origin):
            attributes["expires"] = self.get_expiration_time(app, session)
            self._write(app, session, response, name, attributes)
        elif origin is None:
            return
        elif origin.reissue and accessed and not response.cache_control.public:
            self._reissue(app, session, response, name, attributes, origin)
        elif app.debug:
            self._warn_of_lost_changes(app, session, origin)

    def _is_fresh(self, app: Flask, session: SessionMixin, origin: Origin | None) -> bool:
        """Whether a session that nobody changed was issued so lately that it is not refreshed."""
        refresh_from = self._known_sealing(app).lifetimes.refresh_from
        if not refresh_from or session.modified or origin is None:
            return False
        return time.time() - origin.issued_at < refresh_from

    def _write(
        self,
        app: Flask,
        session: SessionMixin,
        response: Response,
        name: str,
        attributes: dict[str, Any],
    ) -> None:
        """Sets the cookie to the session as it is now."""
        data = dict(session)
        if self._known_sealing(app).lifetimes.absolute is not None:
            data[CREATED] = creation_of(session, int(time.time()))
        payload = self._dump(app, data)
        sealed = self._seal(app, response, name, attributes, payload, int(time.time()))
        overflow = settings.choice(app.config, "SESSION_OVERFLOW", settings.OVERFLOWS)
        if sealed.fits or overflow == "warn":
            response.set_cookie(name, sealed.token, **attributes)
            response.vary.add("Cookie")
        elif not getattr(session, "__dict__", {}).get("_overflowed"):
            # Flask now makes a response to this error and saves the same session with it.
            if hasattr(session, "__dict__"):
                session.__dict__["_overflowed"] = True
            raise SessionTooLarge(sealed.size, response.max_cookie_size or SessionKeys.MAX_TOKEN)

    def _reissue(
        self,
        app: Flask,
        session: SessionMixin,
        response: Response,
        name: str,
        attributes: dict[str, Any],
        origin: Origin,
    ) -> None:
        """Sets the cookie to what came, under the newest key, with the time it came with.

        What came, and not what the session is now: changes that Flask does not see are lost with
        one key and with several. It may fail to fit, and then stays as it is.
        """
        assert origin.payload is not None  # noqa: S101 - it is kept for this
        expires = self.get_expiration_time(app, session)
        if expires is not None and self._expiration_is_flasks():
            # Counted from when the session was issued.
            expires -= timedelta(seconds=max(0, int(time.time()) - origin.issued_at))
        attributes["expires"] = expires
        sealed = self._seal(app, response, name, attributes, origin.payload, origin.issued_at)
        if sealed.fits:
            response.set_cookie(name, sealed.token, **attributes)
            response.vary.add("Cookie")

    def _expiration_is_flasks(self) -> bool:
        hook = getattr(self.get_expiration_time, "__func__", None)
        return hook is SecureCookieSessionInterface.get_expiration_time

    def _seal(
        self,
        app: Flask,
        response: Response,
        name: str,
        attributes: dict[str, Any],
        payload: bytes,
        issued_at: int,
    ) -> _Sealed:
        """The first token over the payload that fits into its cookie, or the shortest."""
        sealing = self._known_sealing(app)
        limit = response.max_cookie_size
        # What is no ASCII may come to be nine times as long.
        around = 256 + 9 * sum(
            len(value) for value in (name, *attributes.values()) if isinstance(value, str)
        )
        too_large = []
        for candidate in self._candidates_in(sealing, payload):
            token = self._token(sealing, candidate, issued_at, name)
            if len(token) + around <= min(limit or SessionKeys.MAX_TOKEN, SessionKeys.MAX_TOKEN):
                return _Sealed(token, len(token) + around, fits=True)
            size = len(dump_cookie(name, token, max_size=0, **attributes))
            fits = (not limit or size <= limit) and len(token) <= SessionKeys.MAX_TOKEN
            if fits:
                return _Sealed(token, size, fits)
            too_large.append(_Sealed(token, size, fits))
        return min(too_large, key=lambda sealed: sealed.size)

    def _candidates_in(self, sealing: Sealing, payload: bytes) -> Iterator[bytes]:
        if sealing.format != "flask-signed":
            return self._candidates(payload, sealing.compression)
        # Which compresses in a way of its own.
        inflated = inflate(payload) if payload.startswith(_COMPRESSED) else None
        return iter([payload if inflated is None else inflated])

    def _token(self, sealing: Sealing, payload: bytes, issued_at: int, name: str) -> str:
        if sealing.format == "flask-signed" and sealing.signed is not None:
            return sealing.signed.seal(payload, issued_at)
        if sealing.keys.made is None:
            raise ConfigurationError(
                "The session cannot be saved: the keys it was opened with are gone from the "
                "configuration."
            )
        return sealing.keys.made.seal(payload, issued_at, name)

    def _candidates(self, payload: bytes, compression: str) -> Iterator[bytes]:
        """The payload as it may be sealed: the first that fits is."""
        as_it_is = payload.startswith(_COMPRESSED) or len(payload) > _MAX_INFLATED
        if as_it_is or compression != "always":
            yield payload
        if as_it_is or compression == "never":
            return
        packed = deflate(payload)
        if len(packed) < len(payload):
            yield packed
        if compression == "always":
            yield payload

    def _warn_of_lost_changes(self, app: Flask, session: SessionMixin, origin: Origin) -> None:
        """In debug mode: says that nested data was changed, and that nobody will see it."""
        if origin.payload is None or type(self.serializer) is not TaggedJSONSerializer:
            # Another may write the same session differently each time.
            return
        try:
            before, _ = take_creation(self._load(app, origin.payload), 0)
            lost = self._dump(app, session) != self._dump(app, before)
        except Exception:  # noqa: BLE001 - a user's tags; what cannot be written is lost
            lost = True
        if lost:
            logger.warning(
                "Data nested in the session was changed, and the change is lost: Flask sees "
                "only changes to the session itself. Set session.modified = True after it."
            )

    # Bytes.

    def _dump(self, app: Flask, data: Mapping[str, Any]) -> bytes:
        """A session as bytes, by the serializer, or as it would have them."""
        plain = dict(data)
        payload = self._dump_natively(app, plain)
        return self._pack(plain) if payload is None else payload

    def _pack(self, value: Any) -> bytes:
        """Any value as bytes, by the serializer; never such as look compressed."""
        text = self.serializer.dumps(value)
        payload = text.encode() if isinstance(text, str) else text
        # From a custom serializer: bare, it would be taken for compressed.
        return deflate(payload) if payload.startswith(_COMPRESSED) else payload

    def _load(self, app: Flask, payload: bytes) -> Any:
        """What `_pack` was given, or `deflate` and `_pack`."""
        if payload.startswith(_COMPRESSED):
            inflated = inflate(payload)
            if inflated is None:
                raise ValueError("broken or oversized compressed payload")
            payload = inflated
        data = self._load_natively(app, payload)
        if data is not None:
            return data
        serializer = self.serializer
        text = isinstance(serializer, TaggedJSONSerializer) or is_text_serializer(serializer)
        return serializer.loads(payload.decode() if text else payload)  # type: ignore[arg-type]
