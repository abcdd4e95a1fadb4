"""Types of the native module. Import its classes from `flask_fernet`, not from here.

Calls across the boundary go both ways. The classes and functions here are called from Python. The
protocol ``_Host`` lists every method that the native path calls on a session interface.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, Protocol, SupportsIndex, TypedDict, final, type_check_only

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SessionMixin
from itsdangerous.url_safe import URLSafeTimedSerializer
from typing_extensions import Buffer, Self, disjoint_base

from .sessions.storage import Storage

__all__ = [
    "COMPRESSED",
    "CREATED",
    "MAX_CLOCK_SKEW",
    "MAX_INFLATED",
    "PROVENANCE",
    "STORED",
    "Codec",
    "CookieAttributes",
    "Fernet",
    "MultiFernet",
    "NativeInterface",
    "NativeState",
    "Policy",
    "Provenance",
    "RecordKeys",
    "SessionKeys",
    "deflate",
    "derive_key",
    "find_cookie",
    "has_fernet_shape",
    "inflate",
    "is_reference",
    "read_reference",
    "unwrap",
    "wrap",
    "write_reference",
]

#: First byte of a compressed payload.
COMPRESSED: Final[int]
#: Maximum number of bytes that a compressed payload may inflate to.
MAX_INFLATED: Final[int]
#: Seconds by which a token may be dated ahead of this clock.
MAX_CLOCK_SKEW: Final[int]
#: Key of the note that opening leaves in a session's ``__dict__``.
PROVENANCE: Final[str]
#: Key of the note on a stored session, in its ``__dict__``.
STORED: Final[str]
#: Key of the creation time, in a session's ``__dict__`` and in the payload that carries it.
CREATED: Final[str]

@disjoint_base
class Fernet:
    """Symmetric authenticated encryption of bytes, by the Fernet specification
    (<https://github.com/fernet/spec>).

    Drop-in for ``cryptography.fernet.Fernet``. Frozen and safe to share between threads. Not
    picklable; copying gives the same object.

    :param key: 32 bytes as URL-safe base64; see :meth:`generate_key`.
    :param backend: taken and ignored.
    :raises ValueError: if ``key`` is not 32 bytes in base64.
    """

    def __init__(self, key: str | Buffer, backend: Any = None) -> None: ...
    @classmethod
    def generate_key(cls) -> bytes:
        """A fresh key: 32 random bytes as URL-safe base64."""

    def encrypt(self, data: bytes) -> bytes:
        """A token over ``data``, dated now.

        :raises TypeError: if ``data`` is not ``bytes``.
        """

    def encrypt_at_time(self, data: bytes, current_time: int) -> bytes:
        """A token over ``data``, dated ``current_time`` seconds since the epoch.

        :raises TypeError: if ``data`` is not ``bytes``.
        :raises OverflowError: if the time is negative or beyond 64 bits.
        """

    def decrypt(self, token: bytes | str, ttl: int | None = None) -> bytes:
        """The plaintext of ``token``.

        :param ttl: maximum age in seconds; ``None`` leaves the age unchecked. With a ``ttl``, a
            token dated more than 60 seconds ahead is refused too.
        :raises InvalidToken: if the token does not open; the error does not say why.
        :raises TypeError: if ``token`` is neither ``bytes`` nor ``str``.
        """

    def decrypt_at_time(self, token: bytes | str, ttl: int, current_time: int) -> bytes:
        """The plaintext of ``token``, its age judged at ``current_time`` seconds since the epoch.

        :raises InvalidToken: if the token does not open; the error does not say why.
        :raises ValueError: if ``ttl`` is ``None``.
        """

    def extract_timestamp(self, token: bytes | str) -> int:
        """The issue time of an authentic token, in seconds since the epoch.

        :raises InvalidToken: if this key did not make the token.
        """

    def _encrypt_from_parts(self, data: bytes, current_time: int, iv: bytes) -> bytes: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any: ...

@disjoint_base
class MultiFernet:
    """Several keys at once: the first encrypts, all of them decrypt.

    Drop-in for ``cryptography.fernet.MultiFernet``.

    :param fernets: :class:`Fernet` instances, the newest first.
    :raises ValueError: if there are none.
    """

    def __init__(self, fernets: Iterable[Fernet]) -> None: ...
    def encrypt(self, msg: bytes) -> bytes:
        """A token over ``msg`` under the first key, dated now."""

    def encrypt_at_time(self, msg: bytes, current_time: int) -> bytes:
        """A token under the first key, dated ``current_time`` seconds since the epoch."""

    def rotate(self, msg: bytes | str) -> bytes:
        """The same plaintext under the first key. The issue time stays.

        :raises InvalidToken: if the token opens under no key.
        """

    def decrypt(self, msg: bytes | str, ttl: int | None = None) -> bytes:
        """The plaintext of a token that any of the keys made. See :meth:`Fernet.decrypt`."""

    def decrypt_at_time(self, msg: bytes | str, ttl: int, current_time: int) -> bytes:
        """The plaintext of a token, its age judged at ``current_time`` seconds since the epoch."""

    def extract_timestamp(self, msg: bytes | str) -> int:
        """The issue time of an authentic token, in seconds since the epoch."""

    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any: ...

@type_check_only
class _Inspected(TypedDict):
    """The properties of an authentic token."""

    format: str
    #: Seconds since the epoch.
    issued_at: int
    #: Position of the key that made the token; 0 is the newest.
    key: int
    #: Bytes of the payload.
    size: int
    compressed: bool

@type_check_only
class _Migration(TypedDict):
    """The sessions that came in one format."""

    count: int
    #: When the last one came, in seconds since the epoch.
    last_seen: int

@final
class SessionKeys:
    """Seals and opens session payloads. The first key encrypts, all of them open.

    :param keys: pairs of a name for messages and a key, 32 bytes as URL-safe base64.
    :param salt: the session interface's salt.
    :param writes: the format of the tokens that are written.
    :param others: further formats that are opened.
    :raises ConfigurationError: if a key is malformed. The message names the key and never shows it.
    """

    #: Maximum length of a token that is opened, in characters.
    MAX_TOKEN: ClassVar[int]

    def __new__(
        cls,
        keys: Sequence[tuple[str, str | bytes]],
        salt: str | bytes,
        writes: str = "fernet",
        others: Sequence[str] = ...,
    ) -> Self: ...
    def seal(self, payload: bytes, issued_at: int, name: str) -> str:
        """A token over ``payload``, dated ``issued_at`` seconds since the epoch, for the cookie
        ``name``.
        """

    def open(
        self, token: str | bytes, now: int, max_age: int, name: str
    ) -> tuple[bytes, int, bool, str]:
        """Opens a token of the cookie ``name`` that is at most ``max_age`` seconds old at ``now``.
        Returns its payload, its issue time, whether the newest key made it, and its format.

        :raises SessionRejected: with the reason.
        """

    def may_be_newer(self, token: bytes | str) -> bool:
        """Whether a token that no key opens may be under a key that this object does not have yet.
        It is not if its shape is wrong or its key hint is of a key that is here.
        """

    def inspect(self, token: str | bytes, name: str) -> _Inspected:
        """The properties of a token of the cookie ``name``, whatever its age.

        :raises SessionRejected: if the token is not authentic.
        """

@final
class CookieAttributes:
    """The attributes of the session cookie, as configured."""

    def __new__(
        cls,
        *,
        name: object,
        domain: object,
        path: object,
        secure: object,
        partitioned: object,
        samesite: object,
        httponly: object,
        max_size: object,
        refresh_each_request: object,
    ) -> Self: ...
    @property
    def name(self) -> Any: ...
    @property
    def domain(self) -> Any: ...
    @property
    def path(self) -> Any: ...
    @property
    def secure(self) -> Any: ...
    @property
    def partitioned(self) -> Any: ...
    @property
    def samesite(self) -> Any: ...
    @property
    def httponly(self) -> Any: ...
    @property
    def max_size(self) -> Any:
        """``MAX_COOKIE_SIZE`` in bytes; 0 for no limit."""

    @property
    def refresh_each_request(self) -> Any:
        """``SESSION_REFRESH_EACH_REQUEST``."""

@type_check_only
class _SignedCookies(Protocol):
    """The part of ``sessions.signed.SignedCookies`` that a policy needs."""

    serializer: URLSafeTimedSerializer

    @staticmethod
    def looks_like_one(token: str) -> bool: ...
    def open(self, token: str, now: int, max_age: int) -> tuple[bytes, int]: ...
    def seal(self, payload: bytes, issued_at: int) -> str: ...

@type_check_only
class _FollowedRing(Protocol):
    """The part of ``keys.following.FollowedRing`` that a policy needs."""

    def poll_now(self) -> object: ...

@final
class Policy:
    """Everything that an app's configuration decides about its sessions."""

    def __new__(
        cls,
        *,
        keys: SessionKeys | None,
        signed: _SignedCookies | None,
        format: str,
        accepted: list[str],
        lifetime: timedelta,
        absolute_lifetime: float | None,
        refresh_from: float,
        stored_refresh_from: float,
        compression: str,
        overflow: str,
        cookie: CookieAttributes | None,
        cookie_name: object,
        debug: bool,
        storage: Storage | None,
        stores: bool,
        opens_data: bool,
        ring: _FollowedRing | None,
        ring_state: object,
        valid_for: float | None,
        short_secrets: list[str],
        unused_sources: list[str],
    ) -> Self: ...
    @property
    def keys(self) -> SessionKeys | None:
        """The keys of the encrypted formats; ``None`` if the app has none."""

    @property
    def signed(self) -> _SignedCookies | None:
        """Flask's signed cookies, if they are opened or written."""

    @property
    def format(self) -> str:
        """The format that is written, one of ``settings.FORMATS``."""

    @property
    def writes_signed(self) -> bool:
        """Whether sessions are written signed, not encrypted."""

    @property
    def accepted(self) -> list[str]:
        """``SESSION_ENCRYPTION_ACCEPT``: the key sources and formats that are also opened."""

    @property
    def lifetime(self) -> timedelta:
        """``PERMANENT_SESSION_LIFETIME``."""

    @property
    def absolute_lifetime(self) -> float | None:
        """``SESSION_ABSOLUTE_LIFETIME`` in seconds; ``None`` if it is not set."""

    @property
    def refresh_from(self) -> float:
        """The minimum age, in seconds, at which an unchanged permanent session is sent again."""

    @property
    def stored_refresh_from(self) -> float:
        """The same for a stored session."""

    @property
    def compression(self) -> str:
        """``SESSION_COMPRESSION``, one of ``settings.COMPRESSIONS``."""

    @property
    def overflow(self) -> str:
        """``SESSION_OVERFLOW``, one of ``settings.OVERFLOWS``."""

    @property
    def cookie(self) -> CookieAttributes | None:
        """The attributes of the session cookie, as configured; ``None`` if one of their settings is
        missing, so that Flask's hooks raise ``KeyError``.
        """

    @property
    def storage(self) -> Storage | None:
        """The store of sessions and what belongs to it; ``None`` if there is none."""

    @property
    def stores(self) -> bool:
        """Whether new sessions are put into the store, and not into their cookies."""

    @property
    def opens_data(self) -> bool:
        """Whether sessions that lie in an encrypted cookie are opened."""

    @property
    def ring(self) -> _FollowedRing | None:
        """The key ring among the sources, if there is one."""

    @property
    def ring_state(self) -> object:
        """The state of the ring from which the keys were taken."""

    @property
    def short_secrets(self) -> list[str]:
        """Names of the secrets in use that are too short to be random enough."""

    @property
    def unused_sources(self) -> list[str]:
        """Key sources that are configured and neither write nor open."""

    @property
    def is_null(self) -> bool:
        """Whether the app has no key, and therefore no sessions."""

@type_check_only
class _Host(Protocol):
    """The methods that the native path calls on a session interface, by name.

    ``FallbackInterface`` has them. Each raises what Flask's own interface would raise there. The
    native path also reads these attributes.
    """

    _state: NativeState
    salt: str
    serializer: Any
    session_class: Any

    def _open(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Opens a session, because the native path declined."""

    def _save(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Saves a session, because the native path declined."""

    def _resolve_policy(self, app: Flask) -> Policy:
        """The app's policy. Called when a setting has changed or the policy has ended."""

    def _stored(
        self,
        app: Flask,
        policy: Policy,
        id: bytes,
        generation: bytes,
        issued_at: int,
        newest: bool,
    ) -> SecureCookieSession:
        """The stored session to which a token refers, not read yet."""

    def _save_noted(
        self, app: Flask, session: SessionMixin, response: Response, policy: Policy
    ) -> None:
        """Saves a session whose cookie referred to the store, where every hook is Flask's."""

    def _restore(
        self, app: Flask, token: str, payload: bytes, issued_at: int, newest: bool, source: str
    ) -> SecureCookieSession:
        """The session in an authentic payload that only the serializer reads."""

    def _reissue_later(
        self,
        app: Flask,
        session: SecureCookieSession,
        issued_at: int,
        payload: bytes,
        source: str,
    ) -> None:
        """Notes that a session came under an older key or in another format."""

    def _rejected(self, app: Flask, reason: str, total: int, token: str) -> SecureCookieSession:
        """Logs and signals a refused cookie, and gives a new session in its place."""

    def _dump(self, app: Flask, data: dict[str, Any]) -> bytes:
        """A session as bytes, because only the serializer can write it."""

class NativeInterface:
    """The native half of a session interface."""

    def __new__(cls, *args: object, **kwargs: object) -> Self: ...
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Opens the session in the request's cookie. The session is new if there is no cookie or
        the cookie does not open, and ``None`` if the app has no key.
        """

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Sets the session's cookie on the response, deletes it, or leaves it alone.

        :raises SessionTooLarge: if the cookie would be longer than ``MAX_COOKIE_SIZE``.
        """

    def _cached_policy(self, app: Flask) -> Policy | None: ...
    def _dump_natively(self, app: Flask, data: dict[str, Any]) -> bytes | None: ...
    def _load_natively(self, app: Flask, payload: bytes) -> dict[str, Any] | None: ...

@final
class NativeState:
    """Everything that the native half of one session interface remembers.

    :param opening_settings: names of the settings that opening a session depends on.
    :param saving_settings: names of the further settings that saving a session depends on.
    :param immutable_types: types, in addition to built-in ones, of settings that never change.
    """

    def __new__(
        cls,
        opening_settings: Sequence[str],
        saving_settings: Sequence[str],
        immutable_types: tuple[type, ...],
    ) -> Self: ...
    def count_rejection(self, reason: str) -> int:
        """Counts a refused cookie. Returns the number refused for this reason so far."""

    def rejections(self) -> dict[str, int]:
        """The number of refused cookies, by reason."""

    def count_store_event(self, event: str) -> None:
        """Counts something that happened with a store."""

    def store_events(self) -> dict[str, int]:
        """What happened with the store, by event."""

    def count_migration(self, source: str, now: int) -> None:
        """Counts a session that came in the format ``source``, which is not the one written."""

    def migrations(self) -> dict[str, _Migration]:
        """The sessions that came in other formats, by format."""

    def invalidate_policies(self) -> None:
        """Drops all cached policies: the keys changed before the policies ended."""

    def disable(self) -> None:
        """Leaves every request to the Python fallback, for tests that compare the two."""

@final
class Provenance:
    """How an opened session came, if saving needs to know."""

    def __new__(
        cls, payload: bytes | None, issued_at: int, reissue_until: float | None
    ) -> Self: ...
    @property
    def payload(self) -> bytes | None:
        """The authentic payload, before it was inflated or decoded; ``None`` if only the issue time
        matters.
        """

    @property
    def issued_at(self) -> int:
        """Seconds since the epoch."""

    @property
    def reissue_until(self) -> float | None:
        """If the session is to be re-issued though nobody changed it, because an older key made its
        token or it came in another format: by when, in seconds of ``time.monotonic``.
        """

@final
class Codec:
    """The native half of Flask's ``TaggedJSONSerializer``, for tests and benchmarks."""

    def __new__(cls) -> Self: ...
    def encode(
        self, value: Any, sort_keys: bool = True, ensure_ascii: bool = True
    ) -> bytes | None: ...
    def decode(self, text: bytes) -> Any: ...

def has_fernet_shape(token: bytes | str) -> bool:
    """Whether ``token`` has the shape of a Fernet token, authentic or not."""

def derive_key(secret: bytes, salt: str | bytes) -> str:
    """Derives a key from a secret. Returns it as text: 32 bytes in URL-safe base64."""

def wrap(secret: bytes, document: bytes) -> str:
    """``document`` encrypted under ``secret``, as text."""

def unwrap(secret: bytes, wrapped: str) -> bytes | None:
    """The document in a text that ``wrap`` made under ``secret``; ``None`` for any other text."""

def deflate(payload: bytes, fast: bool = False) -> bytes:
    """The payload, compressed and marked."""

def inflate(payload: bytes) -> bytes | None:
    """Undoes ``deflate``; ``None`` if the stream is broken or inflates to more than 1 MiB."""

def find_cookie(header: str, name: str) -> Any:
    """The value of a cookie in a ``Cookie`` header; ``None`` if the header has no such cookie,
    ``NotImplemented`` if only Werkzeug's parser can read it.
    """

@final
class RecordKeys:
    """Seals and opens the records of stored sessions. The first key encrypts, all of them open.

    :param keys: the keys of the sessions.
    """

    def __new__(cls, keys: SessionKeys) -> Self: ...
    def address(self, id: bytes) -> bytes:
        """Where the record of the session ``id`` lies in a store: 32 bytes."""

    def seal(
        self, address: bytes, generation: bytes, created: int, renewed_at: int, payload: bytes
    ) -> bytes:
        """A record for this address, under the newest key. Times are seconds since the epoch."""

    def open(self, address: bytes, record: bytes) -> tuple[bytes, int, int, bytes, int]:
        """The contents of the record at this address: generation, creation time, renewal time,
        both in seconds since the epoch, payload, and the position of the key that made it.

        :raises SessionRejected: with the reason.
        """

    def may_be_newer(self, record: bytes) -> bool:
        """Whether a record that no key opens may be under a key that this object does not have
        yet.
        """

    def owner_tags(self, kind: int, user: bytes) -> list[bytes]:
        """The tags of a user, one for each key, that of the newest first.

        :param kind: a byte for the type of the user's id.
        """

def is_reference(payload: bytes) -> bool:
    """Whether a payload is a reference to a stored session, well formed or not."""

def read_reference(payload: bytes) -> tuple[bytes, bytes] | None:
    """The id and the generation in the payload of a stored session's cookie; ``None`` if it is not
    one.
    """

def write_reference(id: bytes, generation: bytes) -> bytes:
    """The payload of a stored session's cookie."""
