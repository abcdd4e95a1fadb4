"""Keys that are bound to the salt of a session interface.

Two interfaces with different salts may share keys, and never open each other's sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask.sessions import SecureCookieSessionInterface

from .._core import derive_key

if TYPE_CHECKING:
    from ..keys.ring import RingKey

#: The salt of Flask's own interface, under which an explicit key is used as it is.
FLASKS_SALT = SecureCookieSessionInterface.salt


def salt_text(salt: str | bytes) -> str:
    """A salt as text, the same for a ``str`` and for its UTF-8."""
    return salt if isinstance(salt, str) else salt.decode("utf-8", "surrogateescape")


def bound_key(key: str, salt: str | bytes) -> str:
    """The key that an interface with this salt uses in place of an explicit key: another one for
    each salt. Under Flask's own salt it is the key itself, so that plain ``cryptography`` reads the
    sessions.
    """
    return key if salt_text(salt) == FLASKS_SALT else derive_key(key.encode(), salt)


def bound_ring_key(key: RingKey, salt: str | bytes) -> str:
    """The same for a key of a ring, which may be bound to a salt already."""
    if key.salt is None:
        return bound_key(key.key, salt)
    return key.key if key.salt == salt_text(salt) else derive_key(key.key.encode(), salt)
