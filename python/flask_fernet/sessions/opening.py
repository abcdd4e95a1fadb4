"""Opening a session in Python, hook by hook; natively ``src/python/session/open.rs`` does it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from werkzeug.local import LocalProxy

from .._core import Policy, Provenance, deflate, is_reference, read_reference
from ..errors import Reason, SessionRejected, UnreadablePayload
from ..log import log_event
from ..settings import SIGNED_FORMAT
from ..signals import session_migrated, session_rejected
from .lifetimes import take_creation
from .payload import MARK
from .session import remember_creation, remember_provenance, remember_rejection
from .signed import SignedCookies
from .storing import StoringInterface

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SecureCookieSession


#: Maximum number of cookies of one name that are tried.
MAX_COOKIES = 4

#: Seconds after a session was opened within which it is re-issued. The response to a longer request
#: could bring back a session that has been logged out meanwhile; the next request re-issues it.
REISSUE_WITHIN = 2.0

#: Reasons to refuse an authentic cookie.
_AUTHENTIC = (Reason.EXPIRED, Reason.FROM_FUTURE, Reason.UNDECODABLE)
#: Reasons that are nothing to investigate.
_ORDINARY = (Reason.EXPIRED, Reason.GONE, Reason.SUPERSEDED, Reason.REVOKED)

SIGNED_HINT = (
    " It has the shape of Flask's signed cookies. SESSION_ENCRYPTION_ACCEPT = ['flask-signed'] "
    "opens these too."
)

#: A payload, its issue time in seconds since the epoch, whether the newest key made its token, and
#: the format of the token.
Opened = tuple[bytes, int, bool, str]


class OpeningFallback(StoringInterface):
    """Opens sessions through Flask's hooks."""

    __slots__ = ()

    def _open(self, app: Flask, request: Request) -> SecureCookieSession | None:
        policy = self._policy(app)
        if policy.is_null:
            return None
        try:
            name = self.get_cookie_name(app)
            tokens = _tokens(request, name)
        except UnicodeDecodeError:
            # Werkzeug raises it for a header that is not UTF-8.
            return self._reject(app, Reason.MALFORMED, "")
        refused: list[tuple[Reason, str]] = []
        for token in tokens:
            try:
                opened = self._open_token(app, policy, token, name)
                return self._session(app, *opened)
            except SessionRejected as error:
                refused.append((error.reason, token))
        if not refused:
            return self.session_class()
        # That an authentic session has ended says more than that another cookie is none of ours.
        return self._reject(
            app, *next((one for one in refused if one[0] in _AUTHENTIC), refused[0])
        )

    def _open_token(self, app: Flask, policy: Policy, token: str, name: str) -> Opened:
        """The payload of a cookie.

        :raises SessionRejected: if the cookie does not open, with the reason.
        """
        if policy.signed is not None and policy.signed.looks_like_one(token):
            return self._open_signed(policy, token)
        return self._open_encrypted(app, policy, token, name)

    def _open_signed(self, policy: Policy, token: str) -> Opened:
        assert policy.signed is not None  # noqa: S101 - the caller has checked
        max_age = int(policy.lifetime.total_seconds())
        payload, issued_at = policy.signed.open(token, int(time.time()), max_age)
        if payload.startswith(MARK):
            # A custom serializer wrote it. Unchanged, it would be taken for compressed.
            payload = deflate(payload)
        return payload, issued_at, True, SIGNED_FORMAT

    def _open_encrypted(self, app: Flask, policy: Policy, token: str, name: str) -> Opened:
        keys = policy.keys
        if keys is None:
            raise SessionRejected(Reason.MALFORMED)
        max_age = int(policy.lifetime.total_seconds())
        try:
            return keys.open(token, int(time.time()), max_age, name)
        except SessionRejected as error:
            if error.reason is not Reason.UNAUTHENTIC or policy.ring is None:
                raise
            if not keys.may_be_newer(token):
                raise
        newer = self._newer_policy(app, policy)
        if newer is None or newer.keys is None:
            raise SessionRejected(Reason.UNAUTHENTIC)
        return newer.keys.open(token, int(time.time()), max_age, name)

    def _newer_policy(self, app: Flask, policy: Policy) -> Policy | None:
        """The policy with the keys that the ring has received since; ``None`` if it has not."""
        # Another worker may already have a newer ring.
        if policy.ring is None or policy.ring.poll_now() is policy.ring_state:
            return None
        newer = self._resolve_policy(app)
        return None if newer.keys is policy.keys else newer

    def _restore(
        self, app: Flask, token: str, payload: bytes, issued_at: int, newest: bool, source: str
    ) -> SecureCookieSession:
        """The session in an authentic payload, or a new one in its place. Called by the native
        path, for the only session cookie of a request.
        """
        try:
            return self._session(app, payload, issued_at, newest, source)
        except SessionRejected as error:
            return self._reject(app, error.reason, token)

    def _session(
        self, app: Flask, payload: bytes, issued_at: int, newest: bool, source: str
    ) -> SecureCookieSession:
        """The session in an authentic payload.

        :param newest: whether the newest key made the token.
        :param source: the format of the token.
        :raises SessionRejected: if it cannot be read, or its absolute lifetime is over.
        """
        policy = self._policy(app)
        if source != SIGNED_FORMAT:
            reference = read_reference(payload) if is_reference(payload) else None
            if reference is not None and policy.storage is not None:
                is_newest = newest and source == policy.format
                return self._stored(app, policy, *reference, issued_at, is_newest)
            if is_reference(payload) or not policy.opens_data:
                raise SessionRejected(Reason.MALFORMED)
        try:
            data = self._load(app, payload)
        except UnreadablePayload:
            raise SessionRejected(Reason.UNDECODABLE) from None
        if not isinstance(data, Mapping):
            raise SessionRejected(Reason.UNDECODABLE)
        data, created = take_creation(data, issued_at)
        absolute = policy.absolute_lifetime
        if absolute is not None and time.time() - created > absolute:
            raise SessionRejected(Reason.EXPIRED)
        session = self.session_class(data)
        if absolute is not None:
            remember_creation(session, created)
        reissue = self._count_migration(app, policy, source) or not newest
        if reissue or app.debug or policy.refresh_from:
            until = _reissue_until() if reissue else None
            remember_provenance(session, Provenance(payload, issued_at, until))
        return session

    def _reissue_later(
        self,
        app: Flask,
        session: SecureCookieSession,
        issued_at: int,
        payload: bytes,
        source: str,
    ) -> None:
        """Notes that a session came under an older key or in another format. Called by the native
        path.
        """
        self._count_migration(app, self._policy(app), source)
        remember_provenance(session, Provenance(payload, issued_at, _reissue_until()))

    def _count_migration(self, app: Flask, policy: Policy, source: str) -> bool:
        """Counts a session that came in another format than the one written; whether it did."""
        if source == policy.format and not policy.stores:
            return False
        if source != SIGNED_FORMAT and policy.stores:
            source = "cookie"
        self._state.count_migration(source, int(time.time()))
        session_migrated.send(_app_itself(app), format=source)
        return True

    def _reject(self, app: Flask, reason: Reason, token: str) -> SecureCookieSession:
        """Counts a refused cookie, and gives a new session in its place."""
        return self._rejected(app, reason, self._state.count_rejection(reason), token)

    def _rejected(self, app: Flask, reason: str, total: int, token: str) -> SecureCookieSession:
        """Logs and signals a refused cookie that has been counted, and gives a new session in its
        place. Also called by the native path.

        :param total: the number of cookies refused for this reason so far.
        """
        reason = Reason(reason)
        is_signed = reason is Reason.MALFORMED and SignedCookies.has_their_shape(token)
        if self._log_limit.allows((reason, is_signed)):
            level = logging.INFO if reason in _ORDINARY else logging.WARNING
            hint = SIGNED_HINT if is_signed else ""
            log_event(
                level,
                "session.rejected",
                "Refused a session cookie: %s (%d so far).%s",
                reason,
                total,
                hint,
                reason=reason.value,
                count=total,
            )
        session_rejected.send(_app_itself(app), reason=reason)
        session = self.session_class()
        remember_rejection(session, reason)
        return session


def _app_itself(app: Flask) -> Flask:
    """The app behind a proxy such as ``current_app``, to which receivers are connected."""
    return app._get_current_object() if isinstance(app, LocalProxy) else app


def _reissue_until() -> float:
    """By when a session that was opened now is re-issued, in seconds of ``time.monotonic``."""
    return time.monotonic() + REISSUE_WITHIN


def _tokens(request: Request, name: str) -> list[str]:
    """The values of the cookies ``name`` that are tried, in the order in which they came."""
    # An app may have replaced `Request.dict_storage_class` by a class with one value for each name.
    several = getattr(request.cookies, "getlist", None)
    values = [request.cookies.get(name)] if several is None else several(name)
    return [token for token in values if token][:MAX_COOKIES]
