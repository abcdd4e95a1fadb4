"""Every exception that this package raises on purpose."""

from __future__ import annotations

import enum


class Reason(str, enum.Enum):
    """Why a session cookie was refused. Compares equal to its name as a ``str``."""

    #: Not a token at all: wrong alphabet, length or version.
    MALFORMED = "malformed"
    #: The MAC matches under no key. A wrong key and a changed token look alike.
    UNAUTHENTIC = "unauthentic"
    #: Authentic, and older than ``PERMANENT_SESSION_LIFETIME``.
    EXPIRED = "expired"
    #: Authentic, and dated more than 60 seconds ahead of this server's clock.
    FROM_FUTURE = "from_future"
    #: Longer than 1 MiB; it was not even decoded.
    TOO_LARGE = "too_large"
    #: Authentic, and what is inside is not what the serializer writes.
    UNDECODABLE = "undecodable"

    def __str__(self) -> str:
        return self.value


class FlaskFernetError(Exception):
    """Base of what goes wrong with sessions."""


class ConfigurationError(FlaskFernetError, ValueError):
    """Raised when a setting or an argument cannot be used. Names it and what would do; never
    shows a key.
    """


class KeyRingError(ConfigurationError):
    """Raised when a key ring cannot be read, written, or changed as asked. Never shows a key."""


class SessionRejected(FlaskFernetError):
    """Raised inside the package when a session cookie does not open. An app does not see it: it
    gets a new session, and :data:`~flask_fernet.session_rejected` the reason.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        #: Why, as a :class:`Reason`.
        self.reason = Reason(reason)


class SessionTooLarge(FlaskFernetError):
    """Raised at the end of a request when the session does not fit into its cookie, instead of
    sending one that browsers drop in silence. With ``SESSION_OVERFLOW = "warn"`` the cookie is
    sent all the same, with Werkzeug's warning.
    """

    def __init__(self, size: int, limit: int) -> None:
        #: Length of the ``Set-Cookie`` value, in bytes.
        self.size = size
        #: Most bytes it may have: ``MAX_COOKIE_SIZE``, or 1 MiB where that is 0.
        self.limit = limit
        super().__init__(
            f"The session cookie would be {size} bytes long, the limit is {limit}. Browsers drop "
            "longer cookies in silence. Keep less in the session (an id instead of the object, "
            "a page instead of the list), allow SESSION_COMPRESSION if it is 'never', or set "
            "SESSION_OVERFLOW = 'warn' to send it all the same."
        )


class InvalidToken(Exception):
    """Raised by :class:`~flask_fernet.Fernet` for every token that does not open, for whatever
    reason. Says nothing else, as in ``cryptography``.
    """
