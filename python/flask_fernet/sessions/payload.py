"""The base of the Python fallback: the policy, and a session as bytes and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SecureCookieSessionInterface
from itsdangerous.serializer import is_text_serializer

from .._core import (
    COMPRESSED,
    CREATED,
    MAX_INFLATED,
    NativeInterface,
    NativeState,
    Policy,
    deflate,
    inflate,
)
from ..errors import UnreadablePayload, UnwritableValue, shown_key
from ..log import RateLimit

if TYPE_CHECKING:
    from flask import Flask

#: First byte of a compressed payload.
MARK = bytes([COMPRESSED])
#: Keys of a session that the error of one that is too large names.
SHOWN_KEYS = 3
#: Levels of nesting to which an error names the place of a value.
MAX_PATH = 20


class PayloadInterface(NativeInterface, SecureCookieSessionInterface):
    """An interface that finds its policy, and writes and reads payloads."""

    __slots__ = ("_log_limit", "_state")

    #: The native path reads this slot.
    _state: NativeState
    _log_limit: RateLimit

    def _resolve_policy(self, app: Flask) -> Policy:
        """The policy of ``app``, resolved now."""
        raise NotImplementedError

    def _policy(self, app: Flask) -> Policy:
        """The policy of ``app``, from the cache while nothing that it depends on changes."""
        cached = self._cached_policy(app)
        return self._resolve_policy(app) if cached is None else cached

    def _cookie(self, app: Flask) -> tuple[str, dict[str, Any]]:
        """The cookie's name, and its attributes without ``expires``, as the hooks give them, each
        called once and in Flask's order.
        """
        return self.get_cookie_name(app), {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "partitioned": self.get_cookie_partitioned(app),
            "samesite": self.get_cookie_samesite(app),
            "httponly": self.get_cookie_httponly(app),
        }

    def _dump(self, app: Flask, data: Mapping[str, Any]) -> bytes:
        """A session as bytes, as the interface's serializer writes it."""
        plain = dict(data)
        payload = self._dump_natively(app, plain)
        if payload is not None:
            return payload
        try:
            return self._dump_by_serializer(plain)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            # Its frames hold the whole session, and crash reporters follow the cause.
            cause = error.with_traceback(None)
            cause.__cause__ = cause.__context__ = None
        raise self._unwritable(plain) from cause

    def _dump_by_serializer(self, plain: dict[str, Any]) -> bytes:
        try:
            return self._pack(plain)
        except TypeError:
            others = {key: value for key, value in plain.items() if key != CREATED}
            is_json = isinstance(self.serializer, TaggedJSONSerializer)
            sortable = others and not any(isinstance(key, str) for key in others)
            if CREATED not in plain or not is_json or not sortable:
                raise
        # Keys that JSON sorts among themselves, integers for example, but not with a str.
        return b'{"%s":%d,%s' % (CREATED.encode(), plain[CREATED], self._pack(others)[1:])

    def _unwritable(self, value: Any) -> UnwritableValue:
        """The error that names the innermost value which the serializer does not write."""
        path = "session"
        for _ in range(MAX_PATH):
            if isinstance(value, Mapping):
                members: Iterable[tuple[Any, Any]] = value.items()
            elif isinstance(value, (list, tuple)):
                members = enumerate(value)
            else:
                break
            found = next((one for one in members if not self._writes(one[1])), None)
            if found is None:
                # Its keys cannot be written, or not sorted.
                kinds = sorted({type(key).__name__ for key in value})
                return UnwritableValue(path, f"dict with keys of type {' and '.join(kinds)}")
            path, value = f"{path}[{shown_key(found[0])}]", found[1]
        return UnwritableValue(path, type(value).__name__)

    def _writes(self, value: Any) -> bool:
        try:
            self.serializer.dumps(value)
        except Exception:  # noqa: BLE001 - the serializer may be the user's
            return False
        return True

    def _pack(self, value: Any) -> bytes:
        """Any value as bytes, by the serializer. Never gives bytes that look compressed and are
        not.
        """
        text = self.serializer.dumps(value)
        payload = text.encode() if isinstance(text, str) else text
        return deflate(payload) if payload.startswith(MARK) else payload

    def _load(self, app: Flask, payload: bytes) -> Any:
        """Undoes :meth:`_pack` and ``deflate``.

        :raises UnreadablePayload: if the payload was not written by the serializer.
        """
        payload = self._inflated(payload)
        data = self._load_natively(app, payload)
        if data is not None:
            return data
        serializer = self.serializer
        try:
            is_text = isinstance(serializer, TaggedJSONSerializer) or is_text_serializer(serializer)
            return serializer.loads(payload.decode() if is_text else payload)  # type: ignore[arg-type]
        except Exception as error:
            # Anything: the serializer may be the user's, and the payload is authentic.
            raise UnreadablePayload("the serializer does not read the payload") from error

    @staticmethod
    def _inflated(payload: bytes) -> bytes:
        """Undoes ``deflate``.

        :raises UnreadablePayload: if the stream is broken, or inflates to more than 1 MiB.
        """
        if not payload.startswith(MARK):
            return payload
        inflated = inflate(payload)
        if inflated is None:
            raise UnreadablePayload("broken or oversized compressed payload")
        return inflated

    def _largest(self, app: Flask, session: Mapping[str, Any]) -> list[tuple[Any, int]]:
        """The largest keys of a session, each with the length of its value as JSON, in bytes."""
        around = len(self._dump(app, {"": 0})) - 1
        lengths = [
            (key, len(self._dump(app, {"": value})) - around) for key, value in session.items()
        ]
        lengths.sort(key=lambda one: one[1], reverse=True)
        return lengths[:SHOWN_KEYS]

    def _compressed(self, payload: bytes, compression: str) -> Iterator[bytes]:
        """The payload, compressed and not, in the order that ``SESSION_COMPRESSION`` asks for."""
        if payload.startswith(MARK) or len(payload) > MAX_INFLATED:
            compression = "never"
        if compression == "always":
            fast = deflate(payload, fast=True)
            if len(fast) < len(payload):
                yield fast
                compression = "thorough"
        if compression != "thorough":
            yield payload
        if compression in ("fit", "thorough"):
            packed = deflate(payload)
            if len(packed) < len(payload):
                yield packed
