"""Key rings: what each key does when, changes, the file, and workers that follow it."""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    InvalidToken,
    KeyRing,
    KeyRingError,
    Reason,
    keyring_unreadable,
)
from flask_fernet.keyring import SESSIONS, Ring, State, new_ring
from tests.apps import SECRET, add_views, ring_app, set_cookie, token_of, write
from tests.clock import NOW, Clock, until
from tests.commands import succeed
from tests.oracles import OracleFernet, derived_key, maker_of

#: Things that happen to a ring: what, and after how many seconds.
events = st.lists(
    st.tuples(
        st.sampled_from(["rotate", "force", "revoke", "revoke primary", "prune"]),
        st.integers(0, 400),
        st.integers(0, 100),
    ),
    max_size=12,
)


def lived_on(ring: Ring, now: int, happened: tuple[str, int, int]) -> tuple[Ring, int]:
    """A ring after one more thing has happened, and the time then."""
    event, pause, detail = happened
    now += pause
    if event == "prune":
        return ring.pruned(now), now
    if event == "revoke primary":
        return ring.revoked(ring.primary(now).id, now), now
    if event == "revoke":
        usable = [key for key in ring.keys if key.revoked is None]
        return ring.revoked(usable[detail % len(usable)].id, now), now
    try:
        return ring.rotated(now, activate_in=detail, force=event == "force"), now
    except KeyRingError:
        assert event == "rotate"
        return ring, now


def lived(happened: list[tuple[str, int, int]]) -> tuple[Ring, int]:
    """A ring to which things have happened, and the time then."""
    former = [Fernet.generate_key().decode() for _ in range(2)]
    ring, now = new_ring(SESSIONS, NOW, retention=300, former=former), NOW
    for event in happened:
        ring, now = lived_on(ring, now, event)
    return ring, now


class TestStates:
    @given(happened=events, later=st.integers(-500, 1500))
    def test_exactly_one_primary_at_any_time(
        self, happened: list[tuple[str, int, int]], later: int
    ) -> None:
        ring, now = lived(happened)
        states = [ring.state(key, now + later) for key in ring.keys]
        assert states.count(State.PRIMARY) == 1
        assert ring.primary(now + later).revoked is None
        assert ring.opening(now + later)[0] == ring.primary(now + later)
        usable = {State.PRIMARY, State.STAGED, State.RETIRED}
        assert len(ring.opening(now + later)) == sum(state in usable for state in states)

    @given(happened=events, later=st.integers(-500, 1500))
    def test_the_document_keeps_it_all(
        self, happened: list[tuple[str, int, int]], later: int
    ) -> None:
        ring, now = lived(happened)
        assert Ring.from_json(ring.to_json()) == ring
        # A pure function: the order in the document decides nothing.
        document = json.loads(ring.to_json())
        document["keys"].reverse()
        turned = Ring.from_json(json.dumps(document))
        assert turned.opening(now + later) == ring.opening(now + later)

    @example(happened=[("rotate", 0, 100), ("revoke", 5, 1), ("prune", 400, 0)])
    @example(happened=[("rotate", 0, 0), ("rotate", 1000, 10), ("prune", 11, 0)])
    @example(happened=[("rotate", 2, 1), ("force", 0, 0), ("rotate", 299, 0)])
    @example(happened=[("rotate", 0, 10), ("force", 1, 10), ("revoke", 1, 2), ("rotate", 998, 10)])
    @given(happened=events)
    def test_what_was_written_opens_for_the_retention(
        self, happened: list[tuple[str, int, int]]
    ) -> None:
        """Second by second: whatever a key wrote opens as long as it should."""
        ring, now = lived([])
        wrote: dict[str, int] = {}
        for length in range(1, len(happened) + 1):
            changed, then = lived_on(ring, now, happened[length - 1])
            for second in range(now, then + 1):
                wrote[ring.primary(second).id] = second
            ring, now = changed, then
            revoked = {key.id for key in ring.keys if key.revoked is not None}
            opening = {key.id for key in ring.opening(now)}
            for key_id, last in wrote.items():
                if key_id not in revoked and now < last + ring.retention:
                    assert key_id in opening

    @given(happened=events)
    def test_pruning_changes_nothing_that_is_used(
        self, happened: list[tuple[str, int, int]]
    ) -> None:
        ring, now = lived(happened)
        assert ring.pruned(now).opening(now) == ring.opening(now)

    def test_a_key_is_staged_first(self) -> None:
        ring = new_ring(SESSIONS, NOW, retention=300)
        (old,) = ring.keys
        ring = ring.rotated(NOW, activate_in=10)
        new = ring.keys[-1]
        for now, states in [
            (NOW, [State.PRIMARY, State.STAGED]),
            (NOW + 9.9, [State.PRIMARY, State.STAGED]),
            (NOW + 10, [State.RETIRED, State.PRIMARY]),
            (NOW + 309.9, [State.RETIRED, State.PRIMARY]),
            (NOW + 310, [State.EXPIRED, State.PRIMARY]),
        ]:
            assert [ring.state(key, now) for key in ring.keys] == states
        assert ring.next_change(NOW) == NOW + 10
        assert ring.next_change(NOW + 10) == NOW + 310
        assert ring.pruned(NOW + 310).keys == (new,)
        assert old.key not in repr(ring)

    def test_a_second_rotation_waits(self) -> None:
        ring = new_ring(SESSIONS, NOW).rotated(NOW, activate_in=10)
        with pytest.raises(KeyRingError, match="still staged"):
            ring.rotated(NOW + 9)
        assert len(ring.rotated(NOW + 9, force=True).keys) == 3
        assert len(ring.rotated(NOW + 10).keys) == 3

    def test_revoking_on_a_host_whose_clock_is_behind(self) -> None:
        ring, now = lived([])
        ring = ring.rotated(now, activate_in=0)
        now += 10
        new = ring.primary(now)
        revoked = ring.revoked(new.id, now - 5000)
        for at in (now, now - 4000):
            assert revoked.primary(at + 5000).id not in {key.id for key in ring.keys}
        assert revoked.state(revoked.keys[0], now) is not State.PRIMARY

    def test_no_key_is_left_in_an_error(self) -> None:
        whole = lived([])[0].to_json()
        for text in (whole[:-5], whole[:-5].encode() + b"\xff"):
            with pytest.raises(KeyRingError) as raised:
                Ring.from_json(text)
            assert raised.value.__context__ is None

    def test_revoking_the_primary_puts_another_in_its_place(self) -> None:
        ring = new_ring(SESSIONS, NOW)
        (leaked,) = ring.keys
        ring = ring.revoked(leaked.id, NOW + 5)
        assert ring.state(ring.keys[0], NOW + 5) is State.REVOKED
        assert ring.primary(NOW + 5).id != leaked.id
        assert ring.primary(NOW + 5).activates == NOW + 5
        with pytest.raises(KeyRingError, match="none of the keys"):
            ring.revoked(leaked.id, NOW + 6)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("[" * 200_000, "not JSON"),
        ('{"version": 1, "purpose": "sessions", "retention": 1' + "0" * 400 + "}", "retention"),
        ('{"version": 2}', "version"),
        ('{"version": 1}', "what it is for"),
        ('{"version": 1, "purpose": "sessions", "retention": "x"}', "retention"),
        ('{"version": 1, "purpose": "sessions", "retention": 5, "keys": {}}', "list of keys"),
        ('{"version": 1, "purpose": "sessions", "retention": 5, "keys": []}', "not revoked"),
        (
            '{"version": 1, "purpose": "sessions", "retention": 5, "keys": [{"key": "SECRET"}]}',
            "number 0",
        ),
    ],
)
def test_documents_that_are_no_rings(document: str, problem: str) -> None:
    with pytest.raises(KeyRingError, match=problem) as raised:
        Ring.from_json(document)
    assert "SECRET" not in str(raised.value)


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "session-keys.json"
        KeyRing(path).create(new_ring(SESSIONS, time.time()))
        return path

    def rotate(self, path: Path) -> None:
        KeyRing(path).change(lambda ring: ring.rotated(time.time(), force=True))

    def test_a_new_one_is_for_its_owner(self, path: Path) -> None:
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
    def test_one_for_everybody_is_refused(self, path: Path, mode: int) -> None:
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

    def test_a_new_one_made_by_root_is_the_folders_owners(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(tmp_path, 12345, 54321)
        path = tmp_path / "ring.json"
        KeyRing(path).create(new_ring(SESSIONS, time.time()))
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o600)

    def test_a_writer_that_does_not_let_go(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import fcntl

        monkeypatch.setattr("flask_fernet.ring_file._PATIENCE", 0.1)
        with open(path.with_name(path.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(KeyRingError, match="Another writer has held"):
                self.rotate(path)
        self.rotate(path)

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
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
        with pytest.raises(KeyRingError, match="longer than"):
            KeyRing(path).load()

    def test_writers_at_the_same_time_lose_nothing(self, path: Path) -> None:
        threads = [threading.Thread(target=self.rotate, args=(path,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(KeyRing(path).load().keys) == 9

    def test_a_writer_that_dies_at_any_step(self, path: Path) -> None:
        """Every call into the operating system in turn is the last one that is made."""
        script = textwrap.dedent(
            """
            import os, sys, time
            from flask_fernet import KeyRing
            import flask_fernet.ring_file as module
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
            module.fcntl.flock = dying(module.fcntl.flock)
            KeyRing(sys.argv[1]).change(lambda ring: ring.rotated(time.time(), force=True))
            """
        )
        died = 0
        for step in range(1, 40):
            before = KeyRing(path).load()
            command = [sys.executable, "-c", script, str(path), str(step)]
            code = subprocess.run(command, check=False).returncode
            after = KeyRing(path).load()
            assert after in (before,) or after.keys[-2].id == before.keys[-1].id
            assert len(after.keys) - len(before.keys) in (0, 1)
            if code == 0:
                assert len(after.keys) == len(before.keys) + 1
                break
            assert code == 7
            died += 1
        assert died >= 8
        # What a dead writer left does not stand in the way.
        self.rotate(path)


class TestSessions:
    @pytest.fixture
    def ring(self, tmp_path: Path) -> KeyRing:
        ring = KeyRing(tmp_path / "session-keys.json")
        ring.create(new_ring(SESSIONS, time.time() - 100))
        return ring

    def app(self, tmp_path: Path, **config: Any) -> Flask:
        app = ring_app(tmp_path, **config)
        EncryptedSessionInterface(app)
        return app

    def test_a_rotation_is_followed_without_a_restart(self, tmp_path: Path, ring: KeyRing) -> None:
        app = self.app(tmp_path)
        client = app.test_client()
        (first,) = ring.load().keys
        assert maker_of(write(client, a=1), ring) == first.id
        second = ring.change(lambda ring: ring.rotated(time.time(), activate_in=1)).keys[-1]
        # Staged: it opens, and the first still writes.
        other = app.test_client()
        other.set_cookie("session", OracleFernet(second.key).encrypt(b'{"a":2}').decode())
        assert other.get("/read").text == "{'a': 2}"
        assert maker_of(write(client, a=1), ring) == first.id
        until(lambda: maker_of(write(client, a=1), ring) == second.id)
        # The first goes on opening, and what is used is written again under the second.
        old = app.test_client()
        old.set_cookie("session", OracleFernet(first.key).encrypt(b'{"a":3}').decode())
        response = old.get("/read")
        assert response.text == "{'a': 3}"
        assert maker_of(token_of(set_cookie(response)), ring) == second.id

    def test_a_revoked_key_is_out_within_two_seconds(self, tmp_path: Path, ring: KeyRing) -> None:
        app = self.app(tmp_path)
        client = app.test_client()
        token = write(client, a=1)
        (leaked,) = ring.load().keys
        ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
        began = time.monotonic()

        def refused() -> bool:
            fresh = app.test_client()
            fresh.set_cookie("session", token)
            return fresh.get("/read").text == "{}"

        until(refused)
        assert time.monotonic() - began < 2
        interface: Any = app.session_interface
        assert interface.rejections[Reason.UNAUTHENTIC] >= 1

    def test_an_unknown_token_makes_a_worker_look_at_once(
        self, tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.following.INTERVAL", 3600.0)
        monkeypatch.setattr("flask_fernet.sources.INTERVAL", 3600.0)
        app = self.app(tmp_path)
        app.test_client().get("/read")
        new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
        client = app.test_client()
        client.set_cookie("session", OracleFernet(new.key).encrypt(b'{"a":1}').decode())
        assert client.get("/read").text == "{'a': 1}"

    def test_unknown_tokens_do_not_keep_a_worker_looking(
        self, tmp_path: Path, ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from flask_fernet import following
        from flask_fernet.ring_file import RingFile

        looks = 0
        fingerprint = RingFile.fingerprint

        def counted(file: RingFile) -> object:
            nonlocal looks
            looks += 1
            return fingerprint(file)

        monkeypatch.setattr(RingFile, "fingerprint", counted)
        clock.freeze_monotonic()
        app = self.app(tmp_path)
        client = app.test_client()
        client.get("/read")
        client.set_cookie(
            "session", OracleFernet(OracleFernet.generate_key()).encrypt(b"{}").decode()
        )
        for _ in range(following._MOST_LOOKS + 50):
            assert client.get("/read").text == "{}"
        assert looks == following._MOST_LOOKS + 1
        # And after the next look that is due it may look again.
        clock.monotonic += following.INTERVAL
        for _ in range(3):
            client.get("/read")
        assert looks == following._MOST_LOOKS + 4

    def test_a_worker_that_meets_a_new_key_does_not_write_under_the_revoked_one(
        self, tmp_path: Path, ring: KeyRing
    ) -> None:
        behind, ahead = self.app(tmp_path), self.app(tmp_path)
        write(behind.test_client(), a=0)
        (leaked,) = ring.load().keys
        ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
        time.sleep(1.1)
        token = write(ahead.test_client(), a=1)
        # Its keys would be good for another moment, had it not met this token.
        client = behind.test_client()
        client.set_cookie("session", token)
        assert client.get("/read").text == "{'a': 1}"
        assert maker_of(write(client, a=2), ring) == ring.load().keys[-1].id

    def test_a_child_forked_while_another_thread_looks(self, tmp_path: Path, ring: KeyRing) -> None:
        app = self.app(tmp_path)
        client = app.test_client()
        token = write(client, a=1)
        interface: Any = app.session_interface
        (followed,) = interface._sources._rings.values()
        with followed._lock:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    (leaked,) = ring.load().keys
                    ring.change(lambda ring: ring.revoked(leaked.id, time.time()))
                    time.sleep(1.1)
                    other = app.test_client()
                    other.set_cookie("session", token)
                    code = 0 if other.get("/read").text == "{}" else 2
                finally:
                    os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    @pytest.mark.parametrize("first", ["keys", "secret-key"])
    def test_a_rolling_deploy_to_a_ring(self, tmp_path: Path, ring: KeyRing, first: str) -> None:
        old: dict[str, Any] = {"SECRET_KEY": SECRET}
        if first == "keys":
            old = {"SESSION_ENCRYPTION_KEYS": [Fernet.generate_key()]}
        both = {**old, "SESSION_ENCRYPTION_KEYRING": "session-keys.json"}
        steps = [
            old,
            {**both, "SESSION_ENCRYPTION_ACCEPT": ["keyring"]},
            {**both, "SESSION_ENCRYPTION_ACCEPT": [first]},
            {"SESSION_ENCRYPTION_KEYRING": "session-keys.json"},
        ]
        workers = []
        for config in steps:
            app = add_views(Flask(__name__, instance_path=str(tmp_path)))
            app.config.update(config)
            EncryptedSessionInterface(app)
            workers.append(app)
        cookie = write(workers[0].test_client(), count=0)
        count = 0
        for before, after in itertools.pairwise(workers):
            for worker in (before, after, before, after, after):
                client = worker.test_client()
                client.set_cookie("session", cookie)
                assert client.get("/read").text == f"{{'count': {count}}}"
                count += 1
                cookie = write(client, count=count)
        assert maker_of(cookie, ring)

    def test_a_ring_that_is_set_and_not_used(
        self, tmp_path: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.app(tmp_path, SESSION_ENCRYPTION_KEYS=[Fernet.generate_key()])
        assert "'keyring' is set, and neither writes nor opens" in caplog.text

    @pytest.mark.parametrize(
        "damage",
        [
            "empty",
            "truncated",
            "wrong",
            "huge",
            "open",
            "gone",
            "other purpose",
            "deep",
            "lenient key",
            "pipe",
        ],
    )
    def test_a_damaged_ring(
        self, tmp_path: Path, ring: KeyRing, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = self.app(tmp_path)
        client = app.test_client()
        write(client, a=1)
        path = tmp_path / "session-keys.json"
        whole = path.read_bytes()
        errors: list[Any] = []

        def note(_: object, error: Any) -> None:
            errors.append(error)

        keyring_unreadable.connect(note)
        if damage == "gone":
            path.unlink()
        elif damage == "open":
            path.chmod(0o644)
        elif damage == "pipe":
            path.unlink()
            os.mkfifo(path, 0o600)
        else:
            path.write_bytes(
                {
                    "empty": b"",
                    "truncated": whole[:-50],
                    "wrong": b'{"version": 1, "purpose": 5}',
                    "huge": b" " * (1 << 21),
                    "other purpose": whole.replace(b'"sessions"', b'"data"'),
                    "deep": b"[" * 200_000,
                    "lenient key": whole.replace(b'=",', b'=\\n",'),
                }[damage]
            )
        # A worker that has it goes on.
        until(lambda: client.get("/read").text == "{'a': 1}" and errors)
        assert len([r for r in caplog.records if "Keeping the keys" in r.message]) == 1
        assert json.loads(whole)["keys"][0]["key"] not in caplog.text
        write(client, a=2)
        # One that starts now says so, and makes no key.
        before = sorted(tmp_path.iterdir())
        with pytest.raises(ConfigurationError, match="SESSION_ENCRYPTION_KEYRING"):
            self.app(tmp_path)
        assert sorted(tmp_path.iterdir()) == before
        # Mended, it is followed again.
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
        path.chmod(0o600)
        new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
        until(lambda: maker_of(write(client, a=1), ring) == new.id)

    def test_a_ring_for_something_else(self, tmp_path: Path) -> None:
        KeyRing(tmp_path / "session-keys.json").create(new_ring("data", time.time()))
        with pytest.raises(ConfigurationError, match="one purpose"):
            self.app(tmp_path)

    def test_moving_from_the_secret_key(self, tmp_path: Path, ring: KeyRing) -> None:
        token = OracleFernet(derived_key(SECRET.encode())).encrypt(b'{"a":1}').decode()
        for accept, text in ([], "{}"), (["secret-key"], "{'a': 1}"):
            app = self.app(tmp_path, SECRET_KEY=SECRET, SESSION_ENCRYPTION_ACCEPT=accept)
            client = app.test_client()
            client.set_cookie("session", token)
            response = client.get("/read")
            assert response.text == text
        assert maker_of(token_of(set_cookie(response)), ring)

    def test_a_ring_kept_elsewhere(self, tmp_path: Path) -> None:
        """A store of the app's own."""

        class Memory:
            document: bytes | None = None

            def load(self) -> bytes:
                if self.document is None:
                    raise KeyRingError("There is none.")
                return self.document

            def compare_and_set(self, expected: bytes | None, document: bytes) -> bool:
                same = self.document == expected
                self.document = document if same else self.document
                return same

            def fingerprint(self) -> object:
                return self.document

        keyring = KeyRing(Memory(), secrets=["a secret of more than sixteen bytes"])
        app = add_views(Flask(__name__, instance_path=str(tmp_path)))
        app.config["SESSION_ENCRYPTION_KEYRING"] = keyring
        with pytest.raises(ConfigurationError, match="There is none"):
            EncryptedSessionInterface(app)
        app.session_interface = EncryptedSessionInterface()
        app.secret_key = None
        succeed(app, "ring", "init")
        token = write(app.test_client(), a=1)
        succeed(app, "ring", "rotate", "--activate-in", "0")
        assert len(keyring.load().keys) == 2
        succeed(app, "ring", "rewrap")
        assert maker_of(token, keyring) == keyring.load().keys[0].id
        succeed(app, "doctor")

    def test_a_revoked_key_that_was_taken_over(self, tmp_path: Path) -> None:
        """It does not come back through the source that it was taken over from."""
        app = add_views(Flask(__name__, instance_path=str(tmp_path)))
        app.secret_key = "a secret of more than sixteen bytes"
        app.session_interface = EncryptedSessionInterface()
        token = write(app.test_client(), a=1)
        app.config["SESSION_ENCRYPTION_KEYRING"] = "session-keys.json"
        succeed(app, "ring", "init", "--import")
        app.config["SESSION_ENCRYPTION_ACCEPT"] = ["secret-key"]
        client = app.test_client()
        client.set_cookie("session", token)
        assert client.get("/read").text == "{'a': 1}"
        keyring = KeyRing(tmp_path / "session-keys.json")
        (taken_over,) = keyring.load().keys
        keyring.change(lambda ring: ring.revoked(taken_over.id, time.time()))

        def refused() -> bool:
            client.set_cookie("session", token)
            return bool(client.get("/read").text == "{}")

        until(refused)


class TestData:
    def test_follows_its_ring(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path / "data-keys.json")
        ring.create(new_ring("data", time.time() - 100))
        fernet = ring.fernet()
        token = fernet.encrypt(b"a secret")
        (first,) = ring.load().keys
        assert fernet.key_id(token) == first.id
        new = ring.change(lambda ring: ring.rotated(time.time(), activate_in=0)).keys[-1]
        assert fernet.decrypt(OracleFernet(new.key).encrypt(b"new")) == b"new"
        assert fernet.decrypt(token) == b"a secret"
        assert fernet.key_id(fernet.rotate(token)) == new.id
        assert fernet.key_id(OracleFernet(OracleFernet.generate_key()).encrypt(b"")) is None
        with pytest.raises(InvalidToken):
            fernet.decrypt(b"no token")

    def test_not_from_a_ring_for_sessions(self, tmp_path: Path) -> None:
        ring = KeyRing(tmp_path / "session-keys.json")
        ring.create(new_ring(SESSIONS, time.time()))
        with pytest.raises(KeyRingError, match="ring of its own"):
            ring.fernet()
