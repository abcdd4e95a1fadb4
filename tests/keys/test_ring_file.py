"""A key ring in a file: its permissions, and writers that die."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from flask_fernet import KeyRing, KeyRingError
from flask_fernet.keys.ring import SESSIONS, new_ring
from flask_fernet.keys.ring_file import RingFile


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "session-keys.json"
        KeyRing(path).create(new_ring(SESSIONS, time.time()))
        return path

    def rotate(self, path: Path) -> None:
        KeyRing(path).change(lambda ring: ring.rotated(time.time(), force=True))

    def test_a_new_file_is_for_its_owner_alone(self, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(KeyRingError, match="already"):
            KeyRing(path).create(new_ring(SESSIONS, time.time()))

    def test_owner_group_and_mode_are_kept(self, path: Path) -> None:
        path.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(path, 12345, 54321)
        before = path.stat()
        self.rotate(path)
        after = path.stat()
        assert after.st_ino != before.st_ino
        assert (after.st_mode, after.st_uid, after.st_gid) == (
            before.st_mode,
            before.st_uid,
            before.st_gid,
        )

    @pytest.mark.parametrize("mode", [0o604, 0o606, 0o644])
    def test_a_file_open_to_everybody_is_refused(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        with pytest.raises(KeyRingError, match="open to everybody"):
            KeyRing(path).load()
        path.chmod(0o640)
        KeyRing(path).load()

    def test_a_lock_made_by_root_is_the_owners(self, path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        lock = path.with_name(path.name + ".lock")
        lock.unlink()
        os.chown(path, 12345, 54321)
        self.rotate(path)
        assert (lock.stat().st_uid, lock.stat().st_gid) == (12345, 54321)
        lock.unlink()
        elsewhere = path.with_name("elsewhere")
        lock.symlink_to(elsewhere)
        with pytest.raises(KeyRingError, match="cannot be written"):
            self.rotate(path)
        assert not elsewhere.exists()

    def test_what_a_dead_writer_left_is_removed(self, path: Path) -> None:
        left = path.with_name(f".{path.name}.abcdef.new")
        left.write_text("keys")
        self.rotate(path)
        assert not left.exists()

    def test_what_others_have_there_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "k[1].json"
        KeyRing(path).create(new_ring(SESSIONS, time.time()))
        theirs = [tmp_path / ".k[1].json.swp", tmp_path / ".k1.json.x.new"]
        ours = tmp_path / ".k[1].json.x.new"
        for file in (*theirs, ours):
            file.write_text("")
        self.rotate(path)
        assert not ours.exists()
        assert all(file.exists() for file in theirs)

    def test_a_new_file_made_by_root_is_the_folders_owners(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(tmp_path, 12345, 54321)
        path = tmp_path / "ring.json"
        KeyRing(path).create(new_ring(SESSIONS, time.time()))
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o600)

    def test_a_writer_that_does_not_let_go_is_a_named_error(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import fcntl

        monkeypatch.setattr("flask_fernet.keys.ring_file.LOCK_TIMEOUT", 0.1)
        with open(path.with_name(path.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(KeyRingError, match="Another writer has held"):
                self.rotate(path)
        self.rotate(path)

    def test_a_folder_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(KeyRingError, match="Make its folder first"):
            KeyRing(tmp_path / "no" / "ring.json").create(new_ring(SESSIONS, time.time()))

    def test_symbolic_links_are_followed(self, path: Path, tmp_path: Path) -> None:
        link = tmp_path / "link.json"
        link.symlink_to(path)
        self.rotate(link)
        assert link.is_symlink()
        assert len(KeyRing(path).load().keys) == len(KeyRing(link).load().keys) == 2

    def test_what_cannot_be_read_is_an_error(self, path: Path, tmp_path: Path) -> None:
        for other in (tmp_path / "missing.json", tmp_path):
            with pytest.raises(KeyRingError, match="cannot be read"):
                KeyRing(other).load()
        path.write_bytes(b" " * ((1 << 20) + 1))
        with pytest.raises(KeyRingError, match="at most 1048576 bytes"):
            KeyRing(path).load()

    def test_writers_at_the_same_time_lose_nothing(self, path: Path) -> None:
        threads = [threading.Thread(target=self.rotate, args=(path,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(KeyRing(path).load().keys) == 9

    def test_a_writer_that_dies_at_any_step_leaves_a_whole_ring(self, path: Path) -> None:
        """The ring stays whole at whichever call to the operating system a writer dies."""
        script = textwrap.dedent(
            """
            import os, sys, time
            from flask_fernet import KeyRing
            import flask_fernet.keys.ring_file as module
            steps = int(sys.argv[2])
            def dying(function):
                def call(*arguments, **options):
                    global steps
                    steps -= 1
                    if steps == 0:
                        os._exit(7)
                    return function(*arguments, **options)
                return call
            for name in ("open", "fsync", "fchmod", "replace", "close", "unlink", "fdopen"):
                setattr(module.os, name, dying(getattr(os, name)))
            module.tempfile.mkstemp = dying(module.tempfile.mkstemp)
            fcntl = module.system_files.fcntl
            fcntl.flock = dying(fcntl.flock)
            KeyRing(sys.argv[1]).change(lambda ring: ring.rotated(time.time(), force=True))
            """
        )
        died = 0
        for step in range(1, 40):
            before = KeyRing(path).load()
            command = [sys.executable, "-c", script, str(path), str(step)]
            code = subprocess.run(command, check=False).returncode
            after = KeyRing(path).load()
            if after != before:
                # The rotation has happened completely, or not at all.
                assert [key.id for key in after.keys[:-1]] == [key.id for key in before.keys]
                assert [key.key for key in after.keys[:-1]] == [key.key for key in before.keys]
            if code == 0:
                assert len(after.keys) == len(before.keys) + 1
                break
            assert code == 7
            died += 1
        assert died >= 8
        # The files that dead writers left do not block the next writer.
        self.rotate(path)

    def test_a_failed_replacement_leaves_the_ring_and_no_file(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        before, files = path.read_bytes(), sorted(path.parent.iterdir())
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", fail)
            with pytest.raises(KeyRingError, match="cannot be written: No space left"):
                self.rotate(path)
        assert path.read_bytes() == before
        assert sorted(path.parent.iterdir()) == files

    def test_a_file_is_named_in_its_repr(self, path: Path) -> None:
        assert repr(RingFile(path)) == f"RingFile({str(path)!r})"
