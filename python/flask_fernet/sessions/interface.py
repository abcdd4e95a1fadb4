"""The session interface. Start reading here, and see ``docs/architecture.md`` for the whole.

:class:`EncryptedSessionInterface` opens and saves sessions in two ways that give the same cookies:
natively, in its base ``_core.NativeInterface``, where all the Python code that would run is Flask's
own; and in Python, hook by hook, in its base ``FallbackInterface`` (``opening.py``, ``saving.py``).
"""

from __future__ import annotations

import inspect
import logging
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, SupportsIndex

from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.local import LocalProxy

from .. import settings
from .._core import NativeState, Policy, SessionKeys
from ..errors import ConfigurationError
from ..keys.keyring import KeyRing
from ..log import RateLimit, log_event
from ..stores.protocol import SessionStore
from ..tracebacks import frameless
from .configuration import NO_KEY, cookie_attributes, problems
from .fallback import FallbackInterface
from .followed_rings import allow_missing_ring
from .key_sources import KeySources, app_secrets
from .lifetimes import regenerate_at_login
from .policy import resolve_policy, warnings_about
from .readiness import require_ready
from .serializer import EncryptedSerializer
from .session import EncryptedSession
from .signed import SignedCookies
from .storage import Storage, Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask
    from itsdangerous.url_safe import URLSafeTimedSerializer
    from typing_extensions import Self


@dataclass(frozen=True)
class Migration:
    """The sessions that came in another format than the one written."""

    count: int
    #: When the last one came, in seconds since the epoch.
    last_seen: int


class EncryptedSessionInterface(FallbackInterface):
    """Keeps Flask's sessions in encrypted, authenticated cookies.

    Set it on an app, or give it the app::

        app.session_interface = EncryptedSessionInterface()

        sessions = EncryptedSessionInterface()
        sessions.init_app(app)

    :param app: an app to set it on at once, like :meth:`init_app`.
    :param null_sessions: see :meth:`init_app`.
    :param keys: keys from :meth:`Fernet.generate_key`, the newest first. The first encrypts, all
        of them open. Without this argument ``SESSION_ENCRYPTION_KEYS`` is used, then
        ``SESSION_ENCRYPTION_KEYRING``, and without these the keys are derived from ``SECRET_KEY``
        and ``SECRET_KEY_FALLBACKS``.
    :raises ConfigurationError: if ``keys`` cannot be used. :meth:`init_app` checks the app's
        configuration; without it the first request does.

    Everything that ``SecureCookieSessionInterface`` does for an app this does too: each of its
    hooks, ``session_class``, ``serializer`` and ``salt`` may be overridden in a subclass or set
    on an instance. The exception is ``get_signing_serializer``: overriding it is an error, because
    its result would decide whether sessions are readable. The overrides of a class are examined
    once, at its first request.

    One instance may serve several apps, from any number of threads and forked processes. As with
    any cookie session, of two concurrent responses to one browser the later one wins.
    """

    session_class: type[SecureCookieSession] = EncryptedSession

    # Our state lives in slots: anything in `__dict__` was set by the user, which the native path
    # relies on.
    __slots__ = ("_sources", "_stores", "_warned")

    _sources: KeySources
    _stores: Stores
    #: The warnings that have been logged.
    _warned: set[str]

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: D102
        # Here and not in `__init__`, which a subclass may forget to call.
        self = super().__new__(cls)
        self._state = NativeState(
            settings.OPENING_SETTINGS,
            settings.SAVING_SETTINGS,
            (Enum, KeyRing, PurePath, SessionStore),
        )
        self._sources = KeySources()
        self._stores = Stores()
        self._log_limit = RateLimit()
        self._warned = set()
        return self

    @frameless
    def __init__(
        self,
        app: Flask | None = None,
        *,
        keys: Sequence[str | bytes] | None = None,
        null_sessions: bool = False,
    ) -> None:
        if keys is not None:
            self._sources = KeySources(settings.named_keys("keys", keys))
            # Checks them.
            SessionKeys(self._sources.argument or [], self.salt)
        if app is not None:
            self.init_app(app, null_sessions=null_sessions)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ours = EncryptedSessionInterface.get_signing_serializer
        if cls.get_signing_serializer is not ours:
            raise _signing_serializer_overridden(cls.__name__)

    @frameless
    def init_app(self, app: Flask, *, null_sessions: bool = False) -> None:
        """Checks the configuration of ``app`` and makes this its session interface.

        :param null_sessions: whether the app may have no key, so that, as in Flask, sessions are
            empty and writing to one is an error.
        :raises ConfigurationError: if a setting cannot be used, if requests would fail or lose
            every session, or if there is no key.
        """
        policy = self._resolve_policy(app)
        if policy.is_null and not null_sessions and not allow_missing_ring.get():
            raise ConfigurationError(NO_KEY)
        if policy.storage is not None:
            self._require_ready(policy.storage)
        for problem in problems(app, policy, cookie_attributes(self, app)):
            if problem.on_the_server:
                raise ConfigurationError(f"{problem.name} {problem.message}.")
        app.session_interface = self

    @classmethod
    def of(cls, app: Flask) -> Self:
        """The session interface of ``app``, with its type::

            EncryptedSessionInterface.of(current_app).rejections

        :raises TypeError: if the app has another one.
        """
        found = app.session_interface
        if not isinstance(found, cls):
            raise TypeError(
                f"app.session_interface must be {cls.__name__}, not {type(found).__name__}."
            )
        return found

    def _require_ready(self, storage: Storage) -> None:
        """Checks the store of an app that starts.

        :raises ConfigurationError: if a table is missing.
        """
        require_ready(storage.store.store)

    @property
    def rejections(self) -> dict[str, int]:
        """The number of session cookies that this process refused, by :class:`Reason`."""
        return self._state.rejections()

    @property
    def migrations(self) -> dict[str, Migration]:
        """For each format in which sessions came that are written in another one, how many this
        process opened and when the last of them came. Once that is long ago, the format need not be
        accepted any more.
        """
        return {name: Migration(**counted) for name, counted in self._state.migrations().items()}

    @property
    def store_events(self) -> dict[str, int]:
        """What this process has done with stored sessions: how many it ``read``, ``created``, has
        ``written``, ``merged`` and ``ended``; how many were ``unchanged`` or ``superseded``; how
        often the store was ``unavailable``, and how often it was not asked (``breaker``).
        """
        return self._state.store_events()

    @frameless
    def keys_in_use(self, app: Flask) -> list[str]:
        """The session keys of ``app``, the newest first, for a key ring to take over. Treat them as
        secrets: whoever has one can read and make sessions.

        :raises ConfigurationError: if a setting cannot be used.
        """
        return list(self._sources.export(app, self.salt))

    @frameless
    def get_signing_serializer(  # type: ignore[override]
        self, app: Flask
    ) -> EncryptedSerializer | URLSafeTimedSerializer | None:
        """An object with ``dumps`` and ``loads`` over this interface's encrypted tokens.

        :returns: ``None`` if the app has no key, as in Flask. Flask's own serializer while
            ``SESSION_ENCRYPTION_FORMAT`` is ``"flask-signed"``.
        :raises ConfigurationError: if a setting cannot be used.
        """
        policy = self._policy(app)
        if policy.writes_signed and policy.signed is not None:
            return policy.signed.serializer
        if policy.keys is None:
            return None

        def keys(salt: str | bytes) -> SessionKeys | None:
            return self._sources.for_salt(app, salt, self._policy(app))

        def pack(value: Any) -> bytes:
            return next(self._compressed(self._pack(value), policy.compression))

        def load(payload: bytes) -> Any:
            return self._load(app, payload)

        return EncryptedSerializer(
            lambda: self._policy(app), keys, self.get_cookie_name(app), self.salt, pack, load
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r}: it would write its keys down")

    def __copy__(self) -> Self:
        """An interface with the same keys and attributes, and with nothing cached."""
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
        # A subclass may have slots of its own.
        for base in type(self).__mro__[: type(self).__mro__.index(EncryptedSessionInterface)]:
            slots = vars(base).get("__slots__", ())
            for slot in [slots] if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__") and hasattr(self, slot):
                    setattr(copied, slot, copy(getattr(self, slot)))
        return copied

    def _resolve_policy(self, app: Flask) -> Policy:
        if isinstance(app, LocalProxy):
            # `current_app`: the policy belongs to the app, not to the proxy.
            app = app._get_current_object()
        if "get_signing_serializer" in vars(self):
            raise _signing_serializer_overridden("an instance")
        policy, keys_changed = resolve_policy(
            app, self._sources, self._stores, self.salt, self._signed_cookies
        )
        if keys_changed:
            # Drop the native cache, or it could keep writing under a revoked key.
            self._state.invalidate_policies()
        for warning in warnings_about(policy):
            if warning not in self._warned:
                self._warned.add(warning)
                log_event(logging.WARNING, "configuration.warning", "%s", warning)
        if policy.absolute_lifetime is not None or policy.storage is not None:
            regenerate_at_login()
        return policy

    def _signed_cookies(self, app: Flask) -> SignedCookies:
        """The reader and writer of Flask's signed cookies.

        :raises ConfigurationError: without a usable ``SECRET_KEY``.
        """
        # Checks them.
        app_secrets(app)
        # Flask's own method, not ours: a subclass may override its digests and its salt.
        serializer = SecureCookieSessionInterface.get_signing_serializer(self, app)
        if serializer is None:
            raise ConfigurationError("Signed cookies need SECRET_KEY, which is not set.")
        return SignedCookies(serializer)


# For `help()`: `__new__` takes anything, because a subclass may have another `__init__`.
EncryptedSessionInterface.__new__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
    EncryptedSessionInterface.__init__
)


def _signing_serializer_overridden(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"get_signing_serializer must not be overridden, as on {where}: its result would decide "
        "whether sessions are readable. To change the contents of a session override "
        "'serializer'; to change the keys pass 'keys'."
    )
