"""Where an app's session keys come from, and which formats they open and write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import settings
from ._core import SessionKeys, derive_key
from .errors import ConfigurationError, KeyRingError
from .following import INTERVAL, FollowedRing
from .keyring import SESSIONS, KeyRing

if TYPE_CHECKING:
    from flask import Flask

    from .signed import SignedCookies

#: To open every encrypted format.
ALL_FORMATS = (settings.ENCRYPTED_FORMATS[0], list(settings.ENCRYPTED_FORMATS[1:]))

NamedKeys = list[tuple[str, "str | bytes"]]


@dataclass(frozen=True)
class Sealing:
    """What the configuration says about opening and writing sessions."""

    #: The newest key first. ``None`` where nothing encrypted is opened or written.
    keys: SessionKeys | None
    #: Flask's signed cookies, where they are opened or written.
    signed: SignedCookies | None
    #: The format that is written.
    format: str
    lifetime: timedelta
    compression: str
    #: Secrets among the sources that are too short to be random enough.
    weak: list[str] = field(default_factory=list)
    ring: FollowedRing | None = None
    #: Seconds until this has to be made again; ``None`` for as long as the settings stay.
    good_for: float | None = None

    @property
    def is_null(self) -> bool:
        """Whether the app has no key, and so no sessions."""
        return self.keys is None and self.signed is None


class Sources:
    """The keys of the apps that one interface serves."""

    def __init__(self, argument: NamedKeys | None = None) -> None:
        #: The keys given to the interface, if there were any.
        self.argument = argument
        self._rings: dict[str, FollowedRing] = {}

    def keys(
        self, app: Flask, salt: str | bytes, formats: list[str], urgent: bool = False
    ) -> tuple[SessionKeys | None, list[str], FollowedRing | None, float | None]:
        """The keys, the names of weak secrets among their sources, the ring if there is one, and
        for how many seconds all that holds.

        :param salt: what derived keys are bound to.
        :param formats: the encrypted formats that are opened; the first is written.
        :param urgent: look at a ring again even if the last look is not a second old.
        :raises ConfigurationError: for keys and settings that cannot be used.
        """
        found = self._find(app, urgent)
        if not found.keys and not found.secrets:
            return None, [], None, None
        secrets = list(found.secrets.values())
        made = SessionKeys(found.keys, secrets, salt, formats[0], formats[1:])
        short = settings.SHORT_SECRET
        weak = [name for name, value in found.secrets.items() if len(value) < short]
        return made, weak, found.ring, found.good_for

    def each(self, app: Flask, salt: str | bytes) -> Iterator[tuple[str, SessionKeys]]:
        """Every key alone, with its name."""
        found = self._find(app, urgent=True)
        for name, key in found.keys:
            yield name, SessionKeys([(name, key)], [], salt, *ALL_FORMATS)
        for name, secret in found.secrets.items():
            yield name, SessionKeys([], [secret], salt, *ALL_FORMATS)

    def texts(self, app: Flask, salt: str | bytes) -> list[str]:
        """Every key as text, for a ring to take them over. Those derived from secrets are made
        into such as need no secret.
        """
        found = self._find(app, urgent=True)
        explicit = [key if isinstance(key, str) else key.decode() for _, key in found.keys]
        return explicit + [derive_key(secret, salt) for secret in found.secrets.values()]

    def _find(self, app: Flask, urgent: bool) -> _Found:
        config = app.config
        settings.known_names(config)
        accepted = settings.accepted(config)
        explicit = self.argument
        if explicit is None and (value := config.get("SESSION_ENCRYPTION_KEYS")) is not None:
            explicit = settings.named_keys("SESSION_ENCRYPTION_KEYS", settings.split(value))
        path = config.get("SESSION_ENCRYPTION_KEYRING")
        ring = None if path is None else self._ring(app, path)
        # The first that is set writes; the others open if they are accepted.
        first = "keys" if explicit is not None else "keyring" if ring is not None else "secret-key"
        found = _Found()
        for name in dict.fromkeys([first, *(n for n in settings.KEY_SOURCES if n in accepted)]):
            if name == "keys":
                found.keys += _required(explicit, name, "SESSION_ENCRYPTION_KEYS")
            elif name == "keyring":
                found.add_ring(_required(ring, name, "SESSION_ENCRYPTION_KEYRING"), urgent)
            else:
                found.secrets = settings.secrets(app)
                if name in accepted:
                    _required(found.secrets or None, name, "SECRET_KEY")
        return found

    def _ring(self, app: Flask, path: object) -> FollowedRing:
        if not isinstance(path, (str, Path)) or not str(path):
            raise ConfigurationError("SESSION_ENCRYPTION_KEYRING is the path of a key ring.")
        whole = str(Path(app.instance_path, path))
        followed = self._rings.get(whole)
        if followed is None:
            try:
                followed = FollowedRing(KeyRing(whole))
            except KeyRingError as error:
                raise ConfigurationError(
                    f"SESSION_ENCRYPTION_KEYRING: {error} 'flask fernet ring init' makes a ring."
                ) from error
            if followed.current().purpose != SESSIONS:
                raise ConfigurationError(
                    "SESSION_ENCRYPTION_KEYRING: the ring is for another purpose than sessions. "
                    "A ring serves one purpose."
                )
            self._rings[whole] = followed
        return followed


@dataclass
class _Found:
    """Keys as their sources have them, those that write first."""

    keys: NamedKeys = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    ring: FollowedRing | None = None
    good_for: float | None = None

    def add_ring(self, ring: FollowedRing, urgent: bool) -> None:
        current, now = ring.current(urgent), time.time()
        self.keys += [(f"key {key.id} of the ring", key.key) for key in current.opening(now)]
        change = current.next_change(now)
        self.good_for = INTERVAL if change is None else min(INTERVAL, max(0.0, change - now))
        self.ring = ring


_T = TypeVar("_T")


def _required(value: _T | None, name: str, setting: str) -> _T:
    if value is None:
        raise ConfigurationError(
            f"SESSION_ENCRYPTION_ACCEPT names {name!r}, but {setting} is not set."
        )
    return value
