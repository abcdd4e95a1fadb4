"""A key ring in a file: replaced in one step, never readable by everybody."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import KeyRingError

try:
    import fcntl
except ImportError:
    # Windows: sessions and tokens work there; only key rings in files do not.
    fcntl = None  # type: ignore[assignment]

#: Longest document that is read, in bytes.
MAX_DOCUMENT = 1 << 20
#: Seconds to wait for another writer.
LOCK_TIMEOUT = 10


class RingFile:
    """Keeps the document of a key ring in a file.

    Symbolic links are followed, as container secrets need it. A file that everybody may read is
    refused. A replaced file keeps its owner, group and mode; a new one is for its owner alone.

    :param path: of the file. Beside it, ``.lock`` appended, is an empty file that writers lock.
    :raises KeyRingError: where the operating system is not a POSIX system.
    """

    def __init__(self, path: str | Path) -> None:
        if fcntl is None:
            raise KeyRingError("A key ring in a file needs a POSIX system. Use another RingStore.")
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def load(self) -> bytes:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        try:
            # A pipe in its place would keep a worker waiting.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise KeyRingError(f"{self.path} cannot be read: it is no file.")
                mode = stat.S_IMODE(status.st_mode)
                if mode & stat.S_IRWXO:
                    raise KeyRingError(
                        f"{self.path} is open to everybody (mode {mode:04o}). Make it "
                        f"0600 or 0640, and replace its keys: others may have them."
                    )
                document = file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            hint = " 'flask fernet ring init' makes a ring." if missing else ""
            raise KeyRingError(f"{self.path} cannot be read: {error.strerror}.{hint}") from error
        if len(document) > MAX_DOCUMENT:
            raise KeyRingError(f"{self.path} is longer than {MAX_DOCUMENT} bytes.")
        return document

    def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        # The file that a link leads to is replaced, not the link.
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
            raise KeyRingError(f"{self.path} cannot be written: {error.strerror}.{hint}") from error

    def fingerprint(self) -> object:
        """See :class:`~flask_fernet.keys.ring_store.RingStore`."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock that every writer of ``path`` takes; it goes with the process."""
    lock = path.with_name(path.name + ".lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(lock, flags, 0o600)
    try:
        # Of the ring's owner, or the folder's, so that a job of root's locks nobody out.
        owner = os.stat(path if os.path.exists(path) else path.parent)
        if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        _lock(descriptor, lock)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, lock: Path) -> None:
    """Takes a lock.

    :raises KeyRingError: if another writer does not let go of it.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
    raise KeyRingError(f"Another writer has held {lock} for {LOCK_TIMEOUT} seconds.")


def _temporary_affixes(path: Path) -> tuple[str, str]:
    """How the name of a file begins and ends that is to come in the place of another."""
    return f".{path.name}.", ".new"


def _remove_temporaries(path: Path) -> None:
    """Removes what writers that died have left, which has keys in it. With the lock held."""
    prefix, suffix = _temporary_affixes(path)
    for entry in os.scandir(path.parent):
        if entry.name.startswith(prefix) and entry.name.endswith(suffix):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)


def _replace(path: Path, document: bytes) -> None:
    """Puts a new file in place of the old one: a crash leaves either, whole."""
    before = os.stat(path) if os.path.exists(path) else None
    # Readable by its owner alone from the first moment.
    prefix, suffix = _temporary_affixes(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # A job of root's must not lock the server's user out. A new one is for the folder's
            # owner.
            owner = before or (os.stat(path.parent) if os.geteuid() == 0 else None)
            made = os.fstat(file.fileno())
            if owner and (owner.st_uid, owner.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            if before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # The new name outlives a loss of power too.
        os.fsync(folder)
    finally:
        os.close(folder)
