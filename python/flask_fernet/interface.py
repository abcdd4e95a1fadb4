"""The session interface. Start reading here.

:class:`EncryptedSessionInterface` is written twice: in Python, hook by hook, in ``portable.py``,
and natively, as ``_core.NativePath``, for every request in which all that is in the way is
Flask's own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask.sessions import SecureCookieSession, SessionMixin

from . import settings
from ._core import NativePath, SessionKeys
from .errors import ConfigurationError
from .portable import PortablePath, logger
from .serializer import EncryptedSerializer
from .session import EncryptedSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask, Request, Response
    from typing_extensions import Self


class EncryptedSessionInterface(PortablePath):
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
    because what it returned would decide whether sessions are readable. What a class overrides
    is looked at once a class, at its first request.

    One instance may serve several apps, from any number of threads and forked processes. As with
    any cookie session, of two concurrent responses to one browser the later one wins.
    """

    session_class: type[SecureCookieSession] = EncryptedSession

    # Slots, so that whatever is in `__dict__` was set there by somebody else.
    __slots__ = ("_keys", "_warned_of_secret")

    _keys: list[tuple[str, str | bytes]] | None
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
        self, app: Flask | None = None, *, keys: Sequence[str | bytes] | None = None
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

        def pack(value: Any) -> bytes:
            return self._candidates(self._pack(value), compression)[0]

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

    def _sealing(self, app: Flask) -> tuple[SessionKeys | None, timedelta, str]:
        """Keys, lifetime and compression. The native path asks when a setting has changed."""
        if "get_signing_serializer" in vars(self):
            raise _signing_serializer_overridden("an instance")
        keys, weak = settings.session_keys(app, self.salt, self._keys)
        if weak and not self._warned_of_secret:
            self._warned_of_secret = True
            logger.warning(
                "%s has fewer than %d bytes. Session keys are derived from it, and someone who "
                "holds a cookie can try secrets offline. Use secrets.token_urlsafe(32).",
                weak[0],
                settings.SHORT_SECRET,
            )
        compression = settings.choice(app.config, "SESSION_COMPRESSION", settings.COMPRESSIONS)
        settings.choice(app.config, "SESSION_OVERFLOW", settings.OVERFLOWS)
        return keys, app.permanent_session_lifetime, compression


def _signing_serializer_overridden(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"get_signing_serializer is overridden on {where}. Its result would decide whether "
        "sessions are readable, so EncryptedSessionInterface does not use it. To change what is "
        "inside a session override 'serializer', to change the keys pass 'keys'."
    )
