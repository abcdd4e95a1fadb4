"""What a request knows of the stored session that its cookie refers to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .._core import STORED, Policy
from ..errors import Reason, StoreUnavailable
from .records import Loaded, handle_of


class NoteHost(Protocol):
    """What reads and ends stored sessions: the session interface."""

    def _read(self, app: Any, session: Any) -> None:
        """Puts the data of a stored session into it.

        :raises StoreUnavailable: if the store does not answer.
        """

    def _revoke(self, app: Any, note: StoredNote) -> bool:
        """Ends the session to which a note belongs. Returns whether it was there."""


class StoredNote:
    """The note on a stored session.

    A copy of a session shares its note, and a pickle of one leaves it out: it leads to the
    interface, and so to keys.

    :param policy: what the app's configuration decided when the cookie was opened.
    :param id: 32 bytes, which are in the cookie and nowhere else.
    :param generation: 8 bytes, which change at each log-in and log-out.
    :param issued_at: when the cookie was issued, in seconds since the epoch.
    :param is_newest: whether the cookie is under the newest key and in the format that is written.
    """

    _address: bytes | None = None
    _loaded: Loaded | None = None
    #: Why the record did not open.
    lost: Reason | None = None
    #: When the cookie was superseded, in seconds since the epoch; 0 if it was not.
    superseded_at = 0
    #: Whether this request has revoked its session.
    revoked = False
    #: Whether nothing is saved any more: the session was ended, or saving it has failed.
    has_ended = False
    #: Whether every response to this request must set the cookie: the session is new, its former
    #: cookie is refused now, or it has become permanent, or no longer is. Flask saves a session
    #: again, with another response, if an error is raised after it was saved.
    must_send = False
    #: Whether every response to this request must delete the cookie.
    must_delete = False
    #: The error of the store in this request.
    failure: StoreUnavailable | None = None

    def __init__(
        self,
        host: NoteHost,
        app: Any,
        policy: Policy,
        id: bytes,
        generation: bytes,
        issued_at: int,
        is_newest: bool,
    ) -> None:
        self.host = host
        self.app = app
        self.id = id
        self.generation = generation
        self.issued_at = issued_at
        self.is_newest = is_newest
        self.lock: AbstractContextManager[bool] = threading.RLock()
        self.policy = policy

    @property
    def address(self) -> bytes:
        """Where the session's record lies."""
        if self._address is None:
            assert self.policy.storage is not None  # noqa: S101 - there would be no note
            self._address = self.policy.storage.records.address(self.id)
        return self._address

    def take(self, loaded: Loaded) -> None:
        """Notes what the store holds now."""
        self._loaded = loaded

    @property
    def loaded(self) -> Loaded:
        """What the store held when it was last asked.

        :raises LookupError: if it was not asked, or the record did not open.
        """
        if self._loaded is None:
            raise LookupError("the session has not been read")
        return self._loaded

    @property
    def handle(self) -> str:
        """The stable name of the session."""
        return handle_of(self.address)

    def __copy__(self) -> StoredNote:
        return self

    def __deepcopy__(self, memo: object) -> StoredNote:
        return self

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _nothing, ()


def _nothing() -> None:
    """What a note is in a pickle."""


def note_of(session: object) -> StoredNote | None:
    """The note on a stored session; ``None`` for any other session."""
    note = getattr(session, "__dict__", {}).get(STORED)
    return note if isinstance(note, StoredNote) else None
