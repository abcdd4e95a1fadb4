"""What a request knows of the stored session that its cookie refers to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .._core import STORED
from ..errors import Reason, StoreUnavailable
from .records import Loaded, handle_of


class StoredNote:
    """The note on a stored session.

    A copy of a session shares its note, and a pickle of one leaves it out: it leads to the
    interface, and so to keys.

    :param load: puts the session's data into the session, or raises
        :class:`~flask_fernet.StoreUnavailable`.
    :param end: ends the session in the store; returns whether it was there.
    :param issued_at: when the cookie was issued, in seconds since the epoch.
    :param is_newest: whether the cookie is under the newest key and in the format that is written.
    """

    __slots__ = (
        "_loaded",
        "address",
        "end",
        "failure",
        "generation",
        "has_ended",
        "id",
        "is_newest",
        "issued_at",
        "load",
        "lock",
        "lost",
        "revoked",
        "superseded_at",
    )

    def __init__(
        self,
        load: Callable[[Any], None],
        end: Callable[[StoredNote], bool],
        id: bytes,
        generation: bytes,
        address: bytes,
        issued_at: int,
        is_newest: bool,
    ) -> None:
        self.load = load
        self.end = end
        self.id = id
        self.generation = generation
        self.address = address
        self.issued_at = issued_at
        self.is_newest = is_newest
        self.lock = threading.RLock()
        self._loaded: Loaded | None = None
        #: Why the record did not open.
        self.lost: Reason | None = None
        #: When the cookie was superseded, in seconds since the epoch; 0 if it was not.
        self.superseded_at = 0
        #: Whether this request has revoked its session.
        self.revoked = False
        #: Whether nothing is saved any more: the session was ended, or saving it has failed.
        self.has_ended = False
        #: The error of the store in this request.
        self.failure: StoreUnavailable | None = None

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
