"""Where an app's session keys come from, and which formats they open and write."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from . import settings
from ._core import SessionKeys
from .errors import ConfigurationError, KeyRingError
from .following import INTERVAL, FollowedRing
from .keyring import SESSIONS, KeyRing

if TYPE_CHECKING:
    from flask import Flask

    from .signed import SignedCookies

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
        self, app: Flask, salt: str | bytes, urgent: bool = False
    ) -> tuple[SessionKeys | None, list[str], FollowedRing | None, float | None]:
        """The keys, the names of weak secrets among their sources, the ring if there is one, and
        for how many seconds all that holds.

        :param salt: what derived keys are bound to.
        :param urgent: look at a ring again even if the last look is not a second old.
        :raises ConfigurationError: for keys and settings that cannot be used.
        """
        config = app.config
        settings.known_names(config)
        accepted = settings.accepted(config)
        explicit = self.argument
        if explicit is None and (value := config.get("SESSION_ENCRYPTION_KEYS")) is not None:
            explicit = settings.named_keys("SESSION_ENCRYPTION_KEYS", settings.split(value))
        path = config.get("SESSION_ENCRYPTION_KEYRING")
        followed = None if path is None else self._ring(app, path)
        # The first that is set writes; the others open if they are accepted.
        wanted = [
            name
            for name, there in (("keys", explicit), ("keyring", followed), ("secret-key", True))
            if there is not None
        ][:1]
        for name in settings.KEY_SOURCES:
            if name in accepted and name not in wanted:
                wanted.append(name)
        keys: NamedKeys = []
        secrets: dict[str, bytes] = {}
        good_for = None
        for name in wanted:
            if name == "keys":
                keys += _set(explicit, name, "SESSION_ENCRYPTION_KEYS")
            elif name == "keyring":
                ring = _set(followed, name, "SESSION_ENCRYPTION_KEYRING").current(urgent)
                now = time.time()
                keys += [(f"key {key.id} of the ring", key.key) for key in ring.opening(now)]
                change = ring.next_change(now)
                good_for = INTERVAL if change is None else min(INTERVAL, max(0.0, change - now))
            else:
                secrets = settings.secrets(app)
                if not secrets and name in accepted:
                    raise _not_set(name, "SECRET_KEY")
        if not keys and not secrets:
            return None, [], None, None
        weak = [name for name, value in secrets.items() if len(value) < settings.SHORT_SECRET]
        made = SessionKeys(keys, list(secrets.values()), salt)
        return made, weak, followed if "keyring" in wanted else None, good_for

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


def _set(value: object, name: str, setting: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    if value is None:
        raise _not_set(name, setting)
    return value


def _not_set(name: str, setting: str) -> ConfigurationError:
    return ConfigurationError(
        f"SESSION_ENCRYPTION_ACCEPT names {name!r}, but {setting} is not set."
    )
