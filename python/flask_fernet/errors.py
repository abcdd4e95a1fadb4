"""The exceptions of this package."""

from __future__ import annotations

import enum


class Reason(str, enum.Enum):
    """Why a session cookie was refused. Compares equal to its name as a ``str``."""

    #: Not a token: wrong alphabet, length or version.
    MALFORMED = "malformed"
    #: The MAC matches under no key. A wrong key and a changed token look alike.
    UNAUTHENTIC = "unauthentic"
    #: Authentic, and older than ``PERMANENT_SESSION_LIFETIME``.
    EXPIRED = "expired"
    #: Authentic, and dated more than 60 seconds ahead of this server's clock.
    FROM_FUTURE = "from_future"
    #: Longer than 1 MiB; it was not even decoded.
    TOO_LARGE = "too_large"
    #: Authentic, but its contents are not what the serializer writes.
    UNDECODABLE = "undecodable"

    def __str__(self) -> str:
        return self.value


class FlaskFernetError(Exception):
    """The base of all errors of sessions and their configuration."""


class ConfigurationError(FlaskFernetError, ValueError):
    """Raised when a setting or an argument cannot be used. The message names it, says what it must
    be, and never shows a key.
    """


class KeyRingError(ConfigurationError):
    """Raised when a key ring cannot be read, written, or changed as asked. Its message never shows
    a key.
    """


class SessionRejected(FlaskFernetError):
    """Raised inside the package when a session cookie does not open. An app does not see it: it
    gets a new session, and :data:`~flask_fernet.session_rejected` gives the reason.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        #: The :class:`Reason`.
        self.reason = Reason(reason)


class UnreadablePayload(FlaskFernetError):
    """Raised inside the package for an authentic payload that the interface's serializer does not
    read. The serializer's own error is its ``__cause__``.
    """


class SessionTooLarge(FlaskFernetError):
    """Raised at the end of a request when the session does not fit into its cookie. Browsers drop a
    cookie that is too long without a word. With ``SESSION_OVERFLOW = "warn"`` the cookie is sent
    nevertheless, with Werkzeug's warning.
    """

    def __init__(self, size: int, limit: int) -> None:
        #: Length of the ``Set-Cookie`` value, in bytes.
        self.size = size
        #: Its maximum length, in bytes: ``MAX_COOKIE_SIZE``, or 1 MiB if that is 0.
        self.limit = limit
        super().__init__(
            f"The session cookie would be {size} bytes long; the limit is {limit} bytes. Browsers "
            "drop longer cookies without a word. Keep less in the session (an id instead of an "
            "object, a page instead of a list), allow SESSION_COMPRESSION if it is 'never', or set "
            "SESSION_OVERFLOW to 'warn' to send the cookie nevertheless."
        )


class InvalidToken(Exception):
    """Raised by :class:`~flask_fernet.Fernet` for every token that does not open. It does not say
    why, as in ``cryptography``.
    """
