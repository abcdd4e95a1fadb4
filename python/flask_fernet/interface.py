"""The session interface. Start reading here.

:class:`EncryptedSessionInterface` is written twice. Here it stands in Python, hook by hook, as
Flask's own does. ``_core.NativePath`` does the same in one native call for every request in
which all that is in the way is Flask's own, and answers ``NotImplemented`` for the others, which
then come here. Both give the same cookies; ``tests/test_paths.py`` holds them together.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from itsdangerous.serializer import is_text_serializer
from werkzeug.http import dump_cookie

from . import settings
from ._core import NativePath, SessionKeys, deflate, inflate
from .errors import ConfigurationError, Reason, SessionRejected, SessionTooLarge
from .serializer import EncryptedSerializer
from .signals import session_rejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Flask, Request, Response
    from typing_extensions import Self

logger = logging.getLogger("flask_fernet")

#: First byte of a compressed payload: JSON never begins so.
_COMPRESSED = b"."
#: Most bytes that a compressed payload may unpack to, as in ``src/compress.rs``.
_MAX_INFLATED = 1 << 20
#: Seconds between two log lines about the same reason.
_LOG_INTERVAL = 60.0
#: Bytes below which a secret is too short to be random enough.
_SHORT_SECRET = 16


@dataclass(frozen=True)
class _Origin:
    """How an opened session came, where saving needs to know."""

    issued_at: int
    #: Whether the newest key made its token.
    newest: bool
    #: In debug mode, the session as it would have been written then.
    written: bytes | None = None


class EncryptedSession(SecureCookieSession):
    """A session out of an encrypted cookie: Flask's own, and room for a note on where it came
    from.
    """

    _origin: _Origin | None = None
    _overflowed = False


class EncryptedSessionInterface(SecureCookieSessionInterface):
    """Keeps Flask's sessions in encrypted, authenticated cookies.

    Set it on an app, or hand it the app::

        app.session_interface = EncryptedSessionInterface()

        sessions = EncryptedSessionInterface()
        sessions.init_app(app)

    :param app: an app to set it on at once, as :meth:`init_app` does.
    :param keys: keys from :meth:`Fernet.generate_key`, the newest first. The first encrypts, all
        of them open. Without them ``SESSION_ENCRYPTION_KEYS`` is used, and without that keys are
        derived from ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.
    :raises ConfigurationError: if ``keys`` cannot be used. The app's configuration is checked by
        :meth:`init_app`, or else by the first request.

    Everything that ``SecureCookieSessionInterface`` does for an app this does too: each of its
    hooks, ``session_class``, ``serializer`` and ``salt`` may be overridden in a subclass or set
    on an instance. The exception is ``get_signing_serializer``: to override it is an error,
    because what it returned would decide whether sessions are readable.

    One instance may serve several apps, from any number of threads and forked processes. As with
    any cookie session, of two concurrent responses to one browser the later one wins.
    """

    session_class: type[SecureCookieSession] = EncryptedSession

    # Slots, so that whatever is in `__dict__` was set there by somebody else.
    __slots__ = ("_keys", "_logged", "_native", "_warned_of_secret")

    _keys: list[tuple[str, str | bytes]] | None
    _logged: dict[Reason, float]
    _native: NativePath
    _warned_of_secret: bool

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: D102
        # Here and not in `__init__`, which a subclass may forget to call.
        self = super().__new__(cls)
        self._native = NativePath()
        self._keys = None
        self._logged = {}
        self._warned_of_secret = False
        return self

    def __init__(
        self, app: Flask | None = None, *, keys: Iterable[str | bytes] | None = None
    ) -> None:
        if keys is not None:
            self._keys = settings.named_keys("keys", keys)
            SessionKeys(self._keys, [], self.salt)
        if app is not None:
            self.init_app(app)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ours = EncryptedSessionInterface.get_signing_serializer
        if cls.get_signing_serializer is not ours:
            raise _signing_serializer_overridden(cls.__name__)

    def init_app(self, app: Flask) -> None:
        """Checks the configuration of ``app`` and makes this its session interface.

        :raises ConfigurationError: if a setting cannot be used.
        """
        self._sealing(app)
        settings.choice(app.config, "SESSION_OVERFLOW", settings.OVERFLOWS)
        app.session_interface = self

    @property
    def rejections(self) -> dict[str, int]:
        """How many session cookies did not open in this process, by :class:`Reason`."""
        return self._native.rejections()

    def get_signing_serializer(  # type: ignore[override]
        self, app: Flask
    ) -> EncryptedSerializer | None:
        """An object with ``dumps`` and ``loads`` over this interface's encrypted tokens.

        :returns: ``None`` where the app has no key, as in Flask.
        """
        keys, _, compression = self._sealing(app)
        if keys is None:
            return None

        def pack(data: Any) -> bytes:
            return self._candidates(self._dump(data), compression)[0]

        return EncryptedSerializer(keys, pack, self._load)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session in the request's cookie; a new one where there is none, or none that
        opens; ``None`` where the app has no key.
        """
        session = self._native.open(self, app, request)
        if session is NotImplemented:
            return self._open(app, request)
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Sets the session's cookie on the response, or deletes it, or leaves it alone.

        :raises SessionTooLarge: if the cookie would be longer than ``MAX_COOKIE_SIZE``.
        """
        if self._native.save(self, app, session, response) is NotImplemented:
            self._save(app, session, response)

    # Opening, in Python.

    def _open(self, app: Flask, request: Request) -> SecureCookieSession | None:
        keys, lifetime, _ = self._sealing(app)
        if keys is None:
            return None
        try:
            token = request.cookies.get(self.get_cookie_name(app))
        except UnicodeDecodeError:
            # Raised by Werkzeug for a header that is not UTF-8.
            return self._reject(app, Reason.MALFORMED)
        if not token:
            return self.session_class()
        max_age = int(lifetime.total_seconds())
        try:
            payload, issued_at, newest = keys.open(token, int(time.time()), max_age)
        except SessionRejected as error:
            return self._reject(app, error.reason)
        return self._restore(app, payload, issued_at, newest)

    def _restore(
        self, app: Flask, payload: bytes, issued_at: int, newest: bool
    ) -> SecureCookieSession:
        """The session in an authentic payload."""
        try:
            data = self._load(payload)
        except Exception:  # noqa: BLE001 - a user's serializer, an authentic payload
            return self._reject(app, Reason.UNDECODABLE)
        if not isinstance(data, Mapping):
            return self._reject(app, Reason.UNDECODABLE)
        session = self.session_class(data)
        written = self._dump(session) if app.debug else None
        if not newest or written is not None:
            _note(session, "_origin", _Origin(issued_at, newest, written))
        return session

    def _reissue_later(self, session: SecureCookieSession, issued_at: int) -> None:
        """Called by the native path for a session that came under an older key."""
        _note(session, "_origin", _Origin(issued_at, newest=False))

    def _reject(self, app: Flask, reason: str) -> SecureCookieSession:
        """A new session in place of one that did not open."""
        reason = Reason(reason)
        self._native.count_rejection(reason)
        now = time.monotonic()
        if now - self._logged.get(reason, -_LOG_INTERVAL) >= _LOG_INTERVAL:
            self._logged[reason] = now
            # An expired session is nothing to look into.
            level = logging.INFO if reason is Reason.EXPIRED else logging.WARNING
            total = self.rejections[reason.value]
            logger.log(level, "Refused a session cookie: %s (%d so far).", reason, total)
        session_rejected.send(app, reason=reason)
        return self.session_class()

    # Saving, in Python.

    def _save(self, app: Flask, session: SessionMixin, response: Response) -> None:
        attributes: dict[str, Any] = {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "partitioned": self.get_cookie_partitioned(app),
            "samesite": self.get_cookie_samesite(app),
            "httponly": self.get_cookie_httponly(app),
        }
        name = self.get_cookie_name(app)
        # Asked first: before Flask 3.1.3 looking at `permanent` counts as access.
        accessed = session.accessed
        if accessed:
            response.vary.add("Cookie")
        if not session:
            if session.modified:
                response.delete_cookie(name, **attributes)
                response.vary.add("Cookie")
            return
        origin: _Origin | None = getattr(session, "_origin", None)
        if self.should_set_cookie(app, session):
            issued_at = int(time.time())
            attributes["expires"] = self.get_expiration_time(app, session)
        elif (
            origin is not None
            and not origin.newest
            and accessed
            and not response.cache_control.public
        ):
            # Nobody changed it, but the newest key did not make its token.
            issued_at = origin.issued_at
            attributes["expires"] = self._expiration_of_reissued(app, session, issued_at)
        else:
            if origin is not None and origin.written is not None:
                self._warn_of_lost_changes(session, origin.written)
            return
        self._set_cookie(app, session, response, name, issued_at, attributes)
        response.vary.add("Cookie")

    def _expiration_of_reissued(
        self, app: Flask, session: SessionMixin, issued_at: int
    ) -> datetime | None:
        """As `get_expiration_time`, counted from when the session was issued."""
        expires = self.get_expiration_time(app, session)
        if expires is None:
            return None
        age = timedelta(seconds=max(0, int(time.time()) - issued_at))
        return expires - age

    def _set_cookie(
        self,
        app: Flask,
        session: SessionMixin,
        response: Response,
        name: str,
        issued_at: int,
        attributes: dict[str, Any],
    ) -> None:
        keys, _, compression = self._sealing(app)
        if keys is None:
            raise ConfigurationError(
                "The session cannot be saved: the keys it was opened with are gone from the "
                "configuration."
            )
        cookie_limit = response.max_cookie_size
        candidates = self._candidates(self._dump(session), compression)
        tokens = [keys.seal(payload, issued_at) for payload in candidates]
        sizes = [len(dump_cookie(name, token, max_size=0, **attributes)) for token in tokens]
        for token, size in zip(tokens, sizes, strict=True):
            if (not cookie_limit or size <= cookie_limit) and len(token) <= keys.MAX_TOKEN:
                response.set_cookie(name, token, **attributes)
                return
        overflow = settings.choice(app.config, "SESSION_OVERFLOW", settings.OVERFLOWS)
        size, token = min(zip(sizes, tokens, strict=True))
        if overflow == "warn":
            response.set_cookie(name, token, **attributes)
        elif not getattr(session, "_overflowed", False):
            # Flask now makes a response to this error and saves the same session with it.
            _note(session, "_overflowed", True)
            raise SessionTooLarge(size, cookie_limit or keys.MAX_TOKEN)

    def _candidates(self, payload: bytes, compression: str) -> list[bytes]:
        """The payload as it may be sealed: the first that fits is."""
        if payload.startswith(_COMPRESSED):
            # From a custom serializer: bare, it would be taken for compressed.
            return [deflate(payload)]
        if compression == "never" or len(payload) > _MAX_INFLATED:
            return [payload]
        packed = deflate(payload)
        if len(packed) >= len(payload):
            return [payload]
        return [packed, payload] if compression == "always" else [payload, packed]

    def _warn_of_lost_changes(self, session: SessionMixin, written: bytes) -> None:
        """In debug mode: says that nested data was changed, and that nobody will see it."""
        if self._dump(session) != written:
            logger.warning(
                "Data nested in the session was changed, and the change is lost: Flask sees "
                "only changes to the session itself. Set session.modified = True after it."
            )

    # What both ways need.

    def _dump(self, data: Mapping[str, Any]) -> bytes:
        """A session as bytes, by the serializer."""
        text = self.serializer.dumps(dict(data))
        return text.encode() if isinstance(text, str) else text

    def _load(self, payload: bytes) -> Any:
        """What `_dump` was given, or `deflate` and `_dump`."""
        if payload.startswith(_COMPRESSED):
            inflated = inflate(payload)
            if inflated is None:
                raise ValueError("broken or oversized compressed payload")
            payload = inflated
        serializer = self.serializer
        text = isinstance(serializer, TaggedJSONSerializer) or is_text_serializer(serializer)
        return serializer.loads(payload.decode() if text else payload)  # type: ignore[arg-type]

    def _sealing(self, app: Flask) -> tuple[SessionKeys | None, timedelta, str]:
        """Keys, lifetime and compression. The native path asks when a setting has changed."""
        if "get_signing_serializer" in vars(self):
            raise _signing_serializer_overridden("an instance")
        keys = settings.session_keys(app, self.salt, self._keys)
        if keys is not None and not self._warned_of_secret:
            self._warn_of_short_secret(app)
        compression = settings.choice(app.config, "SESSION_COMPRESSION", settings.COMPRESSIONS)
        return keys, app.permanent_session_lifetime, compression

    def _warn_of_short_secret(self, app: Flask) -> None:
        explicit = self._keys or app.config.get("SESSION_ENCRYPTION_KEYS")
        if not explicit and len(settings.secrets(app)[0]) < _SHORT_SECRET:
            self._warned_of_secret = True
            logger.warning(
                "SECRET_KEY has fewer than %d bytes. Session keys are derived from it, and "
                "someone who holds a cookie can try secrets offline. Use "
                "secrets.token_urlsafe(32).",
                _SHORT_SECRET,
            )


def _note(session: object, name: str, value: object) -> None:
    """Leaves a note on a session, of whatever class; one without room for it goes without."""
    with contextlib.suppress(AttributeError):
        setattr(session, name, value)


def _signing_serializer_overridden(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"get_signing_serializer is overridden on {where}. Its result would decide whether "
        "sessions are readable, so EncryptedSessionInterface does not use it. To change what is "
        "inside a session override 'serializer', to change the keys pass 'keys'."
    )
