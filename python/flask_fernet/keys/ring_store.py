"""The protocol of a place where a key ring is stored."""

from __future__ import annotations

from pathlib import PurePath
from typing import Protocol


class RingStore(Protocol):
    """A place where the document of a key ring is stored.

    Implement this protocol to store a ring elsewhere than in a file, and set
    ``SESSION_ENCRYPTION_KEYRING`` to a :class:`~flask_fernet.KeyRing` over it.

    A store may also have ``newest_serial()`` and ``note_serial(serial)``, which remember the
    highest serial that was written. Then workers that start and the command line refuse an older
    copy too, and not only workers that saw the newer ring.

    Every failure must be raised as :class:`~flask_fernet.KeyRingError`: for that error alone do
    workers keep the keys that they read last.
    """

    def load(self) -> bytes:
        """The document as it is stored now.

        :raises KeyRingError: if there is no document, or it cannot or must not be read.
        """

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """Replaces ``expected`` by ``document`` in one atomic step.

        :param expected: the document that must be stored now, byte for byte; ``None`` if there
            must be none.
        :returns: ``True`` if the document was replaced; ``False`` if something else than
            ``expected`` was stored, in which case nothing was changed.
        :raises KeyRingError: if the document cannot be read or written.
        """

    def fingerprint(self) -> object:
        """A value that compares unequal once the document has been replaced.

        Every worker asks for it each second, so it must be cheap. If there is no document, it
        returns a value that says so.

        :raises KeyRingError: if the store cannot be asked.
        """


def newest_serial(store: RingStore) -> int:
    """The highest serial of a ring that is known to have been in ``store``; 0 if the store does not
    remember it. Ask for it before loading the ring, which another writer may replace meanwhile.
    """
    remembered = getattr(store, "newest_serial", None)
    return 0 if remembered is None else int(remembered())


def where(store: RingStore) -> str:
    """The place of a ring, for a message: `` at `` and the path of a file, otherwise nothing."""
    path = getattr(getattr(store, "inner", store), "path", None)
    return f" at {path}" if isinstance(path, PurePath) else ""
