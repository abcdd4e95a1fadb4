"""The handle of a key ring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import KeyRingError
from .document import decode, encode
from .following import FollowedRing
from .ring import SESSIONS, Ring
from .ring_fernet import RingFernet
from .ring_file import RingFile
from .ring_store import RingStore
from .wrapping import WrappedStore, Wrapping

#: Attempts to change a ring that others change at the same time.
_ATTEMPTS = 20


class KeyRing:
    """A ring and the place where it is kept.

    :param store: the path of a file, or a :class:`RingStore`.
    :param secrets: if given, the ring is kept encrypted (AES-256-GCM) under keys derived from
        these: under the first; it opens under each of them.
    :param command: the same with the secrets that a program prints, a line each: the program and
        its arguments.
    :param wrapping: the same as the settings of an app have it.
    :raises ConfigurationError: if ``secrets`` or ``command`` cannot be used.
    """

    def __init__(
        self,
        store: str | Path | RingStore,
        *,
        secrets: Iterable[str | bytes] | None = None,
        command: str | Sequence[str] | None = None,
        wrapping: Wrapping | None = None,
    ) -> None:
        if isinstance(store, (str, Path)):
            store = RingFile(store)
        if secrets is not None:
            wrapping = Wrapping.from_secrets(secrets)
        elif command is not None:
            wrapping = Wrapping.from_command(command)
        # A ring that is kept in another way than the one said is refused, with the way to mend it.
        self.store = WrappedStore(store, wrapping or Wrapping())

    def __eq__(self, other: object) -> bool:
        """Whether both are the ring of the same file, kept in the same way."""
        return isinstance(other, KeyRing) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> object:
        store = self.store.inner
        return self.store.wrapping, str(store.path) if isinstance(store, RingFile) else id(store)

    def load(self) -> Ring:
        """The ring as it is kept now.

        :raises KeyRingError: if it cannot be read.
        """
        return decode(self.store.load())

    def create(self, ring: Ring) -> None:
        """Keeps a new ring.

        :raises KeyRingError: if there is one already.
        """
        document = encode(ring)
        # What could not be read again is not written.
        decode(document)
        if not self.store.compare_and_set(None, document.encode()):
            raise KeyRingError("There is a key ring already.")

    def change(self, change: Callable[[Ring], Ring]) -> Ring:
        """Replaces the ring by what ``change`` makes of it, whatever others do meanwhile.

        :returns: the new ring.
        :raises KeyRingError: if ``change`` does, or others always come first.
        """
        for _ in range(_ATTEMPTS):
            document = self.store.load()
            ring = decode(document)
            changed = change(ring)
            if changed == ring:
                return ring
            if self.store.compare_and_set(document, encode(changed).encode()):
                return changed
        raise KeyRingError("Others kept changing the key ring.")

    def fernet(self) -> RingFernet:
        """A ``MultiFernet`` that follows this ring, for data of the app's own.

        :raises KeyRingError: if the ring is for sessions: whoever can have a text of their choice
            encrypted under their key could make one.
        """
        if self.load().purpose == SESSIONS:
            raise KeyRingError(
                "This key ring is for sessions. Data of the app's own needs a ring of its own: "
                "flask fernet ring init --purpose data."
            )
        return RingFernet(FollowedRing(self.store, self))
