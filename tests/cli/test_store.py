"""``flask fernet store``."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_fernet import EncryptedSessionInterface, Fernet
from flask_fernet.sessions import maintenance
from flask_fernet.stores.memory import MemoryStore
from tests.commands import run, succeed
from tests.storing import add_storing_views, cookie_of, with_cookie

GOOD_SECRET = "Vw3iLr-9xkQ2c8mTn5bYpE7sAfUzJhGd"

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = add_storing_views(Flask(__name__, instance_path=str(tmp_path)))
    app.secret_key = GOOD_SECRET
    app.config["SESSION_STORE"] = f"sqlite:///{tmp_path}/sessions.db"
    app.session_interface = EncryptedSessionInterface()
    return app


@pytest.fixture
def created(app: Flask) -> Flask:
    """The app with its tables."""
    succeed(app, "store", "create")
    return app


def logged_in(app: Flask, user: str) -> Any:
    client = app.test_client()
    assert client.get(f"/login/{user}").status_code == 200
    return client


def test_create_makes_the_tables_once(app: Flask) -> None:
    assert app.test_client().get("/login/1").status_code == 500
    # The store is asked again a second later.
    time.sleep(1.1)
    assert succeed(app, "store", "create") == (
        "Created flask_fernet_sessions and flask_fernet_revocations.\n"
    )
    assert succeed(app, "store", "create") == "There is nothing to create.\n"
    assert json.loads(succeed(app, "store", "create", "--json")) == {"created": []}
    assert logged_in(app, "1").get("/read").text != "{}"


def test_stats_count_sessions_and_keys(created: Flask) -> None:
    for user in ("1", "1", "2"):
        logged_in(created, user)
    found = json.loads(succeed(created, "store", "stats", "--json"))
    assert (found["live"], found["expired"]) == (3, 0)
    assert found["size"] > 300
    assert found["keys"] == {"SECRET_KEY": 3}
    shown = succeed(created, "store", "stats")
    assert "live" in shown
    assert "under SECRET_KEY" in shown


def test_a_command_may_take_longer_than_a_request(created: Flask) -> None:
    succeed(created, "store", "stats")
    interface: Any = created.session_interface
    assert interface._policy(created).storage.store._timeout == 60


def test_list_shows_the_sessions_of_a_user(created: Flask) -> None:
    logged_in(created, "7").post("/write", json={"agent": "phone"})
    created.test_client().post("/write", json={"_user_id": 7})
    found = json.loads(succeed(created, "store", "list", "7", "--json"))
    assert len(found) == 2
    assert set(found[0]) == {"handle", "created", "last_used", "expires"}
    shown = succeed(created, "store", "list", "7", "--show")
    assert found[0]["handle"] in shown
    assert "'agent': 'phone'" in shown
    assert "phone" not in succeed(created, "store", "list", "7")
    assert "phone" in succeed(created, "store", "list", "7", "--show", "--json")
    assert succeed(created, "store", "list", "8") == "There is no session of this user.\n"


def test_revoke_ends_a_user_a_session_or_all(created: Flask) -> None:
    first, second = logged_in(created, "1"), logged_in(created, "1")
    other, last = logged_in(created, "2"), logged_in(created, "3")
    listed = json.loads(succeed(created, "store", "list", "2", "--json"))
    (handle,) = [one["handle"] for one in listed]
    assert succeed(created, "store", "revoke", "1") == "Ended 2 sessions.\n"
    assert succeed(created, "store", "revoke", "--handle", handle) == "Ended 1 session.\n"
    again = run(created, "store", "revoke", "--handle", handle, "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (1, {"ended": 0})
    assert last.get("/read").text != "{}"
    refused = run(created, "store", "revoke", "--all", input="n\n")
    assert refused.exit_code == 1
    assert last.get("/read").text != "{}"
    assert json.loads(succeed(created, "store", "revoke", "--all", "--json")) == {"ended": 1}
    for client in (first, second, other, last):
        assert client.get("/read").text == "{}"
    for wrong in ([], ["1", "--all"], ["1", "--handle", handle]):
        result = run(created, "store", "revoke", *wrong)
        assert result.exit_code == 2
        assert "only one of them" in result.stderr


def test_purge_removes_what_expired_in_batches(
    created: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PAUSE", 0)
    for user in range(5):
        logged_in(created, str(user))
    interface: Any = created.session_interface
    store = interface._policy(created).storage.store.store
    with store._runner.engine().connect() as connection:
        connection.exec_driver_sql("UPDATE flask_fernet_sessions SET expires = 5")
    logged_in(created, "kept")
    assert json.loads(succeed(created, "store", "purge", "--batch", "2", "--json")) == {"purged": 5}
    assert succeed(created, "store", "purge") == "Purged 0 sessions.\n"
    assert store.statistics().live == 1


def test_reencrypt_moves_every_session_to_the_newest_key(created: Flask) -> None:
    third = Fernet.generate_key()
    created.config["SESSION_ENCRYPTION_KEYS"] = [OLD]
    clients = [logged_in(created, user) for user in "12"]
    created.config["SESSION_ENCRYPTION_KEYS"] = [NEW, OLD]
    logged_in(created, "3")
    first = json.loads(succeed(created, "store", "reencrypt", "--json"))
    moved_from = {"SESSION_ENCRYPTION_KEYS[1]": 2}
    assert first == {"moved": moved_from, "newest": 1, "unreadable": 0}
    created.config["SESSION_ENCRYPTION_KEYS"] = [third, NEW, OLD]
    assert "moved from SESSION_ENCRYPTION_KEYS[1]: 3" in succeed(created, "store", "reencrypt")
    created.config["SESSION_ENCRYPTION_KEYS"] = [NEW, third, OLD]
    succeed(created, "store", "reencrypt")
    created.config["SESSION_ENCRYPTION_KEYS"] = [NEW, OLD]
    second = json.loads(succeed(created, "store", "reencrypt", "--json"))
    assert second == {"moved": {}, "newest": 3, "unreadable": 0}
    assert "under the newest key already: 3" in succeed(created, "store", "reencrypt")
    # They are found, and opened by cookies under the old key.
    for client in clients:
        assert client.get("/read").text != "{}"
    found = json.loads(succeed(created, "store", "list", "1", "--json"))
    assert len(found) == 1
    created.config["SESSION_ENCRYPTION_KEYS"] = [Fernet.generate_key()]
    assert "under no key of the app: 3" in succeed(created, "store", "reencrypt")
    assert json.loads(succeed(created, "store", "stats", "--json"))["keys"] == {
        "no key of the app": 3
    }


def test_a_session_that_is_used_meanwhile_is_not_lost(created: Flask) -> None:
    created.config["SESSION_ENCRYPTION_KEYS"] = [OLD]
    client = logged_in(created, "1")
    created.config["SESSION_ENCRYPTION_KEYS"] = [NEW, OLD]
    interface: Any = created.session_interface
    store = interface._policy(created).storage.store.store
    replace, cookie = store.replace, cookie_of(client)

    def meanwhile(*arguments: Any) -> Any:
        store.replace = replace
        with_cookie(created, cookie).post("/write", json={"a": 1})
        return replace(*arguments)

    store.replace = meanwhile
    assert json.loads(succeed(created, "store", "reencrypt", "--json"))["moved"]
    assert "'a': 1" in client.get("/read").text


def test_inspect_looks_into_the_store(created: Flask) -> None:
    created.config["SESSION_ENCRYPTION_KEYS"] = [OLD]
    client = logged_in(created, "1")
    cookie = cookie_of(client) or ""
    created.config["SESSION_ENCRYPTION_KEYS"] = [NEW, OLD]
    said = json.loads(succeed(created, "inspect", "--json", "--show", cookie))
    assert said["record key"] == said["key"] == "SESSION_ENCRYPTION_KEYS[1]"
    assert said["contents"]["_user_id"] == "1"
    (listed,) = json.loads(succeed(created, "store", "list", "1", "--json"))
    assert said["handle"] == listed["handle"]
    client.get("/read")
    moved = json.loads(succeed(created, "inspect", "--json", cookie_of(client) or ""))
    assert moved["record key"] == moved["key"] == "SESSION_ENCRYPTION_KEYS[0]"
    assert "contents" not in moved
    assert "record key:    " in succeed(created, "inspect", cookie)
    client.get("/regenerate")
    former = run(created, "inspect", cookie)
    assert former.exit_code == 1
    assert "superseded" in former.stdout
    created.config["SESSION_STORE"] = None
    assert "refused:" in run(created, "inspect", cookie).stdout
    data = cookie_written(created)
    created.config["SESSION_STORE"] = MemoryStore()
    assert "not accepted" in run(created, "inspect", data).stdout


def cookie_written(app: Flask) -> str:
    client = app.test_client()
    client.post("/write", json={"a": 1})
    return cookie_of(client) or ""


def test_failures_have_one_line_and_status_one(app: Flask, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], list[str], str]] = [
        ({"SESSION_STORE": None}, ["stats"], "set SESSION_STORE"),
        ({"SESSION_STORE": MemoryStore()}, ["create"], "a store without tables"),
        ({"SESSION_STORE": "redis://127.0.0.1:1"}, ["stats"], "no connection"),
        ({"SESSION_STORE": "redis://127.0.0.1:1"}, ["revoke", "1"], "no connection"),
        ({"SESSION_STORE": f"sqlite:///{tmp_path}/none.db"}, ["stats"], "fernet store create"),
        ({"SESSION_STORE": f"sqlite:///{tmp_path}/no/no.db"}, ["create"], "No such file"),
    ]
    for config, arguments, message in cases:
        app.config.update(config)
        result = run(app, "store", *arguments)
        assert result.exit_code == 1, arguments
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_an_app_checks_its_tables_when_it_starts(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    from click import Command, Context

    from flask_fernet import ConfigurationError

    with pytest.raises(ConfigurationError, match="no table flask_fernet_sessions"):
        EncryptedSessionInterface(app)
    with Context(Command("run"), info_name="run"), pytest.raises(ConfigurationError):
        EncryptedSessionInterface(app)
    # Not in the command that may make them, such as `flask db upgrade`.
    with Context(Command("upgrade"), info_name="upgrade"):
        EncryptedSessionInterface(app)
    assert "no table flask_fernet_sessions" in caplog.text
    caplog.clear()
    # A store that is away does not keep an app from starting.
    app.config["SESSION_STORE"] = "postgresql+psycopg://127.0.0.1:1/none"
    EncryptedSessionInterface(app)
    assert "does not answer" in caplog.text


def test_the_doctor_looks_at_the_store(app: Flask, tmp_path: Path) -> None:
    result = run(app, "doctor", "--json")
    checks = json.loads(result.stdout)["checks"]
    assert [one["verdict"] for one in checks if one["name"] == "SESSION_STORE"] == ["fail"]
    succeed(app, "store", "create")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/sessions.db"
    said = json.loads(run(app, "doctor", "--json").stdout)
    found = [one for one in said["checks"] if one["name"] == "SESSION_STORE"]
    assert [one["verdict"] for one in found] == ["ok", "fail"]
    assert "has its tables, sqlite answers" in found[0]["message"]
    assert "a file of their own" in found[1]["message"]
    assert said["in_force"]["store"] == {
        "kind": "SQLStore (sqlite)",
        "holds_new_sessions": True,
        "user_key": "_user_id",
        "user_limit": None,
        "when_away": "raise",
    }
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/app.db"
    assert "SQLStore (sqlite)" in succeed(app, "doctor")
    app.config["SESSION_STORE"] = MemoryStore()
    assert "keeps sessions in one process" in run(app, "doctor").stdout


def test_progress_is_shown_on_a_terminal(created: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    command = importlib.import_module("flask_fernet.cli.store")
    logged_in(created, "1")
    shown: list[tuple[str, int]] = []

    class Bar:
        def __init__(self, length: int, label: str, file: object) -> None:
            shown.append((label, length))

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, number: int) -> None:
            shown.append(("update", number))

    monkeypatch.setattr("click.progressbar", Bar)
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    succeed(created, "store", "reencrypt")
    assert shown == [("Reading", 1), ("update", 1)]


def test_sessions_that_end_meanwhile_are_not_counted(created: Flask) -> None:
    logged_in(created, "1")
    interface: Any = created.session_interface
    store = interface._policy(created).storage.store.store
    addresses = store.addresses

    def with_one_that_has_gone() -> Any:
        yield b"g" * 32
        yield from addresses()

    store.addresses = with_one_that_has_gone
    counted = json.loads(succeed(created, "store", "stats", "--json"))
    assert counted["keys"] == {"SECRET_KEY": 1}
    moved = json.loads(succeed(created, "store", "reencrypt", "--json"))
    assert moved == {"moved": {}, "newest": 1, "unreadable": 0}


def test_a_store_with_the_least_methods(app: Flask) -> None:
    class Least:
        inner = MemoryStore()
        read, create, replace, delete = inner.read, inner.create, inner.replace, inner.delete

    app.config["SESSION_STORE"] = Least()
    assert "must be a store with the methods of Maintained" in run(app, "store", "stats").stderr
    said = run(app, "doctor").stdout
    assert "a Least, which has no checks of its own" in said
    assert "nobody can be logged out everywhere" in said
    listed = run(app, "store", "list", "00000000-0000-0000-0000-000000000001")
    assert "finds the sessions of a user" in listed.stderr
