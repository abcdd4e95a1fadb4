"""The exceptions of this package."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from werkzeug.exceptions import ServiceUnavailable


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
    #: The cookie refers to a session that the store does not have: it expired there, or was ended.
    GONE = "gone"
    #: The cookie refers to a stored session as it was before a log-in or a log-out.
    SUPERSEDED = "superseded"
    #: The session was ended by a revocation.
    REVOKED = "revoked"

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
        self.reason: Reason = Reason(reason)


class UnreadablePayload(FlaskFernetError):
    """Raised inside the package for an authentic payload that the interface's serializer does not
    read. The serializer's own error is its ``__cause__``.
    """


class SessionTooLarge(FlaskFernetError):
    """Raised at the end of a request when the session does not fit into its cookie, or into the
    record of a store. Browsers drop a cookie that is too long without a word. With
    ``SESSION_OVERFLOW = "warn"`` the cookie is sent nevertheless, with Werkzeug's warning.
    """

    def __init__(
        self,
        size: int,
        limit: int,
        largest: Sequence[tuple[object, int]] = (),
        *,
        stored: bool = False,
    ) -> None:
        #: Length of the ``Set-Cookie`` value, or of a stored session as JSON, in bytes.
        self.size = size
        #: Its maximum length, in bytes: ``MAX_COOKIE_SIZE``, or 1 MiB if that is 0 or the session
        #: is stored.
        self.limit = limit
        #: The largest keys of the session, each with the length of its value as JSON, in bytes.
        self.largest: tuple[tuple[object, int], ...] = tuple(largest)
        parts = [f"{shown_key(key)} with {length} bytes" for key, length in largest]
        if stored:
            super().__init__(
                f"The stored session would be {size} bytes long; the limit is {limit} bytes. "
                + (f"Its largest keys are {', '.join(parts)}. " if parts else "")
                + "Keep less in the session: an id, not an object; a page, not a list."
            )
            return
        super().__init__(
            f"The session cookie would be {size} bytes long; the limit is {limit} bytes. "
            + (f"Its largest keys are {', '.join(parts)}. " if parts else "")
            + "Browsers drop longer cookies without a word. Keep less in the session (an id, not "
            "an object; a page, not a list), allow SESSION_COMPRESSION if it is "
            "'never', or set SESSION_OVERFLOW to 'warn' to send the cookie nevertheless."
        )


class StoreUnavailable(FlaskFernetError, ServiceUnavailable):
    """Raised where a session is first touched, when the store with its data does not answer in
    time. Flask answers 503 with ``Retry-After``, unless an error handler does otherwise. Nothing is
    saved by that request, and no cookie changes.

    Also raised at the end of a request that could not write its session, and by each revocation
    that could not be made.
    """

    #: Seconds after which a client may try again.
    RETRY_AFTER = 2

    def __init__(
        self, operation: str, problem: str, *, at_once: bool = False, is_outage: bool = True
    ) -> None:
        #: Whether other operations would most likely fail too.
        self.is_outage = is_outage
        #: Whether the store was not even asked, because it has just failed.
        self.at_once = at_once
        #: The operation that failed, ``"read"`` or ``"replace"`` for example.
        self.operation = operation
        #: What went wrong, without anything secret.
        self.problem = problem
        # What a client sees names no part of the server.
        ServiceUnavailable.__init__(self, retry_after=self.RETRY_AFTER)

    def __str__(self) -> str:
        return f"The session store does not answer ({self.operation}: {self.problem})."

    def __reduce__(self) -> tuple[type[StoreUnavailable], tuple[str, str]]:
        return type(self), (self.operation, self.problem)


class SessionConflict(FlaskFernetError):
    """Raised at the end of a request when its changes could not be merged with those of others
    within three seconds, and by an own ``merge_sessions`` that refuses to merge.
    """


class UnwritableValue(FlaskFernetError, TypeError, ValueError):
    """Raised at the end of a request when the session has a value that its serializer does not
    write. The message names the value by its path, ``session['user']['profile'][0]``, and by its
    type, and never shows it. A ``TypeError`` and a ``ValueError``, as the serializer raises them;
    its own error is the ``__cause__``, without the traceback, whose frames hold the session.
    """

    def __init__(self, path: str, type_name: str) -> None:
        #: The path of the value, from ``session`` on.
        self.path = path
        super().__init__(
            f"{path} cannot be written: the session's serializer does not write this {type_name}. "
            "Keep an id, or text, numbers, lists and dicts with text as keys."
        )


def shown_key(key: object) -> str:
    """A key of a dict for a message: text and numbers themselves, shortened, of others the type."""
    if not isinstance(key, (str, int, float)):
        return type(key).__name__
    shown = repr(key)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


class InternalError(FlaskFernetError, RuntimeError):
    """Raised where this package has a bug: its native code panicked. Please report the message. It
    has the place in the package's source, and shows nothing of keys or data.
    """

    def __init__(self, place: str) -> None:
        super().__init__(place)
        #: A file of the package's source, and a line.
        self.place = place

    def __str__(self) -> str:
        return f"flask-fernet has a bug at {self.place}. Please report it."


class InvalidToken(Exception):
    """Raised by :class:`~flask_fernet.Fernet` for every token that does not open. It does not say
    why, as in ``cryptography``.
    """
