"""What differs between operating systems in the files of a key ring: locks, owners and modes.

Nothing else in this package asks for the system. What is written here for Windows is checked by the
type checker (``mypy --platform win32``) and runs in the workflow's tests there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Seconds for which a file that a reader has open is tried to be replaced again, on Windows.
REPLACE_FOR = 2.0

if sys.platform == "win32":
    #: Whether a file's mode says who may read it. Access control lists do, which are not looked at.
    HAS_MODES = False
    _READ = os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT
    _WRITE = os.O_RDWR | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT
    #: Far behind the contents: others could not read a byte that is locked.
    _LOCKED_BYTE = 1 << 30
else:
    HAS_MODES = True
    # Non-blocking: a named pipe in the ring's place would otherwise block the worker.
    _READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    _WRITE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def open_to_read(path: Path) -> int:
    """A descriptor of a file, which no child process inherits.

    :raises OSError: if there is none, or it may not be read.
    """
    return os.open(path, _READ)


def open_lock(path: Path) -> int:
    """A descriptor of a lock's file, which is made if it is missing, for its owner alone.

    :raises OSError: if it may not be opened.
    """
    return os.open(path, _WRITE, 0o600)


def try_lock(descriptor: int) -> bool:
    """Locks a file for this process, unless another one has it locked. The lock ends when the
    descriptor is closed, with the process at the latest. Returns whether it is locked now.
    """
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def read_start(descriptor: int, length: int) -> bytes:
    """At most so many bytes from the beginning of a file."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, length)


def write_whole(descriptor: int, contents: bytes) -> None:
    """Writes a file in one call. As long as its length stays, a reader finds the former contents or
    these.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, contents)
    os.ftruncate(descriptor, len(contents))


def mode_of(status: os.stat_result) -> int | None:
    """A file's mode; ``None`` where modes say nothing."""
    return stat.S_IMODE(status.st_mode) if HAS_MODES else None


def is_root() -> bool:
    """Whether this process may give files to others, and could lock their owner out."""
    if sys.platform == "win32":
        return False
    return os.geteuid() == 0


def give_to(descriptor: int, owner: os.stat_result) -> None:
    """Gives a file to the owner and the group of another one.

    :raises OSError: if that is not permitted.
    """
    if sys.platform != "win32":
        made = os.fstat(descriptor)
        if (owner.st_uid, owner.st_gid) != (made.st_uid, made.st_gid):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def copy_mode(descriptor: int, before: os.stat_result) -> None:
    """Gives a file the mode of the one that it will replace."""
    if sys.platform != "win32":
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def replace(temporary: str, path: Path) -> None:
    """Puts a file in the place of another one, in one step, and makes that last.

    :raises OSError: if it cannot be done.
    """
    if sys.platform == "win32":
        deadline = time.monotonic() + REPLACE_FOR
        while True:
            with contextlib.suppress(PermissionError):
                os.replace(temporary, path)
                return
            # A worker reads it at this moment.
            if time.monotonic() > deadline:
                os.replace(temporary, path)
                return
            time.sleep(0.01)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Flush the folder too, so that the new name survives a loss of power.
        os.fsync(folder)
    finally:
        os.close(folder)
