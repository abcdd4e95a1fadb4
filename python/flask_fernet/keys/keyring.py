"""``KeyRing``, the handle of a stored key ring: load it, create it, change it, use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import KeyRingError
from ..tracebacks import frameless
from .document import decode, encode
from .following import FollowedRing, require_newest
from .ring import SESSIONS, Ring
from .ring_fernet import RingFernet
from .ring_file import RingFile
from .ring_store import RingStore, newest_serial, where
from .wrapping import WrappedStore, Wrapping

#: How often a change is tried while other writers change the ring at the same time.
_ATTEMPTS = 20


class KeyRing:
    """A ring and the place where it is stored.

    :param store: the path of a file, or a :class:`~flask_fernet.RingStore`.
    :param secrets: if given, the ring is stored encrypted (AES-256-GCM, ``docs/formats.md``). The
        first secret encrypts the ring, each of them opens it.
    :param command: the same with the secrets that a program prints, one per line: the program
        and its arguments, as a list or as one text. No shell runs it.
    :param wrapping: the same, as the settings of an app say.
    :raises ConfigurationError: if ``secrets`` or ``command`` cannot be used.
    """

    @frameless
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
        # Even a plain ring is read through this: a ring that is stored in another form than the
        # expected one is refused, with a message that names the remedy.
        self.store: WrappedStore = WrappedStore(store, wrapping or Wrapping())

    def __eq__(self, other: object) -> bool:
        """Whether both are the ring of the same file, stored in the same form."""
        return isinstance(other, KeyRing) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> object:
        store = self.store.inner
        return self.store.wrapping, str(store.path) if isinstance(store, RingFile) else id(store)

    @frameless
    def load(self) -> Ring:
        """The ring as it is stored now.

        :raises KeyRingError: if it cannot be read.
        """
        return decode(self.store.load(), where(self.store))

    @frameless
    def create(self, ring: Ring) -> None:
        """Stores a new ring.

        :raises KeyRingError: if a ring is stored here already, or ``ring`` is invalid, or it cannot
            be written.
        """
        ring = replace(ring, serial=max(ring.serial, newest_serial(self.store) + 1))
        if not self._write(None, ring):
            raise KeyRingError(f"There is a key ring{where(self.store)} already.")

    @frameless
    def change(self, change: Callable[[Ring], Ring]) -> Ring:
        """Replaces the ring by ``change(ring)``, with the next serial. No change that others make
        meanwhile is lost.

        :param change: a function of the stored ring. It is called again if another writer was
            faster.
        :returns: the new ring.
        :raises KeyRingError: if ``change`` raises it, if the ring cannot be read or written, if it
            is an older copy of one that was in force here, or if other writers were always faster.
        """
        return self._replace(change, reinstate=False)

    @frameless
    def reinstate(self, above: int = 0) -> Ring:
        """Puts the stored ring in force, though it is an older copy of one that was in force: gives
        it a serial above all that are known. Keys that were revoked since it was copied come back.

        :param above: the highest serial that a worker has reported.
        :returns: the ring with its new serial.
        :raises KeyRingError: if the ring cannot be read or written.
        """
        return self._replace(lambda ring: replace(ring, serial=above), reinstate=True)

    def _replace(self, change: Callable[[Ring], Ring], reinstate: bool) -> Ring:
        for _ in range(_ATTEMPTS):
            newest = newest_serial(self.store)
            document = self.store.load()
            ring = decode(document, where(self.store))
            if not reinstate:
                require_newest(ring, newest, where(self.store))
            changed = change(ring)
            if changed == ring and not reinstate:
                return ring
            # The time, so that a ring that was deleted and made again is newer than the first one.
            serial = max(ring.serial + 1, newest + 1, changed.serial + 1, int(time.time()))
            changed = replace(changed, serial=serial)
            if self._write(document, changed):
                return changed
        raise KeyRingError(
            f"Other writers kept changing the key ring{where(self.store)}. Try again."
        )

    def _write(self, expected: bytes | None, ring: Ring) -> bool:
        document = encode(ring)
        # A ring that could not be read again must not be written.
        decode(document)
        written = self.store.compare_and_set(expected, document.encode())
        if written:
            self.store.note_serial(ring.serial)
        return written

    @frameless
    def fernet(self) -> RingFernet:
        """A ``MultiFernet`` that follows this ring, for data of the app's own.

        :raises KeyRingError: if the ring cannot be read, or is for sessions. Whoever can have a
            text of their choice encrypted under a key of sessions could make a session.
        """
        if self.load().purpose == SESSIONS:
            raise KeyRingError(
                f"The key ring{where(self.store)} is for sessions. Data of the app's own needs a "
                "ring of its own: flask fernet ring init --purpose data."
            )
        return RingFernet(FollowedRing(self.store, self))
