"""Sessions as tests of an app see and make them."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any
from unittest import mock

import flask.sessions
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.http import parse_cookie
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.wsgi import get_host

from ..errors import Reason
from ..sessions.interface import EncryptedSessionInterface
from ..sessions.key_sources import KeySources
from ..settings import named_keys
from ..signals import session_rejected
from ..tracebacks import frameless

#: What tells an app that a session is old, in seconds or as a ``timedelta``.
Age = float | timedelta


class SessionTester:
    """Reads, makes and changes the sessions of an app in its tests, wherever they are kept.

    Use it as the fixture ``session_tester`` of :mod:`flask_fernet.testing.plugin`, or in a ``with``
    statement, which ends what :meth:`travel` has begun.

    :param app: an app with an :class:`~flask_fernet.EncryptedSessionInterface`.
    :raises TypeError: if the app has another session interface.
    """

    def __init__(self, app: Flask) -> None:
        EncryptedSessionInterface.of(app)
        if not isinstance(app, Flask):
            raise TypeError(f"SessionTester is for Flask apps, not for {type(app).__name__}.")
        self.app: Flask = app
        self._stack = contextlib.ExitStack()
        #: Seconds by which the clock of the test is ahead.
        self._ahead = 0.0
        self._is_travelling = False

    def __enter__(self) -> SessionTester:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._ahead, self._is_travelling = 0.0, False

    @property
    def interface(self) -> EncryptedSessionInterface:
        """The app's session interface."""
        return EncryptedSessionInterface.of(self.app)

    @property
    def cookie_name(self) -> str:
        """The name of the session cookie."""
        with self.app.test_request_context():
            return self.interface.get_cookie_name(self.app)

    def cookie(self, source: FlaskClient | Response | Any) -> str | None:
        """The session cookie that a client has, or that a response sets; ``None`` if there is none.
        A cookie that a response deletes is the empty text.

        :param source: a test client, or a response.
        """
        name = self.cookie_name
        if isinstance(source, FlaskClient):
            domain, path, _ = self._place()
            found = source.get_cookie(name, domain, path)
            return None if found is None else found.decoded_value
        for header in reversed(source.headers.getlist("Set-Cookie")):
            pair = parse_cookie(header.partition(";")[0])
            if name in pair:
                return str(pair[name])
        return None

    def read(self, source: FlaskClient | Response | str | Any) -> dict[str, Any]:
        """The contents of a session, as a view of the app would find them. It is empty if there is
        no cookie.

        :param source: a test client, a response that sets the cookie, or the cookie itself.
        :raises AssertionError: if the app refuses the cookie; the message has the reason.
        """
        cookie = source if isinstance(source, str) else self.cookie(source)
        if not cookie:
            return {}
        headers = {"Cookie": f"{self.cookie_name}={cookie}"}
        with self._recorded() as reasons, self.app.test_request_context(headers=headers):
            data = dict(flask.session)
        assert not reasons, f"The app refused the session cookie: {reasons[0]}."
        return data

    @frameless
    def forge(
        self,
        data: Mapping[str, Any],
        *,
        age: Age = 0,
        keys: Sequence[str | bytes] | None = None,
        secret_key: str | bytes | None = None,
        **config: Any,
    ) -> str:
        """A cookie with a session of these contents, as the app itself would have set it. If
        sessions are stored, the session is put into the store.

        :param data: the contents.
        :param age: how long ago the cookie was issued; a negative one is from the future.
        :param keys: keys other than the app's, the newest first: the first one encrypts.
        :param secret_key: another ``SECRET_KEY`` than the app's.
        :param config: settings that differ when the cookie is made, such as
            ``SESSION_ENCRYPTION_FORMAT="flask-signed"`` or ``SESSION_STORE=None``.
        :raises ValueError: if ``data`` is empty, or if ``keys`` are given for a signed session,
            whose key is ``secret_key``.
        """
        settings = {**self.app.config, **config}
        if keys is not None and settings.get("SESSION_ENCRYPTION_FORMAT") == "flask-signed":
            raise ValueError(
                "keys must be None for the format flask-signed, whose key is secret_key."
            )
        interface = copy.copy(self.interface)
        interface._stores = self.interface._stores
        changed: dict[str, Any] = dict(config)
        if keys is not None:
            interface._sources = KeySources(named_keys("keys", keys))
        if secret_key is not None:
            changed["SECRET_KEY"] = secret_key
            interface._sources = KeySources()
            changed.setdefault("SESSION_ENCRYPTION_KEYS", None)
            changed.setdefault("SESSION_ENCRYPTION_KEYRING", None)
        response = self.app.response_class()
        issued_at = time.time() - _seconds(age)
        with (
            self._configured(changed),
            _clock(lambda: issued_at),
            self.app.test_request_context(),
        ):
            session = interface.session_class(data)
            session.modified = True
            interface.save_session(self.app, session, response)
            # Its name may be among the settings that differ.
            cookie = self.cookie(response)
        if not cookie:
            raise ValueError("data must not be empty: an empty session has no cookie.")
        return cookie

    def log_in(self, client: FlaskClient, data: Mapping[str, Any], **options: Any) -> str:
        """Gives a client a session of these contents. Returns its cookie.

        :param options: those of :meth:`forge`.
        """
        cookie = self.forge(data, **options)
        domain, path, is_for_one_host = self._place()
        client.set_cookie(
            self.cookie_name, cookie, domain=domain, origin_only=is_for_one_host, path=path
        )
        return cookie

    def _place(self) -> tuple[str, str, bool]:
        """The domain and the path under which a client keeps the session cookie, and whether it is
        sent to this host alone.
        """
        with self.app.test_request_context():
            domain = self.interface.get_cookie_domain(self.app)
            # Not `request.host`, which refuses a host that the app does not trust.
            host = get_host(flask.request.environ)
            trusted = self.app.config.get("TRUSTED_HOSTS")
            if trusted and not host_is_trusted(host, trusted):
                host = trusted[0]
            path = self.interface.get_cookie_path(self.app)
            return (domain or host.partition(":")[0]).lstrip("."), path, domain is None

    @staticmethod
    def tampered(cookie: str) -> str:
        """The same cookie with one letter changed, in the middle."""
        middle = len(cookie) // 2
        other = "A" if cookie[middle] != "A" else "B"
        return cookie[:middle] + other + cookie[middle + 1 :]

    @contextlib.contextmanager
    def rejects(self, reason: Reason | str) -> Iterator[list[Reason]]:
        """Checks that the app refuses a session cookie for this reason inside the ``with`` block.

        :raises AssertionError: if it refuses none, or one for another reason.
        """
        wanted = Reason(reason)
        with self._recorded() as reasons:
            yield reasons
        found = ", ".join(reasons) or "none"
        assert wanted in reasons, f"A session cookie must be refused as {wanted}, but was: {found}."

    @contextlib.contextmanager
    def accepts(self) -> Iterator[None]:
        """Checks that the app refuses no session cookie inside the ``with`` block.

        :raises AssertionError: if it refuses one; the message has the reason.
        """
        with self._recorded() as reasons:
            yield
        assert not reasons, f"No session cookie must be refused, but one was: {', '.join(reasons)}."

    def travel(self, by: Age) -> None:
        """Moves the clock of this process, and with it the age of every session. It moves back when
        the test ends.

        The clock of a database does not move: sessions in Redis end by its own clock.

        :param by: seconds, or a ``timedelta``; negative ones go back.
        """
        if not self._is_travelling:
            real = time.time
            self._stack.enter_context(_clock(lambda: real() + self._ahead))
            self._is_travelling = True
        self._ahead += _seconds(by)

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[list[Reason]]:
        reasons: list[Reason] = []

        def note(_: object, reason: Reason, **__: object) -> None:
            reasons.append(reason)

        with session_rejected.connected_to(note, sender=self.app):
            yield reasons

    @contextlib.contextmanager
    def _configured(self, changed: Mapping[str, Any]) -> Iterator[None]:
        before = dict(self.app.config)
        self.app.config.update(changed)
        try:
            yield
        finally:
            self.app.config.clear()
            self.app.config.update(before)


class FollowingDatetime(datetime):
    """``datetime`` by the clock of ``time.time``, which a test may have replaced. In the place of
    ``flask.sessions.datetime`` it makes the expiry of cookies follow that clock too.
    """

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        """See ``datetime.now``."""
        return datetime.fromtimestamp(time.time(), tz)


@contextlib.contextmanager
def _clock(now: Callable[[], float]) -> Iterator[None]:
    """Replaces the clock that sessions and the expiry of cookies are judged by."""
    with (
        mock.patch("time.time", now),
        mock.patch.object(flask.sessions, "datetime", FollowingDatetime),
    ):
        yield


def _seconds(age: Age) -> float:
    return age.total_seconds() if isinstance(age, timedelta) else float(age)
