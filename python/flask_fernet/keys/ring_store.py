"""Where a key ring is kept."""

from __future__ import annotations

from typing import Protocol


class RingStore(Protocol):
    """Where a ring is kept. Implement it to keep one elsewhere than in a file, and set
    ``SESSION_ENCRYPTION_KEYRING`` to a :class:`KeyRing` over it.

    Whatever goes wrong is raised as :class:`~flask_fernet.KeyRingError`, and as nothing else:
    workers keep what they read last then.
    """

    def load(self) -> bytes:
        """The document as it is now.

        :raises KeyRingError: if there is none, or it cannot or must not be read.
        """

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """Puts ``document`` in place of ``expected``, ``None`` for none at all, in one step.

        :returns: whether ``expected`` was what was there; if not, nothing was changed.
        """

    def fingerprint(self) -> object:
        """Something cheap to get that differs once the document has been replaced."""
