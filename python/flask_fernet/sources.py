"""Where an app's session keys come from, and which formats they open and write."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from . import settings
from ._core import SessionKeys, derive_key
from .errors import ConfigurationError, KeyRingError
from .keys.command import parse_command
from .keys.following import FollowedRing, valid_for
from .keys.keyring import KeyRing
from .keys.ring import SESSIONS
from .keys.wrapping import Wrapping
from .lifetimes import Lifetimes

if TYPE_CHECKING:
    from flask import Flask

    from .keys.ring import Ring
    from .signed import SignedCookies

#: Set by the command line while it loads an app whose ring it is about to make, or to examine.
setting_up: ContextVar[bool] = ContextVar("setting_up", default=False)

NamedKeys = list[tuple[str, "str | bytes"]]


@dataclass(frozen=True)
class Keys:
    """The keys that an app's sources give."""

    #: ``None`` where there are none.
    made: SessionKeys | None
    #: Secrets among the sources that are too short to be random enough.
    weak: list[str]
    #: Sources that are set, and neither write nor open.
    unused: list[str]
    ring: FollowedRing | None
    #: The ring as it was when they were taken from it.
    state: Ring | None
    #: Seconds until they may be others; ``None`` for as long as the settings stay.
    good_for: float | None
    #: Whether they are others than the last time.
    fresh: bool


@dataclass(frozen=True)
class Sealing:
    """What the configuration says about opening and writing sessions. ``src/python/sealing.rs``
    reads it too.
    """

    #: Of what is encrypted.
    keys: Keys
    #: Flask's signed cookies, where they are opened or written.
    signed: SignedCookies | None
    #: The format that is written.
    format: str
    lifetime: timedelta
    compression: str
    #: Secrets among the sources that are too short to be random enough.
    weak: list[str]
    lifetimes: Lifetimes

    @property
    def is_null(self) -> bool:
        """Whether the app has no key, and so no sessions."""
        return self.keys.made is None and self.signed is None


def alone(name: str, key: str | bytes, salt: str | bytes) -> SessionKeys:
    """One key, to open every encrypted format with."""
    written, *others = settings.ENCRYPTED_FORMATS
    return SessionKeys([(name, key)], [], salt, written, others)


class Sources:
    """The keys of the apps that one interface serves."""

    def __init__(self, argument: NamedKeys | None = None) -> None:
        #: The keys given to the interface, if there were any.
        self.argument = argument
        self._rings: dict[KeyRing, FollowedRing] = {}
        #: What was made last, from what, an app: a ring is asked every second.
        self._last: WeakKeyDictionary[Flask, tuple[object, SessionKeys]] = WeakKeyDictionary()

    def __deepcopy__(self, memo: object) -> Sources:
        return Sources(self.argument)

    def keys(self, app: Flask, salt: str | bytes, formats: list[str]) -> Keys:
        """The keys of ``app``.

        :param salt: what derived keys are bound to.
        :param formats: the encrypted formats that are opened; the first is written.
        :raises ConfigurationError: for keys and settings that cannot be used.
        """
        found = self._find(app, salt)
        origin = (found.keys, salt, formats)
        last = self._last.get(app)
        fresh = last is None or last[0] != origin
        made = None if last is None or fresh else last[1]
        if fresh and found.keys:
            made = SessionKeys(found.keys, [], salt, formats[0], formats[1:])
            self._last[app] = (origin, made)
        return Keys(made, found.weak, found.unused, found.ring, found.state, found.good_for, fresh)

    def each(self, app: Flask, salt: str | bytes) -> Iterator[tuple[str, SessionKeys]]:
        """Every key alone, with its name."""
        for name, key in self._find(app, salt).keys:
            yield name, alone(name, key, salt)

    def texts(self, app: Flask, salt: str | bytes) -> list[str]:
        """Every key as text, the newest first, for a ring to take them over. Those derived from
        secrets are made into such as need no secret. A ring that is set already is left out.
        """
        found = self._find(app, salt, with_ring=False)
        # Checked as where they are used.
        if found.keys:
            SessionKeys(found.keys, [], salt)
        return [key if isinstance(key, str) else key.decode() for _, key in found.keys]

    def _find(self, app: Flask, salt: str | bytes, with_ring: bool = True) -> _Found:
        config = app.config
        settings.reject_unknown(config)
        accepted = settings.accepted(config)
        explicit = self.argument
        if explicit is None and (value := config.get("SESSION_ENCRYPTION_KEYS")) is not None:
            explicit = settings.named_keys("SESSION_ENCRYPTION_KEYS", settings.split_list(value))
        keyring = configured_ring(app)
        ring = None if keyring is None or not with_ring else self._ring(keyring)
        sources = {"keys": explicit, "keyring": ring, "secret-key": app.secret_key or None}
        there = [name for name, value in sources.items() if value is not None]
        # The first that is set writes, unless it is to open only and another one is left.
        writer = next((name for name in there if name not in accepted), there[0] if there else None)
        found = _Found(unused=[n for n in there if n not in (writer, *accepted, "secret-key")])
        wanted = [writer, *(name for name in settings.KEY_SOURCES if name in accepted)]
        for name in dict.fromkeys(name for name in wanted if name is not None):
            if sources[name] is None:
                if name == "keyring" and not with_ring:
                    continue
                raise ConfigurationError(
                    f"SESSION_ENCRYPTION_ACCEPT names {name!r}, but {_SETTINGS[name]} is not set."
                )
            if name == "keys" and explicit is not None:
                found.keys += explicit
            elif name == "keyring" and ring is not None:
                found.add_ring(ring)
                if keyring is not None and "secret-key" in keyring.store.wrapping.forms:
                    found.weak += settings.short_secrets(settings.secrets(app))
            else:
                found.add_secrets(settings.secrets(app), salt)
        found.drop_revoked()
        return found

    def _ring(self, keyring: KeyRing) -> FollowedRing | None:
        followed = self._rings.get(keyring)
        if followed is None:
            try:
                followed = FollowedRing(keyring.store, keyring)
            except KeyRingError as error:
                if setting_up.get():
                    return None
                raise ConfigurationError(f"SESSION_ENCRYPTION_KEYRING: {error}") from error
            if followed.current().purpose != SESSIONS:
                raise ConfigurationError(
                    "SESSION_ENCRYPTION_KEYRING: the ring is for another purpose than sessions. "
                    "A ring serves one purpose."
                )
            self._rings[keyring] = followed
        return followed


def configured_ring(app: Flask) -> KeyRing | None:
    """The key ring that the configuration of ``app`` names. It need not be there.

    :raises ConfigurationError: if a setting cannot be used.
    """
    config = app.config
    configured = config.get("SESSION_ENCRYPTION_KEYRING")
    wrapping = configured_wrapping(app)
    if configured is None or isinstance(configured, KeyRing):
        for name in _WRAPPING_SETTINGS:
            if config.get(name) is not None:
                raise ConfigurationError(
                    f"{name} is set, but SESSION_ENCRYPTION_KEYRING is no path of a key ring."
                )
        return configured
    if not isinstance(configured, (str, Path)) or not str(configured):
        raise ConfigurationError(
            "SESSION_ENCRYPTION_KEYRING is the path of a key ring, or a KeyRing."
        )
    return KeyRing(Path(app.instance_path, configured), wrapping=wrapping)


def configured_wrapping(app: Flask, forms: Iterable[str] = ()) -> Wrapping:
    """The form in which the key ring of ``app`` is stored, with the secrets for it.

    :param forms: forms to use in place of those in the configuration.
    :raises ConfigurationError: if a setting cannot be used.
    """
    config = app.config
    name = "SESSION_ENCRYPTION_KEYRING_WRAPPING"
    configured = settings.choices(config, name, settings.WRAPPINGS)
    if config.get(name) is not None and not configured:
        raise ConfigurationError(
            f"{name} must be {settings.one_of(settings.WRAPPINGS)}, or a list of them, and must "
            "not be empty. The first of a list is written."
        )
    command_name = "SESSION_ENCRYPTION_KEYRING_COMMAND"
    command = parse_command(config.get(command_name), command_name)
    if command and "command" not in configured:
        raise ConfigurationError(f"{command_name} is set, but {name} does not name 'command'.")
    forms = tuple(dict.fromkeys(forms)) or tuple(configured) or ("plain",)
    if "command" in forms and not command:
        raise ConfigurationError(
            f"A key ring wrapped with a 'command' needs {command_name}: the program that "
            "prints its secret."
        )
    secrets = tuple(settings.secrets(app).values()) if "secret-key" in forms else ()
    if "secret-key" in forms and not secrets:
        raise ConfigurationError(
            "A key ring wrapped with the 'secret-key' needs SECRET_KEY, which is not set."
        )
    return Wrapping(forms, secrets, command)


_WRAPPING_SETTINGS = ("SESSION_ENCRYPTION_KEYRING_WRAPPING", "SESSION_ENCRYPTION_KEYRING_COMMAND")
_SETTINGS = {
    "keys": "SESSION_ENCRYPTION_KEYS",
    "keyring": "SESSION_ENCRYPTION_KEYRING",
    "secret-key": "SECRET_KEY",
}


@dataclass
class _Found:
    """Keys as their sources have them, those that write first."""

    unused: list[str]
    keys: NamedKeys = field(default_factory=list, repr=False)
    weak: list[str] = field(default_factory=list)
    ring: FollowedRing | None = None
    state: Ring | None = None
    good_for: float | None = None

    def add_ring(self, ring: FollowedRing) -> None:
        current, now = ring.current(), time.time()
        self.keys += [(f"key {key.id} of the ring", key.key) for key in current.opening(now)]
        self.good_for = valid_for(current, now)
        self.ring, self.state = ring, current

    def drop_revoked(self) -> None:
        """Leaves out what the ring says is revoked, even if another source has it too."""
        if self.state is None:
            return
        revoked = {key.key for key in self.state.keys if key.revoked is not None}
        self.keys = [
            (name, key)
            for name, key in self.keys
            if (key if isinstance(key, str) else key.decode("ascii", "replace")) not in revoked
        ]

    def add_secrets(self, secrets: dict[str, bytes], salt: str | bytes) -> None:
        self.keys += [(name, derive_key(secret, salt)) for name, secret in secrets.items()]
        self.weak += settings.short_secrets(secrets)
