"""Settings read and checked. Every error names the setting and what it may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError

if TYPE_CHECKING:
    from flask import Flask

#: Every name that begins like ours; any other is a typing error.
ENCRYPTION_SETTINGS = (
    "SESSION_ENCRYPTION_ACCEPT",
    "SESSION_ENCRYPTION_FORMAT",
    "SESSION_ENCRYPTION_KEYRING",
    "SESSION_ENCRYPTION_KEYRING_COMMAND",
    "SESSION_ENCRYPTION_KEYRING_WRAPPING",
    "SESSION_ENCRYPTION_KEYS",
)
SETTINGS = (
    *ENCRYPTION_SETTINGS,
    "SESSION_COMPRESSION",
    "SESSION_OVERFLOW",
    "SESSION_ABSOLUTE_LIFETIME",
    "SESSION_REFRESH_AFTER",
)
#: Where keys may come from, in the order in which they are looked for.
KEY_SOURCES = ("keys", "keyring", "secret-key")
#: The default first.
ENCRYPTED_FORMATS = ("fernet", "xaes-256-gcm")
FORMATS = (*ENCRYPTED_FORMATS, "flask-signed")
#: How a key ring is kept.
WRAPPINGS = ("plain", "secret-key", "command")
COMPRESSIONS = ("fit", "always", "never")
OVERFLOWS = ("error", "warn")
#: Bytes below which a secret is too short to be random enough.
SHORT_SECRET = 16


def declare(config: Mapping[str, Any]) -> None:
    """Puts ``None`` for each setting that is not there into a configuration, as Flask extensions
    put their defaults. What is there is found again at its place, which is cheaper than a look-up
    at each request. A configuration that is more than a dict is left alone.
    """
    if isinstance(config, dict) and type(config).__setitem__ is dict.__setitem__:
        for name in SETTINGS:
            dict.setdefault(config, name, None)


def secrets(app: Flask) -> dict[str, bytes]:
    """``SECRET_KEY`` and its fallbacks by name, the current one first; empty where it is not
    set.
    """
    if not app.secret_key:
        return {}
    found = {"SECRET_KEY": secret("SECRET_KEY", app.secret_key)}
    fallbacks = app.config["SECRET_KEY_FALLBACKS"] or []
    if isinstance(fallbacks, (str, bytes, bytearray)) or not isinstance(fallbacks, Iterable):
        raise ConfigurationError(
            "SECRET_KEY_FALLBACKS is a list of former secret keys; a single one goes into a list "
            "too, or each of its letters would be taken for a key."
        )
    for position, value in enumerate(fallbacks):
        name = f"SECRET_KEY_FALLBACKS[{position}]"
        found[name] = secret(name, value)
    return found


def short_secrets(secrets: dict[str, bytes]) -> list[str]:
    """The names of those that are too short to be random enough."""
    return [name for name, value in secrets.items() if len(value) < SHORT_SECRET]


def secret(name: str, value: object) -> bytes:
    """One secret as bytes."""
    if isinstance(value, str):
        # Not with an error, which would carry the secret.
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigurationError(f"{name} has characters that UTF-8 has not.")
        value = value.encode()
    if not isinstance(value, (bytes, bytearray)):
        raise ConfigurationError(f"{name} is a {type(value).__name__}, not str or bytes.")
    if not value:
        raise ConfigurationError(f"{name} is empty.")
    return bytes(value)


def named_keys(name: str, value: object) -> list[tuple[str, str | bytes]]:
    """A list of keys, each with a name for messages. What is in it is not checked."""
    if not isinstance(value, (list, tuple)):
        # Nothing else has an order and can be read again.
        raise ConfigurationError(
            f"{name} is a list of keys, the newest first; got a {type(value).__name__}. A single "
            "key goes into a list too."
        )
    keys = [(f"{name}[{position}]", key) for position, key in enumerate(value)]
    if not keys:
        raise ConfigurationError(
            f"{name} is set but empty. Leave it unset to derive keys from SECRET_KEY, or put in "
            "what flask_fernet.Fernet.generate_key() gives."
        )
    return keys


def split_list(value: object) -> object:
    """One comma-separated string as a list; anything else as it is."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        return parts if any(parts) else []
    return value


def accepted(config: Mapping[str, Any]) -> list[str]:
    """``SESSION_ENCRYPTION_ACCEPT``: key sources and formats that are opened besides."""
    return choices(config, "SESSION_ENCRYPTION_ACCEPT", (*KEY_SOURCES, *FORMATS))


def choices(config: Mapping[str, Any], name: str, valid: tuple[str, ...]) -> list[str]:
    """A setting that lists some of a few words; empty where it is not set."""
    value = config.get(name)
    if value is None:
        return []
    chosen = split_list(value)
    if not isinstance(chosen, (list, tuple, set, frozenset)):
        raise ConfigurationError(f"{name} is a list of {one_of(valid)}.")
    for word in chosen:
        # What it is instead is not shown: it may be a key in the wrong place.
        if word not in valid:
            raise ConfigurationError(f"{name} lists something else than {one_of(valid)}.")
    return list(chosen)


def choice(config: Mapping[str, Any], name: str, valid: tuple[str, ...]) -> str:
    """A setting that is one of a few words, the first where it is not set."""
    value = config.get(name)
    if value is None:
        return valid[0]
    if not isinstance(value, str) or value not in valid:
        raise ConfigurationError(f"{name} is something else than {one_of(valid)}.")
    return value


def reject_unknown(config: Mapping[str, Any]) -> None:
    """Refuses settings that begin like ours and are not."""
    for name in list(config):
        if name.startswith("SESSION_ENCRYPTION_") and name not in ENCRYPTION_SETTINGS:
            known = ", ".join(ENCRYPTION_SETTINGS)
            raise ConfigurationError(f"{name} is no setting of flask-fernet; there are: {known}.")


def one_of(valid: tuple[str, ...]) -> str:
    """A few words to choose from, for a message."""
    quoted = [repr(word) for word in valid]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
