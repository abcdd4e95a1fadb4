"""The sources of an app's session keys, and what each of them gives."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .. import settings
from .._core import Policy, SessionKeys, derive_key
from ..errors import ConfigurationError, KeyRingError
from ..keys.command import COMMAND_FAILED, parse_command
from ..keys.following import FollowedRing, valid_for
from ..keys.keyring import KeyRing
from ..keys.wrapping import Wrapping
from .app_memory import AppMemory
from .followed_rings import FollowedRings
from .salts import FLASKS_SALT, bound_key, bound_ring_key, salt_text

if TYPE_CHECKING:
    from flask import Flask

    from ..keys.ring import Ring

#: Keys, each with a name for messages.
NamedKeys = list[tuple[str, "str | bytes"]]

_SETTING_OF = {
    "keys": "SESSION_ENCRYPTION_KEYS",
    "keyring": "SESSION_ENCRYPTION_KEYRING",
    "secret-key": "SECRET_KEY",
}


@dataclass
class ResolvedKeys:
    """The keys that an app's sources give."""

    #: Key sources that are configured and neither write nor open.
    unused_sources: list[str]
    #: The source that writes, one of ``settings.KEY_SOURCES``.
    writer: str | None = None
    #: The keys as text, those of the source that writes first.
    named: NamedKeys = field(default_factory=list, repr=False)
    #: The keys but those of a ring, for a ring to take over: as text, each with the salt to which
    #: it is bound already.
    exported: dict[str, str | None] = field(default_factory=dict, repr=False)
    #: The same keys, ready for use; ``None`` if there are none.
    session_keys: SessionKeys | None = None
    #: Names of the secrets in use that are too short to be random enough.
    short_secrets: list[str] = field(default_factory=list)
    ring: FollowedRing | None = None
    #: The state of the ring from which these keys were taken.
    ring_state: Ring | None = None
    #: Seconds until a ring must be polled again; ``None`` if only the settings matter.
    valid_for: float | None = None
    #: Whether the keys changed since the last call for the same app.
    changed: bool = False

    def add_explicit(self, keys: NamedKeys, salt: str | bytes) -> None:
        """Adds keys from the argument or the settings.

        :raises ConfigurationError: if one of them cannot be used.
        """
        # Checks them.
        SessionKeys(keys, salt)
        for name, key in keys:
            text = key if isinstance(key, str) else key.decode()
            self.named.append((name, bound_key(text, salt)))
            self.exported.setdefault(text, None)

    def add_ring(self, ring: FollowedRing, salt: str | bytes) -> None:
        """Adds the keys of a ring that open now."""
        state, now = ring.current(), time.time()
        self.named += [
            (ring_key_name(key.id), bound_ring_key(key, salt)) for key in state.opening(now)
        ]
        self.valid_for = valid_for(state, now)
        self.ring, self.ring_state = ring, state

    def add_secrets(self, secrets: dict[str, bytes], salt: str | bytes) -> None:
        """Adds the keys that are derived from secrets."""
        derived = {name: derive_key(secret, salt) for name, secret in secrets.items()}
        self.named += derived.items()
        bound_to = None if salt_text(salt) == FLASKS_SALT else salt_text(salt)
        for key in derived.values():
            self.exported.setdefault(key, bound_to)
        self.short_secrets += settings.short_secrets(secrets)

    def drop_revoked(self, salt: str | bytes) -> None:
        """Removes the keys that the ring has revoked, also where another source has them."""
        if self.ring_state is None:
            return
        revoked = {
            bound_ring_key(key, salt) for key in self.ring_state.keys if key.revoked is not None
        }
        self.named = [(name, key) for name, key in self.named if key not in revoked]


def ring_key_name(key_id: str) -> str:
    """The name of a key of a ring, for people."""
    return f"key {key_id} of the ring"


def ring_key_id(name: str) -> str | None:
    """The id in a name from :func:`ring_key_name`; ``None`` for the name of another key."""
    start, end = ring_key_name("\0").split("\0")
    return name[len(start) : -len(end)] if name.startswith(start) and name.endswith(end) else None


def single_key(name: str, key: str | bytes, salt: str | bytes) -> SessionKeys:
    """One key alone, which opens every encrypted format."""
    written, *others = settings.ENCRYPTED_FORMATS
    return SessionKeys([(name, key)], salt, written, others)


@dataclass(frozen=True)
class UsedKeys:
    """The names of an app's keys, for people."""

    #: The source that writes, one of ``settings.KEY_SOURCES``.
    writer: str | None = None
    #: For each key the names under which it is configured; the key that writes comes first.
    names: list[list[str]] = field(default_factory=list)


class KeySources:
    """The key sources of the apps that one interface serves.

    :param argument: the keys given to the interface, if there are any.
    """

    def __init__(self, argument: NamedKeys | None = None) -> None:
        self.argument = argument
        self._rings = FollowedRings()
        #: The ring of each app, which is followed while an app uses it.
        self._ring_of: AppMemory[FollowedRing | None] = AppMemory()
        #: For each app the keys made last, with what they were made from. A ring is polled each
        #: second and mostly gives the same keys.
        self._last: AppMemory[tuple[object, SessionKeys | None]] = AppMemory()

    def __deepcopy__(self, memo: object) -> KeySources:
        return KeySources(self.argument)

    def resolve(self, app: Flask, salt: str | bytes, formats: list[str]) -> ResolvedKeys:
        """The keys of ``app``.

        :param salt: the interface's salt, to which derived keys are bound.
        :param formats: the encrypted formats that are opened. The first is written.
        :raises ConfigurationError: if a key or a setting cannot be used.
        """
        keys = self._collect(app, salt)
        if self._ring_of.get(app) is not keys.ring:
            self._ring_of.set(app, keys.ring)
        inputs = (keys.named, salt, formats)
        last = self._last.get(app)
        if last is not None and last[0] == inputs:
            keys.session_keys = last[1]
            return keys
        keys.changed = last is not None
        if keys.named:
            keys.session_keys = SessionKeys(keys.named, salt, formats[0], formats[1:])
        self._last.set(app, (inputs, keys.session_keys))
        return keys

    def for_salt(self, app: Flask, salt: str | bytes, policy: Policy) -> SessionKeys | None:
        """The keys of an interface with another salt and the same policy; ``None`` if there are
        none.
        """
        named = self._collect(app, salt).named
        if not named:
            return None
        others = [name for name in policy.accepted if name in settings.ENCRYPTED_FORMATS]
        return SessionKeys(named, salt, policy.format, others)

    def used(self, app: Flask, salt: str | bytes) -> UsedKeys:
        """The names of the keys that are used."""
        keys = self._collect(app, salt)
        found: dict[str, list[str]] = {}
        for name, key in keys.named:
            found.setdefault(str(key), []).append(name)
        return UsedKeys(keys.writer, list(found.values()))

    def require_working_command(self, keyring: KeyRing | None) -> None:
        """For the command line: loading the app has run a ring's key command, and running it again
        may take its whole time again.

        :raises KeyRingError: if the key command failed.
        """
        failure = None if keyring is None else self._rings.failure(keyring)
        if failure is not None and failure.startswith(COMMAND_FAILED):
            raise KeyRingError(failure)

    def each(self, app: Flask, salt: str | bytes) -> Iterator[tuple[str, SessionKeys]]:
        """Each key alone, with its name."""
        for name, key in self._collect(app, salt).named:
            yield name, single_key(name, key, salt)

    def export(self, app: Flask, salt: str | bytes) -> dict[str, str | None]:
        """The keys as text, the newest first, for a key ring to take over, each with the salt to
        which it is bound already. Keys derived from a secret are exported in derived form. A ring
        that is already configured is left out.
        """
        return self._collect(app, salt, with_ring=False).exported

    def _collect(self, app: Flask, salt: str | bytes, with_ring: bool = True) -> ResolvedKeys:
        config = app.config
        settings.reject_unknown(config)
        accepted = settings.accepted(config)
        explicit = self._explicit_keys(app)
        keyring = configured_ring(app)
        ring = None if keyring is None or not with_ring else self._rings.get(keyring)
        configured = {"keys": explicit, "keyring": ring, "secret-key": app.secret_key or None}
        present = [name for name, value in configured.items() if value is not None]
        # The first configured source writes. One named in SESSION_ENCRYPTION_ACCEPT only opens,
        # unless it is the only one.
        writer = next((name for name in present if name not in accepted), None)
        writer = writer or next(iter(present), None)
        used = dict.fromkeys([writer, *(name for name in settings.KEY_SOURCES if name in accepted)])
        keys = ResolvedKeys([name for name in present if name not in (*used, "secret-key")])
        keys.writer = writer
        for name in used:
            if name == "keys" and explicit is not None:
                keys.add_explicit(explicit, salt)
            elif name == "keyring" and keyring is not None and ring is not None:
                keys.add_ring(ring, salt)
                if "secret-key" in keyring.store.wrapping.forms:
                    keys.short_secrets += settings.short_secrets(app_secrets(app))
            elif name == "secret-key" and app.secret_key:
                keys.add_secrets(app_secrets(app), salt)
            elif name is not None and (with_ring or name != "keyring"):
                raise ConfigurationError(
                    f"SESSION_ENCRYPTION_ACCEPT names {name!r}, but {_SETTING_OF[name]} is not set."
                )
        keys.drop_revoked(salt)
        return keys

    def _explicit_keys(self, app: Flask) -> NamedKeys | None:
        if self.argument is not None:
            return self.argument
        value = app.config.get("SESSION_ENCRYPTION_KEYS")
        if value is None:
            return None
        return settings.named_keys("SESSION_ENCRYPTION_KEYS", settings.split_list(value))


def app_secrets(app: Flask) -> dict[str, bytes]:
    """``SECRET_KEY`` and its fallbacks by name, the current one first; empty if it is not set.

    :raises ConfigurationError: if one of them cannot be used.
    """
    return settings.secrets(app.secret_key, app.config["SECRET_KEY_FALLBACKS"])


def configured_ring(app: Flask) -> KeyRing | None:
    """The key ring that the configuration of ``app`` names. The ring need not exist.

    :raises ConfigurationError: if a setting cannot be used.
    """
    config = app.config
    configured = config.get("SESSION_ENCRYPTION_KEYRING")
    wrapping = configured_wrapping(app)
    if configured is None or isinstance(configured, KeyRing):
        for name in _WRAPPING_SETTINGS:
            if config.get(name) is not None:
                raise ConfigurationError(
                    f"{name} is set, so SESSION_ENCRYPTION_KEYRING must be the path of a key ring."
                )
        return configured
    if not isinstance(configured, (str, Path)) or not str(configured):
        given = "empty" if configured == "" else type(configured).__name__
        raise ConfigurationError(
            f"SESSION_ENCRYPTION_KEYRING must be the path of a key ring or a KeyRing, not {given}."
        )
    return KeyRing(Path(app.instance_path, configured), wrapping=wrapping)


_WRAPPING_SETTINGS = ("SESSION_ENCRYPTION_KEYRING_WRAPPING", "SESSION_ENCRYPTION_KEYRING_COMMAND")


def configured_wrapping(app: Flask, forms: Iterable[str] = ()) -> Wrapping:
    """The form in which the key ring of ``app`` is stored, with the secrets for it.

    :param forms: forms to use in place of those in the configuration.
    :raises ConfigurationError: if a setting cannot be used.
    """
    config = app.config
    name, command_name = _WRAPPING_SETTINGS
    configured = settings.choices(config, name, settings.WRAPPINGS)
    if config.get(name) is not None and not configured:
        raise ConfigurationError(
            f"{name} must be {settings.one_of(settings.WRAPPINGS)}, or a list of them, and must "
            "not be empty. The first of a list is written."
        )
    command = parse_command(config.get(command_name), command_name)
    if command and "command" not in configured:
        raise ConfigurationError(f"{command_name} is set, but {name} does not name 'command'.")
    forms = tuple(dict.fromkeys(forms)) or tuple(configured) or ("plain",)
    if "command" in forms and not command:
        raise ConfigurationError(
            f"A key ring wrapped with a 'command' needs {command_name}: the program that "
            "prints its secret."
        )
    secrets = tuple(app_secrets(app).values()) if "secret-key" in forms else ()
    if "secret-key" in forms and not secrets:
        raise ConfigurationError(
            "A key ring wrapped with the 'secret-key' needs SECRET_KEY, which is not set."
        )
    return Wrapping(forms, secrets, command)
