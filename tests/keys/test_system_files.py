"""The files of a ring on Windows, as far as another system can stand in for it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from flask_fernet import KeyRing

#: Replaces what Windows has in place of POSIX, and takes away what it has not. Locks of single
#: bytes are those of ``fcntl.lockf``, which also fail at once.
WINDOWS = """
import errno, fcntl, importlib, os, sys, time, types
from flask_fernet import KeyRing, KeyRingError, new_ring
import flask_fernet.keys.ring_file as ring_file
import flask_fernet.keys.system_files as system_files

def locking(descriptor, mode, length):
    assert mode == 3 and length == 1
    assert os.lseek(descriptor, 0, os.SEEK_CUR) > 1 << 20, "readers could not read a locked byte"
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
    except OSError:
        raise OSError(errno.EACCES, "Permission denied") from None

sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=3)
os.O_BINARY, os.O_NOINHERIT = 0, os.O_CLOEXEC
sys.platform = "win32"
importlib.reload(system_files)
for name in ("geteuid", "fchown", "fchmod", "pread", "pwrite", "O_NOFOLLOW", "O_NONBLOCK",
             "O_DIRECTORY"):
    delattr(os, name)
"""


def run(script: str, path: Path) -> str:
    code = WINDOWS + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


ROTATE = """
ring = KeyRing(sys.argv[1])
for _ in range(5):
    ring.change(lambda before: before.rotated(time.time(), force=True))
print(len(ring.load().keys))
"""


def test_a_ring_is_made_changed_and_read(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    run('KeyRing(sys.argv[1]).create(new_ring("sessions", time.time()))', path)
    # Its mode says nothing there, and is not looked at.
    path.chmod(0o666)
    assert run(ROTATE, path) == "6\n"
    path.chmod(0o600)
    assert len(KeyRing(path).load().keys) == 6
    assert int((tmp_path / "ring.json.lock").read_text()) == KeyRing(path).load().serial


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    run('KeyRing(sys.argv[1]).create(new_ring("sessions", time.time()))', path)
    writers = [
        subprocess.Popen([sys.executable, "-c", WINDOWS + ROTATE, str(path)]) for _ in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(KeyRing(path).load().keys) == 16


def test_a_file_that_a_worker_reads_is_replaced_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    shown = run(
        """
        replace, refused = os.replace, []
        def busy(*arguments):
            if len(refused) < 3:
                refused.append(1)
                raise PermissionError(errno.EACCES, "in use")
            return replace(*arguments)
        os.replace = busy
        KeyRing(sys.argv[1]).create(new_ring("sessions", time.time()))
        print(len(refused))
        system_files.REPLACE_FOR = 0
        os.replace = lambda *_: busy(refused.clear())
        try:
            KeyRing(sys.argv[1]).change(lambda before: before.rotated(time.time(), force=True))
        except KeyRingError as error:
            print(error)
        """,
        path,
    )
    assert shown.splitlines()[0] == "3"
    assert "cannot be written: in use" in shown
    assert len(KeyRing(path).load().keys) == 1
