"""Encrypted sessions for Quart, in cookies and in a store.

The formats, keys, settings, signals and counters are those of Flask's sessions; see
``docs/quart.md`` for what differs. It needs Quart 0.20 or later.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from typing import TYPE_CHECKING, Any

import quart
from quart.ctx import has_request_context, has_websocket_context
from quart.sessions import NullSession, SecureCookieSession
from quart.sessions import SecureCookieSessionInterface as QuartsInterface

from .driver import Exchange, drive_async
from .errors import ConfigurationError, StoreUnavailable
from .log import log_event
from .sessions.interface import EncryptedSessionInterface as FlasksInterface
from .sessions.lifetimes import RegenerateMixin
from .sessions.session import HandleMixin
from .sessions.storage import AsyncStores, Storage
from .sessions.storing import PresentStore, StoredSave
from .stored.changes import Identity
from .stored.ghost import ghost_class, new_ghost
from .stored.owners import SessionInfo
from .stored.records import address_of
from .stored.state import StoredNote, note_of
from .tracebacks import frameless, frameless_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask
    from quart import Quart
    from quart.wrappers import BaseRequestWebsocket, Response
    from typing_extensions import Self

    from ._core import Policy

__all__ = ["EncryptedSession", "EncryptedSessionInterface", "session"]

_list = list


class _NotesAccess(SecureCookieSession):
    """A session that notes when it is read, for ``Vary: Cookie``. Flask's sessions leave that to
    Flask's request context from Flask 3.1.3 on, and Quart's context does not do it.
    """

    accessed: bool = False

    def __getitem__(self, key: Any) -> Any:
        self.accessed = True
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        return super().__contains__(key)

    def __eq__(self, other: object) -> bool:
        self.accessed = True
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self.accessed = True
        return super().__ne__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        self.accessed = True
        return super().__repr__()

    def __reversed__(self) -> Any:
        self.accessed = True
        return super().__reversed__()

    def __iter__(self) -> Any:
        self.accessed = True
        return super().__iter__()

    def __len__(self) -> int:
        self.accessed = True
        return super().__len__()

    def get(self, key: Any, default: Any = None) -> Any:
        """See ``dict.get``."""
        self.accessed = True
        return super().get(key, default)

    def keys(self) -> Any:
        """See ``dict.keys``."""
        self.accessed = True
        return super().keys()

    def values(self) -> Any:
        """See ``dict.values``."""
        self.accessed = True
        return super().values()

    def items(self) -> Any:
        """See ``dict.items``."""
        self.accessed = True
        return super().items()


class EncryptedSession(HandleMixin, RegenerateMixin, _NotesAccess):
    """A session of an encrypted cookie or of a store, in a Quart app."""

    @staticmethod
    def _present_app() -> Any:
        return quart.current_app._get_current_object() if quart.has_app_context() else None  # type: ignore[attr-defined]

    @frameless_async
    async def revoke(self) -> bool:
        """Ends this session now, wherever its cookie is used. What is put in afterwards is a new
        session.

        :returns: whether it was there.
        :raises ConfigurationError: if sessions are in cookies, which cannot be ended.
        :raises StoreUnavailable: if the store does not answer. The session may go on then.
        """
        note = note_of(self)
        if note is None:
            self._require_store()
            self.clear()
            return False
        ended = False
        if note.lost is None:
            interface: Any = note.host
            ended = await interface._revoke_noted(note)
        note.revoked = note.revoked or ended
        self.clear()
        return ended


class EncryptedSessionInterface(FlasksInterface, QuartsInterface):  # type: ignore[misc]
    """Keeps Quart's sessions in encrypted, authenticated cookies, or in a store.

    Set it on an app, or give it the app::

        app.session_interface = EncryptedSessionInterface()

        sessions = EncryptedSessionInterface()
        sessions.init_app(app)

    Its parameters, settings and attributes are those of
    :class:`flask_fernet.EncryptedSessionInterface`. Methods that ask the store are coroutines. A
    stored session is read when the request begins, because ``session["key"]`` cannot wait.
    """

    session_class: type[SecureCookieSession] = EncryptedSession

    __slots__ = ("_unfinished",)

    #: What is being written after WebSockets.
    _unfinished: set[asyncio.Future[None]]

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: D102
        self = super().__new__(cls, *args, **kwargs)
        self._stores = AsyncStores()
        self._unfinished = set()
        return self

    @frameless
    def __init__(
        self,
        app: Quart | None = None,
        *,
        keys: Sequence[str | bytes] | None = None,
        null_sessions: bool = False,
    ) -> None:
        super().__init__(app, keys=keys, null_sessions=null_sessions)  # type: ignore[arg-type]

    @frameless
    def init_app(self, app: Quart, *, null_sessions: bool = False) -> None:  # type: ignore[override]
        """Checks the configuration of ``app`` and makes this its session interface. The tables of
        a store are looked for when the app begins to serve, and its connections are closed when it
        ends.

        :param null_sessions: whether the app may have no key, so that, as in Quart, sessions are
            empty and writing to one is an error.
        :raises ConfigurationError: if a setting cannot be used, if requests would fail or lose
            every session, or if there is no key.
        """
        super().init_app(app, null_sessions=null_sessions)  # type: ignore[arg-type]

        @frameless_async
        async def start() -> None:
            await self._start(app)

        @frameless_async
        async def stop() -> None:
            await self.close(app)

        app.before_serving(start)
        app.after_serving(stop)

    @classmethod
    def of(cls, app: Quart) -> Self:  # type: ignore[override]
        """The session interface of ``app``, with its type.

        :raises TypeError: if the app has another one.
        """
        return super().of(app)  # type: ignore[arg-type]

    def _require_ready(self, storage: Storage) -> None:
        # It is checked when the app begins to serve.
        pass

    async def _start(self, app: Quart) -> None:
        storage = self._policy(app).storage  # type: ignore[arg-type]
        require = None if storage is None else getattr(storage.store.store, "require_tables", None)
        if require is None:
            return
        try:
            await require()
        except StoreUnavailable as error:
            # The app serves what needs no session.
            log_event(logging.WARNING, "store.not_ready", "%s", error, problem=error.problem)

    @frameless_async
    async def create_tables(self, app: Quart) -> _list[str]:
        """Creates the tables of the app's store that are missing. Returns their names.

        :raises ConfigurationError: if the app has no store with tables.
        :raises StoreUnavailable: if the database does not answer, or does not permit it.
        """
        _, storage = self._storage(app)  # type: ignore[arg-type]
        create = getattr(storage.store.store, "create_tables", None)
        if create is None:
            raise ConfigurationError("SESSION_STORE is a store without tables.")
        return await create()  # type: ignore[no-any-return]

    @frameless_async
    async def close(self, app: Quart) -> None:
        """Closes the connections to the app's store of the running event loop, once what is being
        written after WebSockets has been written.
        """
        loop = asyncio.get_running_loop()
        here = [one for one in self._unfinished if one.get_loop() is loop]
        await asyncio.gather(*here, return_exceptions=True)
        with contextlib.suppress(ConfigurationError):
            storage = self._policy(app).storage  # type: ignore[arg-type]
            close = None if storage is None else getattr(storage.store.store, "close", None)
            if close is not None:
                await close()

    async def make_null_session(self, app: Quart) -> NullSession:  # type: ignore[override]
        """The session of an app without a key: empty, and writing to it is an error."""
        return self.null_session_class()

    @frameless_async
    async def open_session(  # type: ignore[override]
        self, app: Quart, request: BaseRequestWebsocket
    ) -> SecureCookieSession | None:
        """Opens the session in the request's cookie, and reads it if it is in the store. The
        session is new if there is no cookie or the cookie does not open, and ``None`` if the app
        has no key.

        If the store does not answer, using the session raises :class:`StoreUnavailable`.
        """
        opened: Any = self._open(app, request)  # type: ignore[arg-type]
        if not isinstance(opened, _Referred):
            return opened  # type: ignore[no-any-return]
        note = opened.note
        assert note.policy.storage is not None  # noqa: S101 - the cookie was opened with it
        try:
            found = await drive_async(self._finding(note.app, note), note.policy.storage.store)
        except StoreUnavailable:
            ghosts = ghost_class(self.session_class)
            if ghosts is None:
                raise
            # It raises the same error when it is used: Quart makes no response to one that is
            # raised here, and a request that does not use its session shall be served.
            return new_ghost(ghosts, note)  # type: ignore[no-any-return]
        return self._session_of(found, note)

    @frameless_async
    async def save_session(  # type: ignore[override]
        self, app: Quart, session: Any, response: Response | None
    ) -> None:
        """Sets the session's cookie on the response, deletes it, or leaves it alone, and writes a
        session that is in the store. After a WebSocket there is no response: only changes of a
        session that is in the store are kept then, a log-in excepted.

        :raises SessionTooLarge: if the cookie would be longer than ``MAX_COOKIE_SIZE``.
        :raises StoreUnavailable: if the store does not answer.
        """
        if session.modified:
            session.accessed = True
        if response is None:
            if not self._is_kept_without_cookie(app, session):
                note = note_of(session)
                has_ended = note is not None and note.revoked and not session
                if session.modified and not has_ended:
                    log_event(
                        logging.ERROR,
                        "session.changes_lost",
                        "A session was changed in a WebSocket, and the change is lost: no cookie "
                        "can be set once it is open.",
                    )
                return
            response = quart.Response(b"")
            # The client has gone, and the server cancels what is still done for it.
            saving = asyncio.ensure_future(self._write_to(app, session, response))
            self._unfinished.add(saving)
            saving.add_done_callback(self._unfinished.discard)
            await asyncio.shield(saving)
            return
        await self._write_to(app, session, response)

    async def _write_to(self, app: Quart, session: Any, response: Response) -> None:
        saving: Exchange[None] = self._saving(app, session, response)  # type: ignore[arg-type]
        await drive_async(saving, PresentStore(self, app))  # type: ignore[arg-type]

    def _is_kept_without_cookie(self, app: Quart, session: Any) -> bool:
        """Whether what was done to a session can be kept although the client gets no cookie."""
        note = note_of(session)
        if note is None or note.lost is not None or note.revoked or note.has_ended:
            return False
        if note.failure is not None:
            return False
        policy = self._policy(app)  # type: ignore[arg-type]
        save = StoredSave(app, session, None, policy, 0, None)  # type: ignore[arg-type]
        identity = self._identity(save, note.loaded.user, dict(session))
        return identity is Identity.SAME or not session

    @frameless_async
    async def list(  # type: ignore[override]
        self, user: object, *, app: Quart | None = None
    ) -> _list[SessionInfo]:
        """The stored sessions of a user, the one used last first. See
        :meth:`flask_fernet.EncryptedSessionInterface.list`.
        """
        its, storage = self._storage(app)  # type: ignore[arg-type]
        return await drive_async(self._listing(its, storage, user), storage.store)

    @frameless_async
    async def revoke(self, handle: str, *, app: Quart | None = None) -> bool:  # type: ignore[override]
        """Ends one session, wherever it is used. See
        :meth:`flask_fernet.EncryptedSessionInterface.revoke`.
        """
        its, storage = self._storage(app)  # type: ignore[arg-type]
        address = address_of(handle)
        if address is None:
            return False
        return await drive_async(self._revoking(its, storage, address), storage.store)

    @frameless_async
    async def revoke_user(  # type: ignore[override]
        self, user: object, *, keep_current: bool = False, app: Quart | None = None
    ) -> int:
        """Ends all sessions of a user, wherever they are used: log-out everywhere. See
        :meth:`flask_fernet.EncryptedSessionInterface.revoke_user`.
        """
        its, storage = self._storage(app)  # type: ignore[arg-type]
        revoking = self._revoking_user(its, storage, user, keep_current)
        return await drive_async(revoking, storage.store)

    @frameless_async
    async def revoke_all(self, *, app: Quart | None = None) -> None:  # type: ignore[override]
        """Ends every session of the app, of whatever user. See
        :meth:`flask_fernet.EncryptedSessionInterface.revoke_all`.
        """
        its, storage = self._storage(app)  # type: ignore[arg-type]
        await drive_async(self._revoking_all(its, storage), storage.store)

    async def _revoke_noted(self, note: StoredNote) -> bool:
        """Ends the session to which a note belongs. Returns whether it was there."""
        storage = self._present_storage(note.app)
        return await drive_async(self._revoking(note.app, storage, note.address), storage.store)

    def _stored(
        self,
        app: Flask,
        policy: Policy,
        id: bytes,
        generation: bytes,
        issued_at: int,
        newest: bool,
    ) -> Any:
        """What opening a token that refers to the store gives: it is read afterwards."""
        return _Referred(StoredNote(self, app, policy, id, generation, issued_at, newest))

    def _current_app(self) -> Any:
        return quart.current_app._get_current_object()  # type: ignore[attr-defined]

    def _current_session(self) -> Any:
        if not (has_request_context() or has_websocket_context()):
            return None
        return quart.session._get_current_object()  # type: ignore[attr-defined]


EncryptedSessionInterface.__new__.__signature__ = inspect.signature(  # type: ignore[attr-defined]
    EncryptedSessionInterface.__init__
)

#: Quart's own ``session``, with the type of the sessions of this package: for type checkers.
session: EncryptedSession = quart.session  # type: ignore[assignment]


class _Referred:
    """A session in the store that has not been read yet."""

    def __init__(self, note: StoredNote) -> None:
        self.note = note
