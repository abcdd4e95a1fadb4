"""The settings: their names, and the checks of single values.

Every error names the setting and what it must be. No error shows a value, which may be a key in the
wrong place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .errors import ConfigurationError

#: Every setting whose name begins with ``SESSION_ENCRYPTION_``; any other such name is a typo.
ENCRYPTION_SETTINGS = (
    "SESSION_ENCRYPTION_ACCEPT",
    "SESSION_ENCRYPTION_FORMAT",
    "SESSION_ENCRYPTION_KEYRING",
    "SESSION_ENCRYPTION_KEYRING_COMMAND",
    "SESSION_ENCRYPTION_KEYRING_WRAPPING",
    "SESSION_ENCRYPTION_KEYS",
)


class Setting(NamedTuple):
    """What the reference of settings says about one."""

    #: The default, as code; ``None`` if the setting is not set.
    default: str | None
    #: The values that it may have.
    values: str
    #: What it does.
    summary: str
    #: The page and the section that have more.
    more: str


#: Every setting that this package adds to Flask's. The page of settings and the table of the README
#: are made from it.
SETTINGS = {
    "SESSION_ENCRYPTION_KEYS": Setting(
        None,
        "a list of keys, or one comma-separated string",
        "the keys, with the newest first: it encrypts, all of them open",
        "keys.md#where-keys-come-from",
    ),
    "SESSION_ENCRYPTION_KEYRING": Setting(
        None,
        "a path, relative to the instance folder, or a `KeyRing`",
        "the key ring that the workers follow",
        "keys.md#a-key-ring",
    ),
    "SESSION_ENCRYPTION_KEYRING_WRAPPING": Setting(
        '"plain"',
        '`"plain"`, `"secret-key"`, `"command"`, or a list of them: the first is written',
        'how the ring is stored: `"secret-key"` and `"command"` encrypt it',
        "keys.md#wrapping-a-ring",
    ),
    "SESSION_ENCRYPTION_KEYRING_COMMAND": Setting(
        None,
        "a command line, or a list of a program and its arguments",
        'the key command: a program that prints the secret of a ring wrapped with `"command"`',
        "keys.md#wrapping-a-ring",
    ),
    "SESSION_ENCRYPTION_FORMAT": Setting(
        '"fernet"',
        '`"fernet"`, `"xaes-256-gcm"` or, in the first of two deploys, `"flask-signed"`',
        "the format that is written",
        "formats.md",
    ),
    "SESSION_ENCRYPTION_ACCEPT": Setting(
        "[]",
        'a list of `"keys"`, `"keyring"`, `"secret-key"`, the names of formats and, with a store, '
        '`"cookie"` and `"store"`; or one comma-separated string',
        "key sources, formats and places that also open",
        "keys.md#moving-to-a-ring-without-a-log-out",
    ),
    "SESSION_STORE": Setting(
        None,
        'a URL, such as `"redis://host"` or `"sqlite:////path"`, or an object with the methods of '
        "`SessionStore`",
        "the store in which sessions lie, encrypted; their cookies hold a reference",
        "stores.md#set-up",
    ),
    "SESSION_STORE_ERRORS": Setting(
        '"raise"',
        '`"raise"` or `"readonly"`',
        'while the store is away: `"raise"` answers 503 where a session is used and 500 where one '
        'is saved; `"readonly"` gives an empty session that is not written',
        "stores.md#when-the-store-is-away",
    ),
    "SESSION_STORE_TIMEOUT": Setting(
        "1.0",
        "a number of seconds above 0, at most 60",
        "seconds that one operation of a store may take",
        "stores.md#when-the-store-is-away",
    ),
    "SESSION_USER_KEY": Setting(
        '"_user_id"',
        "the name of a key of the session",
        "the session key that says whose a stored session is; Flask-Login's by default",
        "stores.md#users-and-log-out-everywhere",
    ),
    "SESSION_USER_LIMIT": Setting(
        None,
        "a whole number from 1 on",
        "most stored sessions of one user: the one that was not refreshed for longest ends",
        "stores.md#users-and-log-out-everywhere",
    ),
    "SESSION_ABSOLUTE_LIFETIME": Setting(
        None,
        "a `timedelta`, or a number of seconds above 0",
        "a session ends this long after its creation or its last `regenerate()`, even if it is in "
        "use",
        "sessions.md#lifetimes",
    ),
    "SESSION_REFRESH_AFTER": Setting(
        None,
        "a number from 0 to less than 1",
        "share of `PERMANENT_SESSION_LIFETIME` that must pass before an unchanged session is sent "
        "again; 0.1 with a store",
        "sessions.md#lifetimes",
    ),
    "SESSION_COMPRESSION": Setting(
        '"fit"',
        '`"fit"`, `"always"` or `"never"`',
        '`"fit"` compresses only a session that would otherwise not fit into a cookie',
        "sessions.md#compression",
    ),
    "SESSION_OVERFLOW": Setting(
        '"error"',
        '`"error"` or `"warn"`',
        'what happens if a session is still too large: `"error"` raises `SessionTooLarge`, '
        '`"warn"` does what Flask does',
        "sessions.md#when-a-session-does-not-fit",
    ),
}
#: The settings on which opening a session depends.
OPENING_SETTINGS = (
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    *ENCRYPTION_SETTINGS,
    "PERMANENT_SESSION_LIFETIME",
    "SESSION_ABSOLUTE_LIFETIME",
    "SESSION_REFRESH_AFTER",
    "SESSION_STORE",
    "SESSION_STORE_ERRORS",
    "SESSION_STORE_TIMEOUT",
    "SESSION_USER_KEY",
    "SESSION_USER_LIMIT",
    "SESSION_COOKIE_NAME",
    "DEBUG",
)
#: The further settings on which saving a session depends.
SAVING_SETTINGS = (
    "SESSION_COMPRESSION",
    "SESSION_OVERFLOW",
    "SESSION_COOKIE_DOMAIN",
    "SESSION_COOKIE_PATH",
    "APPLICATION_ROOT",
    "SESSION_COOKIE_SECURE",
    "SESSION_COOKIE_PARTITIONED",
    "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_HTTPONLY",
    "MAX_COOKIE_SIZE",
    "SESSION_REFRESH_EACH_REQUEST",
)
#: Every setting that a policy depends on. The native path compares these, and no others, to tell
#: whether a cached policy still holds; ``sessions/policy.py`` must not read another one. Misspelt
#: names are looked for whenever a policy is resolved. A policy also depends on the interface, and
#: with a key ring on the app's ``instance_path`` and the ring's state, which are read each second.
POLICY_SETTINGS = (*OPENING_SETTINGS, *SAVING_SETTINGS)

#: Where keys may come from, in the order of precedence.
KEY_SOURCES = ("keys", "keyring", "secret-key")
#: The encrypted formats, the default first.
ENCRYPTED_FORMATS = ("fernet", "xaes-256-gcm")
#: Flask's own format, in which sessions are signed and can be read by anyone.
SIGNED_FORMAT = "flask-signed"
FORMATS = (*ENCRYPTED_FORMATS, SIGNED_FORMAT)
#: Where the data of a session may lie. The place that is not written is opened only if it is named
#: in ``SESSION_ENCRYPTION_ACCEPT``.
PLACES = ("cookie", "store")
#: What an app gets of a session whose store is away, the default first.
STORE_ERRORS = ("raise", "readonly")
#: How a key ring may be kept, the default first.
WRAPPINGS = ("plain", "secret-key", "command")
COMPRESSIONS = ("fit", "always", "never")
OVERFLOWS = ("error", "warn")
#: Bytes below which a secret is too short to be random enough.
SHORT_SECRET = 16


def secrets(secret_key: object, fallbacks: object) -> dict[str, bytes]:
    """``SECRET_KEY`` and its fallbacks by name, the current one first; empty if it is not set.

    :raises ConfigurationError: if one of them cannot be used.
    """
    if not secret_key:
        return {}
    found = {"SECRET_KEY": secret("SECRET_KEY", secret_key)}
    fallbacks = fallbacks or []
    if isinstance(fallbacks, (str, bytes, bytearray, Mapping)) or not isinstance(
        fallbacks, Iterable
    ):
        raise ConfigurationError(
            "SECRET_KEY_FALLBACKS must be a list of former secret keys, not "
            f"{type(fallbacks).__name__}. A single one goes into a list too, because each of its "
            "letters would count as a key."
        )
    for position, value in enumerate(fallbacks):
        name = f"SECRET_KEY_FALLBACKS[{position}]"
        found[name] = secret(name, value)
    return found


def short_secrets(secrets: Mapping[str, bytes]) -> list[str]:
    """The names of those secrets that are too short to be random enough."""
    return [name for name, value in secrets.items() if len(value) < SHORT_SECRET]


def secret(name: str, value: object) -> bytes:
    """One secret as bytes.

    :raises ConfigurationError: if it cannot be used.
    """
    if isinstance(value, str):
        # Checked by hand: a UnicodeEncodeError would carry the secret.
        if has_surrogates(value):
            raise ConfigurationError(f"{name} must not contain lone surrogates.")
        value = value.encode()
    if not isinstance(value, (bytes, bytearray)):
        raise ConfigurationError(f"{name} must be str or bytes, not {type(value).__name__}.")
    if not value:
        raise ConfigurationError(f"{name} must not be empty.")
    return bytes(value)


def has_surrogates(text: str) -> bool:
    """Whether a text has lone surrogates, so that it cannot be encoded as UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def named_keys(name: str, value: object) -> list[tuple[str, str | bytes]]:
    """A list of keys, each with a name for messages. The keys themselves are not checked.

    :raises ConfigurationError: if it is not a list, or empty.
    """
    if not isinstance(value, (list, tuple)):
        # Only these have an order and can be read more than once.
        raise ConfigurationError(
            f"{name} must be a list of keys, the newest first, not {type(value).__name__}. A "
            "single key goes into a list too."
        )
    keys = [
        # Keys are often read from files that end in a newline.
        (f"{name}[{position}]", key.strip() if isinstance(key, (str, bytes)) else key)
        for position, key in enumerate(value)
    ]
    if not keys:
        raise ConfigurationError(
            f"{name} must not be empty. Leave it unset to derive keys from SECRET_KEY, or add a "
            "key from flask_fernet.Fernet.generate_key()."
        )
    return keys


def split_list(value: object) -> object:
    """A comma-separated ``str`` or ``bytes`` as a list; any other value unchanged."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        return parts if any(parts) else []
    return value


def accepted(config: Mapping[str, Any]) -> list[str]:
    """``SESSION_ENCRYPTION_ACCEPT``: key sources, formats and places that are also opened."""
    return choices(config, "SESSION_ENCRYPTION_ACCEPT", (*KEY_SOURCES, *FORMATS, *PLACES))


def choices(config: Mapping[str, Any], name: str, valid: tuple[str, ...]) -> list[str]:
    """A setting that lists some of a few words; empty if it is not set.

    :raises ConfigurationError: if it lists anything else.
    """
    value = config.get(name)
    if value is None:
        return []
    chosen = split_list(value)
    if not isinstance(chosen, (list, tuple, set, frozenset)):
        raise ConfigurationError(
            f"{name} must be a list of {one_of(valid)}, not {type(chosen).__name__}."
        )
    for word in chosen:
        if word not in valid:
            raise ConfigurationError(f"{name} must list only {one_of(valid)}, not anything else.")
    return list(chosen)


def choice(config: Mapping[str, Any], name: str, valid: tuple[str, ...]) -> str:
    """A setting that is one of a few words; the first of them if it is not set.

    :raises ConfigurationError: if it is anything else.
    """
    value = config.get(name)
    if value is None:
        return valid[0]
    if not isinstance(value, str) or value not in valid:
        # What another str says is not shown: it may be a key in the wrong place.
        given = "something else" if isinstance(value, str) else type(value).__name__
        raise ConfigurationError(f"{name} must be {one_of(valid)}, not {given}.")
    return value


def reject_unknown(config: Mapping[str, Any]) -> None:
    """Refuses a setting whose name begins like one of ours and is not.

    :raises ConfigurationError: with the names that there are.
    """
    for name in names_in(config):
        ours = isinstance(name, str) and name.startswith("SESSION_ENCRYPTION_")
        if ours and name not in ENCRYPTION_SETTINGS:
            known = ", ".join(ENCRYPTION_SETTINGS)
            raise ConfigurationError(f"Unknown setting {name}; known: {known}.")


def names_in(config: Mapping[Any, Any]) -> list[Any]:
    """The names in a configuration at one moment: other threads may be changing it. On a
    free-threaded Python only ``dict.copy`` reads a subclass of ``dict``, such as Flask's, as a
    whole.
    """
    return list(dict.copy(config) if isinstance(config, dict) else config)


def one_of(valid: tuple[str, ...]) -> str:
    """The valid words, for a message: ``'a', 'b' or 'c'``."""
    quoted = [repr(word) for word in valid]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
