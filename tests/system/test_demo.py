"""Runs the demo in a real server with two workers, over HTTP."""

from __future__ import annotations

import ast
import http.client
import os
import re
import socket
import stat
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet as OracleFernet
from flask import Flask

from flask_fernet import KeyRing
from tests.ports import free_port
from tests.servers import RedisServer, program, running
from tests.system.serving import serving

ROOT = Path(__file__).parents[2]


class Browser:
    """A minimal browser. It opens one connection per request, so that any worker may answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def fetch(self, method: str, path: str, **form: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Cookie": self.cookie} if self.cookie else {}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urllib.parse.urlencode(form), headers)
        response = connection.getresponse()
        if header := response.headers["Set-Cookie"]:
            self.cookie = header.partition(";")[0]
        response.text = response.read().decode()  # type: ignore[attr-defined]
        connection.close()
        return response

    def workers_that_know(self, text: str) -> set[str]:
        """Requests the session until both workers have answered."""
        workers: set[str] = set()
        # On a busy machine, one worker may start long before the other.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            response = self.fetch("GET", "/session")
            assert response.status == 200
            assert text in response.text  # type: ignore[attr-defined]
            workers.add(response.headers["X-Worker"])
            if len(workers) == 2:
                return workers
        raise AssertionError(f"only {workers} answered")


@contextmanager
def server(instance: Path, port: int, store: str = "") -> Iterator[None]:
    """Runs the demo as `make demo STORE=…` starts it."""
    environment = {**os.environ, "ARTICLE_INSTANCE": str(instance)}
    subprocess.run([sys.executable, "-m", "examples.article.keys"], env=environment, check=True,
                   cwd=ROOT)  # fmt: skip
    command = [sys.executable, "-m", "examples.article.store", store, sys.executable, "-m",
               "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", "--log-level",
               "warning", "examples.article.app:create_server()"]  # fmt: skip
    with serving(command, port, ARTICLE_INSTANCE=str(instance)):
        yield


@pytest.fixture
def port() -> int:
    return free_port()


def test_the_demo_runs_in_a_real_server(tmp_path: Path, port: int) -> None:
    instance = tmp_path / "instance"
    browser = Browser(port)
    with server(instance, port):
        assert browser.fetch("GET", "/session").status == 302
        response = browser.fetch("POST", "/login", username="ada", theme="dark")
        assert (response.status, response.headers["Location"]) == (302, "/cookie")
        workers = browser.workers_that_know("ada@example.org")
        page = browser.fetch("GET", "/cookie").text  # type: ignore[attr-defined]
        assert page.count("ada@example.org") == 1  # Only Flask's column shows it.

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in instance.iterdir()}
    locks = {name for name in modes if "lock" in name}
    assert {name: mode for name, mode in modes.items() if name not in locks} == {
        "session-keys.json": 0o600,
        "article.key": 0o600,
    }
    (key,) = KeyRing(instance / "session-keys.json").load().keys
    sessions_key = key.key.encode()
    payload = OracleFernet(sessions_key).decrypt(browser.cookie.partition("=")[2])
    assert b'"email":"ada@example.org"' in payload
    assert sessions_key != (instance / "article.key").read_bytes()

    with server(instance, port):
        forged = Browser(port)
        forged.cookie = "session=abc"
        assert forged.fetch("GET", "/cookie").headers["Location"] == "/login"
        assert not workers & browser.workers_that_know("ada@example.org")
        assert browser.fetch("POST", "/logout").headers["Location"] == "/login"
        assert browser.cookie == "session="
        assert browser.fetch("GET", "/session").status == 302
    assert len(KeyRing(instance / "session-keys.json").load().keys) == 1


def test_the_articles_code_is_as_it_stands() -> None:
    """The article's code also runs with `cryptography`, after a change of one import."""
    source = (ROOT / "examples/article/article.py").read_text()
    changed = source.replace(
        "from flask_fernet import Fernet", "from cryptography.fernet import Fernet"
    )
    assert changed != source
    defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert defined == {"encrypt_data", "decrypt_data", "update_session"}
    for text in (source, changed):
        module: dict[str, object] = {"__name__": "article"}
        exec(compile(text, "article.py", "exec"), module)
        from flask import Flask, session

        app = Flask("article")
        app.secret_key = "the secret of a test of the article"
        with app.test_request_context():
            module["update_session"](1, "ada_lovelace", 99)  # type: ignore[operator]
            token = session[str(module["SESSION_ID_KEY"])]
            assert module["decrypt_data"](token) == "1_ada_lovelace_99"  # type: ignore[operator]


def test_nothing_secret_is_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        if name.startswith(("tests/", "docs/")) or not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text(errors="replace")
        assert not re.search(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}=(?![A-Za-z0-9_=-])", text), name


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the demo's app, with keys of its own."""
    from examples.article import app, keys

    monkeypatch.setattr(keys, "INSTANCE", tmp_path / "instance")
    keys.make_keys()
    return app


def test_no_page_of_the_demo_is_missing_or_bare(demo: Any) -> None:
    app: Flask = demo.create_app()

    @app.get("/broken")
    def broken() -> str:
        raise LookupError("a detail that nobody needs")

    client = app.test_client()
    assert client.get("/favicon.ico").status_code == 204
    assert client.post("/login", data={}).status_code == 200
    for method, path, status in (
        ("GET", "/missing", 404), ("GET", "/logout", 405), ("GET", "/broken", 500),
    ):  # fmt: skip
        response = client.open(path, method=method)
        assert response.status_code == status
        assert "Back to the start" in response.text
        assert "a detail" not in response.text
    client.post("/login", data={"username": "ada"})
    for method, path, data in (
        ("GET", "/cookie?letter=-5", {}), ("GET", "/cookie?letter=999999", {}),
        ("GET", "/cookie?letter=x", {}), ("POST", "/session/notes", {"size": "many"}),
        ("POST", "/session/notes", {"size": "-1"}), ("POST", "/session/settings", {"format": "x"}),
        ("POST", "/session/time", {"minutes": "x"}), ("POST", "/sessions/end", {"handle": "x"}),
        ("POST", "/sessions/second", {}), ("POST", "/sessions/end-others", {}),
        ("POST", "/sessions/end-all", {}),
    ):  # fmt: skip
        response = client.open(path, method=method, data=data, follow_redirects=True)
        assert response.status_code == 200, path
    assert client.post("/session/notes", data={"size": "99999"}).status_code == 413
    cookie = client.get_cookie("session")
    assert cookie is not None
    valid = cookie.value
    for header in (f"session=A; session={valid}", f"session=====; session={valid}"):
        response = app.test_client(use_cookies=False).get("/cookie", headers={"Cookie": header})
        assert (response.status_code, "Load it" in response.text) == (200, True), header
    for value in (cookie.value.rstrip("="), cookie.value.replace("=", "%3D")):
        client.set_cookie("session", value)
        page = client.get("/cookie")
        assert (page.status_code, "bytes of data" in page.text) == (200, True)


def test_no_page_of_the_demo_is_bare_if_its_store_is_away(
    demo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(RedisServer) as redis:
        monkeypatch.setenv("ARTICLE_STORE", redis.url)
        app = demo.create_app()
        known, unknown = app.test_client(), app.test_client()
        assert known.post("/login", data={"username": "ada"}).headers["Location"] == "/cookie"
    for path, data in (
        ("/", None), ("/login", None), ("/login", {"username": "ada"}), ("/login", {}),
        ("/cookie", None), ("/sessions", None), ("/logout", {}), ("/missing", None),
    ):  # fmt: skip
        method = "GET" if data is None else "POST"
        response = known.open(path, method=method, data=data)
        assert response.status_code in (500, 503, 404), path
        assert "Back to the start" in response.text, path
        # A browser without a cookie needs no store before it logs in.
        response = unknown.open(path, method=method, data=data)
        assert response.status_code in (200, 302, 404, 500), path
        assert response.status_code != 500 or "Back to the start" in response.text, path


def test_the_demo_does_not_believe_its_controls(demo: Any) -> None:
    from examples.article import controls, keys

    client = demo.create_app().test_client()
    client.post("/login", data={"username": "ada"})
    for wrong in ("[]", "{", '{"format": "x"}', '{"ahead": "soon"}', '{"ahead": -1}', '{"b": 1}'):
        (keys.INSTANCE / "controls.json").write_text(wrong)
        assert controls.load() == controls.Controls()
        assert client.get("/session").status_code == 200
    for _ in range(3):
        client.post("/session/time", data={"minutes": 10**12})
        assert controls.load().ahead == controls.LONGEST
        assert client.get("/session").status_code == 200


def test_a_port_in_use_is_said_in_one_line(port: int) -> None:
    command = [sys.executable, "-m", "examples.article.port", str(port)]
    free = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (free.returncode, free.stderr) == (0, "")
    with socket.create_server(("127.0.0.1", port)):
        used = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert used.returncode == 1
    assert len(used.stderr.splitlines()) == 1
    assert "make demo PORT=8001" in used.stderr


@pytest.mark.parametrize(("version", "code"), [("1.88.0", 2), ("1.89.0", 0), ("1.100.1", 0)])
def test_rust_that_is_too_old_is_refused_at_once(tmp_path: Path, version: str, code: int) -> None:
    rustc = tmp_path / "rustc"
    rustc.write_text(f"#!/bin/sh\necho 'rustc {version} (abc 2026-01-01)'\n")
    rustc.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "tools"], cwd=ROOT, env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("rustup update" in done.stderr) == bool(code)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_the_demo_lists_and_ends_sessions(store: str, tmp_path: Path, port: int) -> None:
    if store == "redis":
        program("redis-server")
    first, second, third = Browser(port), Browser(port), Browser(port)
    with server(tmp_path / "instance", port, store):
        for browser in (first, second, third):
            browser.fetch("POST", "/login", username="ada")
        first.workers_that_know("ada@example.org")
        page = first.fetch("GET", "/sessions").text  # type: ignore[attr-defined]
        assert (page.count("This browser"), page.count("Another browser")) == (1, 2)
        handles = set(re.findall(r'name="handle" value="([^"]+)"', page))
        assert len(handles) == 3
        # One of them, which is not the browser's own.
        theirs = second.fetch("GET", "/sessions").text  # type: ignore[attr-defined]
        own = re.findall(r'This browser.*?value="([^"]+)"', theirs, re.DOTALL)
        first.fetch("POST", "/sessions/end", handle=own[0])
        assert second.fetch("GET", "/session").status == 302
        assert third.fetch("GET", "/session").status == 200
        # A user cannot end the session of another.
        other = Browser(port)
        other.fetch("POST", "/login", username="grace")
        other.fetch("POST", "/sessions/end", handle=(handles - set(own)).pop())
        assert third.fetch("GET", "/session").status == 200
        first.fetch("POST", "/sessions/end-others")
        assert third.fetch("GET", "/session").status == 302
        first.workers_that_know("ada@example.org")
        shown = first.fetch("GET", "/cookie").text  # type: ignore[attr-defined]
        assert shown.count("ada@example.org") == 1


def test_the_demo_says_why_it_cannot_have_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    from examples.article import store

    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(store, "_listens", lambda _: False)
    for name, message in (("redis", "apt-get install redis-server"), ("other", "must be sqlite")):
        with pytest.raises(SystemExit, match=message), store.opened(name):
            pass
    with store.opened("") as url:
        assert url == ""
