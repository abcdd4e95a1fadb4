"""Many threads and forked processes share no session and never draw the same IV twice."""

from __future__ import annotations

import base64
import ctypes
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, session

from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet._core import SessionKeys
from tests.apps import SECRET, NativeOnly, set_cookie, token_of
from tests.system.serving import Note

IVS = 300
#: Returns the IV or the nonce of a new token.
Draw = Callable[[], bytes]


def drawing(kind: str) -> Draw:
    key = Fernet.generate_key()
    if kind == "fernet":
        fernet = Fernet(key)
        return lambda: base64.urlsafe_b64decode(fernet.encrypt(b""))[9:25]
    keys = SessionKeys([("key", key)], "salt", kind)
    return lambda: base64.urlsafe_b64decode(keys.seal(b"{}", 0, "session") + "==")[13:37]


def ivs(draw: Draw, count: int = IVS) -> list[bytes]:
    return [draw() for _ in range(count)]


def forked(fork: Any, draw: Draw, depth: int) -> list[bytes]:
    """Forks, and returns the IVs that this process and its descendants draw after the fork."""
    reader, writer = os.pipe()
    if fork() == 0:
        status = 1
        try:
            os.close(reader)
            drawn = forked(fork, draw, depth - 1) if depth else ivs(draw)
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(drawn, pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    mine = ivs(draw)
    with os.fdopen(reader, "rb") as pipe:
        theirs: list[bytes] = pickle.load(pipe)
    assert os.wait()[1] == 0
    return mine + theirs


LIBC = ctypes.PyDLL(None)
#: Python runs its own fork handlers, libc runs only those of C, and the kernel runs none.
FORKS = {
    "python": os.fork,
    "libc": LIBC.fork,
}
#: The number of the system call clone, by machine.
CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)
if CLONE is not None:
    FORKS["kernel"] = lambda: LIBC.syscall(CLONE, signal.SIGCHLD, 0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["fernet", "xaes-256-gcm"])
@pytest.mark.parametrize("name", FORKS)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forks_never_repeat_an_iv(name: str, kind: str, record_property: Note) -> None:
    draw = drawing(kind)
    before = ivs(draw, 7)  # This fills the pool and uses a part of it.
    drawn = before + forked(FORKS[name], draw, depth=2) + ivs(draw)
    again = len(drawn) - len(set(drawn))
    record_property("observed", f"{name}, {kind}: {len(drawn)} IVs, {again} of them again")
    assert again == 0
    assert len(drawn) == 7 + 5 * IVS


def test_forked_workers_of_an_app_draw_different_ivs() -> None:
    """Workers draw different IVs even if their parent, like gunicorn's, served a request."""
    app = Flask(__name__)
    app.secret_key = SECRET
    app.session_interface = EncryptedSessionInterface()

    @app.get("/")
    def view() -> str:
        session["a"] = 1
        return ""

    app.test_client().get("/")
    pipes = []
    for _ in range(10):
        reader, writer = os.pipe()
        if os.fork() == 0:
            token = token_of(set_cookie(app.test_client().get("/")))
            os.write(writer, token.encode())
            os._exit(0)
        os.close(writer)
        pipes.append(os.fdopen(reader, "rb"))
    tokens = []
    for pipe in pipes:
        with pipe:
            tokens.append(pipe.read())
        os.wait()
    assert len({base64.urlsafe_b64decode(token)[9:25] for token in tokens}) == 10


def test_eight_threads_keep_their_sessions_apart(record_property: Note) -> None:
    app = Flask(__name__)
    app.secret_key = SECRET
    app.session_interface = NativeOnly()

    @app.get("/<int:user>/<int:turn>")
    def view(user: int, turn: int) -> str:
        seen = session.get("user", user), session.get("turn", turn - 1)
        session["user"], session["turn"] = user, turn
        session["bulk"] = [f"{user}-{turn}"] * 20
        return f"{seen[0]} {seen[1]}"

    failures: list[str] = []

    def browse(user: int) -> None:
        client = app.test_client()
        for turn in range(400):
            text = client.get(f"/{user}/{turn}").text
            if text != f"{user} {turn - 1}":
                failures.append(f"user {user}, turn {turn}: {text}")
        with client.session_transaction() as last:
            if last["bulk"] != [f"{user}-399"] * 20:
                failures.append(f"user {user}: {last['bulk']}")

    threads = [threading.Thread(target=browse, args=(user,)) for user in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record_property("observed", f"3,200 requests, {len(failures)} with another's session")
    record_property("lost", len(failures))
    assert failures == []


def test_settings_may_change_under_eight_threads() -> None:
    """Every session stays readable, because its key remains in the settings."""
    app = Flask(__name__)
    app.config["SESSION_ENCRYPTION_KEYS"] = keys = [Fernet.generate_key()]
    app.session_interface = EncryptedSessionInterface()
    stop = threading.Event()
    failures: list[str] = []

    @app.get("/")
    def view() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    def browse() -> None:
        client = app.test_client()
        turn = 0
        while turn < 200 or len(keys) < 10:
            turn += 1
            if client.get("/").text != str(turn):
                failures.append(f"turn {turn}")

    def rotate() -> None:
        while not stop.wait(0.005):
            keys.insert(0, Fernet.generate_key())

    threads = [threading.Thread(target=browse) for _ in range(8)]
    rotating = threading.Thread(target=rotate)
    for thread in [*threads, rotating]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    rotating.join()
    assert failures == []
    assert sum(app.session_interface.rejections.values()) == 0


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("main_first", [False, True])
def test_a_subinterpreter_is_refused(
    isolated: bool, main_first: bool, record_property: Note
) -> None:
    """Legacy ones, which mod_wsgi makes, and isolated ones; and the main one works after them."""
    script = textwrap.dedent(
        f"""
        import os, sys
        main_first, isolated = {main_first}, {isolated}
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
            kind = ["isolated" if isolated else "legacy"]
            made = interpreters.create(*kind)
        else:
            import _xxsubinterpreters as interpreters
            made = interpreters.create(isolated=isolated)
        if main_first:
            import flask_fernet
        reader, writer = os.pipe()
        code = f'''
        import os
        for name in ("flask_fernet", "flask_fernet._core"):
            try:
                __import__(name)
            except ImportError as error:
                os.write({{writer}}, b"refused " if "main interpreter" in str(error) else b"other ")
            else:
                os.write({{writer}}, b"loaded ")
        '''
        interpreters.run_string(made, code)
        print(os.read(reader, 100).decode(), flush=True)
        from flask import Flask
        from tests.apps import add_views, encrypted_app, works
        import flask_fernet
        works(add_views(encrypted_app()))
        try:
            flask_fernet.Fernet(flask_fernet.Fernet.generate_key()).decrypt(b"x")
        except flask_fernet.InvalidToken:
            print("works", flush=True)
        os._exit(0)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout == "refused refused \nworks\n", result.stderr
    kind = "isolated" if isolated else "legacy"
    when = "after" if main_first else "before"
    record_property("observed", f"{kind}, {when} the main one's import: ImportError")
    # The script has opened and saved a session of the main one.
    record_property("lost", 0)
