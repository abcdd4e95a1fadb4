"""Opening a session in Python, hook by hook; natively ``src/python/session/open.rs`` does it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._core import Policy, Provenance, deflate
from ..errors import Reason, SessionRejected, UnreadablePayload
from ..log import logger
from ..settings import SIGNED_FORMAT
from ..signals import session_migrated, session_rejected
from .lifetimes import take_creation
from .payload import MARK, PayloadInterface
from .session import remember_creation, remember_provenance

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SecureCookieSession


class OpeningFallback(PayloadInterface):
    """Opens sessions through Flask's hooks."""

    __slots__ = ()

    def _open(self, app: Flask, request: Request) -> SecureCookieSession | None:
        policy = self._policy(app)
        if policy.is_null:
            return None
        try:
            name = self.get_cookie_name(app)
            token = request.cookies.get(name)
        except UnicodeDecodeError:
            # Werkzeug raises it for a header that is not UTF-8.
            return self._reject(app, Reason.MALFORMED)
        if not token:
            return self.session_class()
        try:
            if policy.signed is not None and policy.signed.looks_like_one(token):
                return self._open_signed(app, policy, token)
            opened = self._open_encrypted(app, policy, token, name)
        except SessionRejected as error:
            return self._reject(app, error.reason)
        return self._restore(app, *opened)

    def _open_signed(self, app: Flask, policy: Policy, token: str) -> SecureCookieSession:
        assert policy.signed is not None  # noqa: S101 - the caller has checked
        max_age = int(policy.lifetime.total_seconds())
        payload, issued_at = policy.signed.open(token, int(time.time()), max_age)
        if payload.startswith(MARK):
            # A custom serializer wrote it. Unchanged, it would be taken for compressed.
            payload = deflate(payload)
        return self._restore(app, payload, issued_at, True, SIGNED_FORMAT)

    def _open_encrypted(
        self, app: Flask, policy: Policy, token: str, name: str
    ) -> tuple[bytes, int, bool, str]:
        keys = policy.keys
        if keys is None:
            raise SessionRejected(Reason.MALFORMED)
        max_age = int(policy.lifetime.total_seconds())
        try:
            return keys.open(token, int(time.time()), max_age, name)
        except SessionRejected as error:
            if error.reason is not Reason.UNAUTHENTIC or policy.ring is None:
                raise
        # Another worker may already have a newer ring.
        unchanged = policy.ring.poll_now() is policy.ring_state
        newer = None if unchanged else self._resolve_policy(app).keys
        if newer is None or newer is keys:
            raise SessionRejected(Reason.UNAUTHENTIC)
        return newer.open(token, int(time.time()), max_age, name)

    def _restore(
        self, app: Flask, payload: bytes, issued_at: int, newest: bool, source: str
    ) -> SecureCookieSession:
        """The session in an authentic payload. Also called by the native path.

        :param newest: whether the newest key made the token.
        :param source: the format of the token.
        """
        try:
            data = self._load(app, payload)
        except UnreadablePayload:
            return self._reject(app, Reason.UNDECODABLE)
        if not isinstance(data, Mapping):
            return self._reject(app, Reason.UNDECODABLE)
        data, created = take_creation(data, issued_at)
        policy = self._policy(app)
        absolute = policy.absolute_lifetime
        if absolute is not None and time.time() - created > absolute:
            return self._reject(app, Reason.EXPIRED)
        session = self.session_class(data)
        if absolute is not None:
            remember_creation(session, created)
        reissue = self._count_migration(app, policy, source) or not newest
        if reissue or app.debug or policy.refresh_from:
            remember_provenance(session, Provenance(payload, issued_at, reissue))
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
        remember_provenance(session, Provenance(payload, issued_at, reissue=True))

    def _count_migration(self, app: Flask, policy: Policy, source: str) -> bool:
        """Counts a session that came in another format than the one written; whether it did."""
        if source == policy.format:
            return False
        self._state.count_migration(source, int(time.time()))
        session_migrated.send(app, format=source)
        return True

    def _reject(self, app: Flask, reason: Reason) -> SecureCookieSession:
        """Counts a refused cookie, and gives a new session in its place."""
        return self._rejected(app, reason, self._state.count_rejection(reason))

    def _rejected(self, app: Flask, reason: str, total: int) -> SecureCookieSession:
        """Logs and signals a refused cookie that has been counted, and gives a new session in its
        place. Also called by the native path.

        :param total: the number of cookies refused for this reason so far.
        """
        reason = Reason(reason)
        if self._log_limit.allows(reason):
            # An expired session is nothing to investigate.
            level = logging.INFO if reason is Reason.EXPIRED else logging.WARNING
            logger.log(level, "Refused a session cookie: %s (%d so far).", reason, total)
        session_rejected.send(app, reason=reason)
        return self.session_class()
