"""Types of the native module. Import its classes from `flask_fernet`, not from here."""

from collections.abc import Iterable
from typing import Any, ClassVar, SupportsIndex, final

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SessionMixin
from typing_extensions import Buffer, Self

class Fernet:
    """Symmetric authenticated encryption of bytes, as the Fernet specification has it.

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
        """What a token holds.

        :param ttl: most seconds since the token was made; ``None`` leaves its age unchecked.
            With it, a token dated more than 60 seconds ahead is refused too.
        :raises InvalidToken: for every token that does not open, for whatever reason.
        :raises TypeError: if ``token`` is neither ``bytes`` nor ``str``.
        """

    def decrypt_at_time(self, token: bytes | str, ttl: int, current_time: int) -> bytes:
        """What a token holds, its age judged at ``current_time`` seconds since the epoch.

        :raises InvalidToken: for every token that does not open, for whatever reason.
        :raises ValueError: if ``ttl`` is ``None``.
        """

    def extract_timestamp(self, token: bytes | str) -> int:
        """When an authentic token was made, in seconds since the epoch.

        :raises InvalidToken: if the token's MAC is not this key's.
        """

    def _encrypt_from_parts(self, data: bytes, current_time: int, iv: bytes) -> bytes: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any: ...

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
        """The same content under the first key. Keeps the time at which the token was made.

        :raises InvalidToken: if the token opens under no key.
        """

    def decrypt(self, msg: bytes | str, ttl: int | None = None) -> bytes:
        """What a token holds, whichever of the keys made it. See :meth:`Fernet.decrypt`."""

    def decrypt_at_time(self, msg: bytes | str, ttl: int, current_time: int) -> bytes:
        """What a token holds, its age judged at ``current_time`` seconds since the epoch."""

    def extract_timestamp(self, msg: bytes | str) -> int:
        """When an authentic token was made, in seconds since the epoch."""

    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any: ...

@final
class SessionKeys:
    """The keys of one app's sessions. The first encrypts, all open."""

    #: Longest token that is opened, in characters.
    MAX_TOKEN: ClassVar[int]

    def __new__(
        cls,
        keys: list[tuple[str, str | bytes]],
        secrets: list[bytes],
        salt: str | bytes,
        writes: str = "fernet",
        others: list[str] = ...,
    ) -> Self: ...
    def seal(self, payload: bytes, issued_at: int, name: str) -> str: ...
    def open(
        self, token: str | bytes, now: int, max_age: int, name: str
    ) -> tuple[bytes, int, bool, str]: ...

class NativePath:
    """The native half of a session interface, and the first of its bases."""

    def __new__(cls, *args: object, **kwargs: object) -> Self: ...
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session in the request's cookie; a new one where there is none, or none that opens;
        ``None`` where the app has no key.
        """

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Sets the session's cookie on the response, or deletes it, or leaves it alone.

        :raises SessionTooLarge: if the cookie would be longer than ``MAX_COOKIE_SIZE``.
        """

    def _last_sealing(self, app: Flask) -> Any: ...
    def _dump_natively(self, app: Flask, data: dict[str, Any]) -> bytes | None: ...
    def _load_natively(self, app: Flask, payload: bytes) -> dict[str, Any] | None: ...

@final
class NativeState:
    """What the native half of one session interface knows."""

    def __new__(cls) -> Self: ...
    def count_rejection(self, reason: str) -> None: ...
    def rejections(self) -> dict[str, int]: ...
    def forget(self) -> None: ...
    def leave_to_python(self) -> None: ...

@final
class Origin:
    """How an opened session came, where saving needs to know."""

    def __new__(cls, payload: bytes | None, issued_at: int, reissue: bool) -> Self: ...
    @property
    def payload(self) -> bytes | None:
        """The authentic payload, before it was inflated or decoded; ``None`` where it is only the
        time that matters.
        """

    @property
    def issued_at(self) -> int:
        """Seconds since the epoch."""

    @property
    def reissue(self) -> bool:
        """Whether to write it again though nobody changed it: an older key made its token."""

@final
class Codec:
    """The native half of Flask's ``TaggedJSONSerializer``."""

    def __new__(cls) -> Self: ...
    def encode(
        self, value: Any, sort_keys: bool = True, ensure_ascii: bool = True
    ) -> bytes | None: ...
    def decode(self, text: bytes) -> Any: ...

def derive_key(secret: bytes, salt: str | bytes) -> str: ...
def wrap(secret: bytes, document: bytes) -> str: ...
def unwrap(secret: bytes, wrapped: str) -> bytes | None: ...
def deflate(payload: bytes) -> bytes: ...
def inflate(payload: bytes) -> bytes | None: ...
def find_cookie(header: str, name: str) -> Any: ...
