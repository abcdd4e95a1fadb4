"""A key ring in a file, which is replaced in one step and never readable by everybody."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import KeyRingError
from . import system_files
from .ring import MAX_SERIAL

#: Maximum length of a document, in bytes.
MAX_DOCUMENT = 1 << 20
#: Seconds for which a writer waits until another one releases the lock.
LOCK_TIMEOUT = 10


class RingFile:
    """A :class:`~flask_fernet.RingStore` in a file.

    Symbolic links are followed, because container secrets are mounted as links. A file that
    everybody may read is refused. A file that is replaced keeps its owner, group and mode; a new
    one is readable and writable by its owner alone.

    :param path: the file. Writers lock a file beside it, whose name ends with ``.lock`` and which
        keeps the highest serial of a ring that was written.
    :raises KeyRingError: if the path has a NUL character.
    """

    def __init__(self, path: str | Path) -> None:
        if "\0" in str(path):
            raise KeyRingError("The path of a key ring must not contain a NUL character.")
        self.path: Path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def load(self) -> bytes:
        """See :class:`~flask_fernet.RingStore`."""
        try:
            descriptor = system_files.open_to_read(self.path)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise KeyRingError(
                        f"The key ring at {self.path} cannot be read: it must be a regular file."
                    )
                mode = system_files.mode_of(status)
                if mode is not None and mode & stat.S_IRWXO:
                    raise KeyRingError(
                        f"The key ring at {self.path} is open to everybody: its mode must be 0600 "
                        f"or 0640, not {mode:04o}. Change the mode, and replace the keys: others "
                        "may have them."
                    )
                document = file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            hint = " 'flask fernet ring init' makes a ring." if missing else ""
            raise KeyRingError(
                f"The key ring at {self.path} cannot be read: {error.strerror}.{hint}"
            ) from error
        if len(document) > MAX_DOCUMENT:
            # It may hold keys, and crash reporters record local variables.
            del document
            raise KeyRingError(
                f"The key ring at {self.path} must be at most {MAX_DOCUMENT} bytes long."
            )
        return document

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """See :class:`~flask_fernet.RingStore`."""
        # Replace the file that a link points to, not the link.
        path = Path(os.path.realpath(self.path))
        try:
            with _locked(path):
                _remove_temporaries(path)
                current = self.load() if os.path.exists(path) else None
                if current != expected:
                    return False
                _replace(path, document)
                return True
        except OSError as error:
            hint = "" if os.path.isdir(path.parent) else " Make its folder first."
            raise KeyRingError(
                f"The key ring at {self.path} cannot be written: {error.strerror}.{hint}"
            ) from error

    def newest_serial(self) -> int:
        """The highest serial of a ring that was written here, which the lock's file keeps; 0 if
        that is not known.
        """
        try:
            return _serial_in(_lock_of(Path(os.path.realpath(self.path))).read_bytes())
        except OSError:
            # Only the ring itself may have been copied to this host, or be readable.
            return 0

    def note_serial(self, serial: int) -> None:
        """Remembers that a ring with this serial was written."""
        path = Path(os.path.realpath(self.path))
        # If it cannot be remembered, running workers still know it.
        with contextlib.suppress(OSError, KeyRingError), _locked(path) as descriptor:
            newest = max(serial, _serial_in(system_files.read_start(descriptor, 32)))
            # As long as the former one: a reader, who takes no lock, finds one or the other.
            system_files.write_whole(descriptor, b"%020d\n" % newest)

    def fingerprint(self) -> object:
        """See :class:`~flask_fernet.RingStore`."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Holds the lock that every writer of ``path`` takes. It ends with the process at the latest.

    :returns: a descriptor of the lock's file.
    :raises KeyRingError: if another writer does not release it.
    """
    lock = _lock_of(path)
    descriptor = system_files.open_lock(lock)
    try:
        # The lock belongs to the owner of the ring, or else of the folder: a job that runs as root
        # must not lock the server's user out.
        owner = os.stat(path if os.path.exists(path) else path.parent)
        if system_files.is_root() and os.fstat(descriptor).st_uid != owner.st_uid:
            system_files.give_to(descriptor, owner)
        _acquire(descriptor, lock)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _serial_in(text: bytes) -> int:
    """The serial in the lock's file; 0 if there is none."""
    serial = int(text) if text.strip().isdigit() and len(text) < 32 else 0
    return serial if serial < MAX_SERIAL else 0


def _acquire(descriptor: int, lock: Path) -> None:
    """Takes the lock on ``descriptor``, waiting at most :data:`LOCK_TIMEOUT` seconds.

    :raises KeyRingError: if another writer does not release it.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while not system_files.try_lock(descriptor):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    else:
        return
    raise KeyRingError(f"Another writer has held {lock} for {LOCK_TIMEOUT} seconds.")


def _temporary_affixes(path: Path) -> tuple[str, str]:
    """Prefix and suffix of the name of the temporary file that will replace ``path``."""
    return f".{path.name}.", ".new"


def _remove_temporaries(path: Path) -> None:
    """Deletes temporary files of crashed writers; they contain keys. Call with the lock held."""
    prefix, suffix = _temporary_affixes(path)
    for entry in os.scandir(path.parent):
        if entry.name.startswith(prefix) and entry.name.endswith(suffix):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)


def _replace(path: Path, document: bytes) -> None:
    """Replaces ``path`` atomically: a crash leaves the old file or the new one, each complete."""
    before = os.stat(path) if os.path.exists(path) else None
    prefix, suffix = _temporary_affixes(path)
    # mkstemp creates the file with mode 0600: no one else can read it at any moment.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # The file keeps its owner; a new one made by root belongs to the folder's owner. A job
            # that runs as root must not lock the server's user out.
            owner = before or (os.stat(path.parent) if system_files.is_root() else None)
            if owner is not None:
                system_files.give_to(file.fileno(), owner)
            if before is not None:
                system_files.copy_mode(file.fileno(), before)
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        system_files.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
