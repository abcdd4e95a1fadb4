"""The session interface. Start reading here.

:class:`EncryptedSessionInterface` is written twice: in Python, hook by hook, in ``portable.py``,
and natively, in its base ``_core.NativePath``, for every request in which all that is in the way
is Flask's own.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, SupportsIndex

from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from . import settings
from ._core import NativeState, SessionKeys
from .errors import ConfigurationError
from .lifetimes import Lifetimes, regenerate_at_login
from .portable import Migration, PortablePath, logger
from .serializer import EncryptedSerializer
from .session import EncryptedSession
from .signed import SignedCookies
from .sources import Keys, Sealing, Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask
    from itsdangerous.url_safe import URLSafeTimedSerializer
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
    __slots__ = ("_sources", "_warned")

    _sources: Sources
    #: What has been warned about.
    _warned: set[str]

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: D102
        # Here and not in `__init__`, which a subclass may forget to call.
        self = super().__new__(cls)
        self._state = NativeState()
        self._sources = Sources()
        self._logged = {}
        self._migrations = {}
        self._warned = set()
        return self

    def __init__(
        self, app: Flask | None = None, *, keys: Sequence[str | bytes] | None = None
    ) -> None:
        if keys is not None:
            self._sources = Sources(settings.named_keys("keys", keys))
            SessionKeys(self._sources.argument or [], [], self.salt)
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
        return self._state.rejections()

    def keys_in_use(self, app: Flask) -> list[str]:
        """The session keys of ``app``, the newest first, for a key ring to take them over. Treat
        them as what they are: whoever has one reads and makes sessions.
        """
        return self._sources.texts(app, self.salt)

    @property
    def migrations(self) -> dict[str, Migration]:
        """How many sessions in another format than the one written were opened in this process,
        and when the last of them: when it is long ago, the format need not be accepted any more.
        """
        return dict(self._migrations)

    def get_signing_serializer(  # type: ignore[override]
        self, app: Flask
    ) -> EncryptedSerializer | URLSafeTimedSerializer | None:
        """An object with ``dumps`` and ``loads`` over this interface's encrypted tokens.

        :returns: ``None`` where the app has no key, as in Flask. Flask's own while
            ``SESSION_ENCRYPTION_FORMAT`` is ``"flask-signed"``.
        """
        sealing = self._sealing(app)
        if sealing.format == "flask-signed" and sealing.signed is not None:
            return sealing.signed.serializer
        if sealing.keys.made is None:
            return None

        def keys() -> SessionKeys | None:
            return self._sealing(app).keys.made

        def pack(value: Any) -> bytes:
            return next(self._candidates(self._pack(value), sealing.compression))

        def load(payload: bytes) -> Any:
            return self._load(app, payload)

        return EncryptedSerializer(keys, self.get_cookie_name(app), pack, load)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r}: it would write its keys down")

    def __copy__(self) -> Self:
        """One that looks at everything anew, with the same keys and attributes."""
        return self._copied(lambda value: value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same, with copies of the attributes."""
        return self._copied(lambda value: deepcopy(value, memo), memo)

    def _copied(self, copy: Callable[[Any], Any], memo: dict[int, Any] | None = None) -> Self:
        copied = type(self).__new__(type(self))
        if memo is not None:
            memo[id(self)] = copied
        copied._sources = deepcopy(self._sources)
        vars(copied).update({name: copy(value) for name, value in vars(self).items()})
        # And those of a subclass's own slots.
        for base in type(self).__mro__[: type(self).__mro__.index(EncryptedSessionInterface)]:
            slots = vars(base).get("__slots__", ())
            for slot in [slots] if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__") and hasattr(self, slot):
                    setattr(copied, slot, copy(getattr(self, slot)))
        return copied

    def _sealing(self, app: Flask) -> Sealing:
        if "get_signing_serializer" in vars(self):
            raise _signing_serializer_overridden("an instance")
        config = app.config
        settings.declare(config)
        written = settings.choice(config, "SESSION_ENCRYPTION_FORMAT", settings.FORMATS)
        accepted = settings.accepted(config)
        encrypted = [
            name for name in settings.ENCRYPTED_FORMATS if name == written or name in accepted
        ]
        # What is written comes first.
        encrypted.sort(key=lambda name: name != written)
        keys = Keys(None, [], [], None, None, None, fresh=False)
        if encrypted:
            keys = self._sources.keys(app, self.salt, encrypted)
            if keys.fresh:
                # The native path must not go on with others, and write under a revoked one.
                self._state.forget()
        else:
            settings.reject_unknown(config)
        signed, weak = None, keys.weak
        if written == "flask-signed" or "flask-signed" in accepted:
            signed = self._signed(app)
            weak = settings.short_secrets(settings.secrets(app))
        compression = settings.choice(config, "SESSION_COMPRESSION", settings.COMPRESSIONS)
        settings.choice(config, "SESSION_OVERFLOW", settings.OVERFLOWS)
        if weak:
            self._warn_once(
                f"{weak[0]} has fewer than {settings.SHORT_SECRET} bytes. Sessions depend on "
                "it, and someone who holds a cookie can try secrets offline. Use "
                "secrets.token_urlsafe(32)."
            )
        if written == "flask-signed":
            self._warn_once(
                "SESSION_ENCRYPTION_FORMAT is 'flask-signed': sessions are written signed, not "
                "encrypted. It is meant for the first of two deploys."
            )
        for source in keys.unused:
            self._warn_once(
                f"The key source {source!r} is set, and neither writes nor opens: another one "
                "comes first. Name it in SESSION_ENCRYPTION_ACCEPT, or take one of them away."
            )
        lifetime = app.permanent_session_lifetime
        lifetimes = Lifetimes.of(config, lifetime)
        if lifetimes.absolute is not None:
            regenerate_at_login()
        return Sealing(keys, signed, written, lifetime, compression, weak, lifetimes)

    def _signed(self, app: Flask) -> SignedCookies | None:
        settings.secrets(app)
        # Flask's, and not ours, with whatever a subclass says of digests and salts.
        serializer = SecureCookieSessionInterface.get_signing_serializer(self, app)
        if serializer is None:
            raise ConfigurationError("Signed cookies need SECRET_KEY, which is not set.")
        return SignedCookies(serializer)

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)


def _signing_serializer_overridden(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"get_signing_serializer is overridden on {where}. Its result would decide whether "
        "sessions are readable, so EncryptedSessionInterface does not use it. To change what is "
        "inside a session override 'serializer', to change the keys pass 'keys'."
    )
