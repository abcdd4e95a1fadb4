"""Encrypted sessions of a Quart app: what only they can do."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from abc import ABCMeta
from pathlib import Path
from typing import Any

import pytest
from quart import Quart, session
from quart.testing.app import LifespanError

from flask_fernet import (
    ConfigurationError,
    Fernet,
    Reason,
    SessionTooLarge,
    StoreUnavailable,
    session_conflict,
    session_rejected,
    store_unavailable,
)
from flask_fernet.quart import EncryptedSession, EncryptedSessionInterface
from flask_fernet.stores.memory import AsyncMemoryStore, MemoryStore
from tests.quart.apps import cookie_of, quart_app, run, talk, text


class Store(AsyncMemoryStore):
    """Counts what it is asked, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.is_away = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("read", "create", "replace", "delete"):
            self.asked.append(name)
            if self.is_away:
                raise StoreUnavailable(name, "it is away")
        return super().__getattribute__(name)


def with_sessions(app: Quart) -> EncryptedSessionInterface:
    found = app.session_interface
    assert isinstance(found, EncryptedSessionInterface)
    return found


async def log_in(client: Any, user: str = "1") -> None:
    assert await text(client, f"/set/_user_id/{user}") == ""


def test_a_cookie_of_a_flask_app_opens_in_a_quart_app() -> None:
    """They share keys, formats and settings, so that an app can move from one to the other."""
    from tests.apps import add_views, encrypted_app

    flask_client = add_views(encrypted_app()).test_client()

    async def main() -> None:
        client = quart_app().test_client()
        await client.get("/set/key/value")
        cookie = cookie_of(client)
        with flask_client.session_transaction() as ours:
            ours["other"] = 1
        flask_cookie = flask_client.get_cookie("session")
        assert flask_cookie is not None
        client.set_cookie("localhost", "session", flask_cookie.value)
        assert await text(client, "/get/other") == "1"
        flask_client.set_cookie("session", cookie)
        with flask_client.session_transaction() as theirs:
            assert theirs["key"] == "value"

    run(main)


def test_a_stored_session_is_read_once_when_the_request_begins() -> None:
    async def main() -> None:
        store = Store()
        client = quart_app(SESSION_STORE=store).test_client()
        await client.get("/set/key/value")
        assert store.asked == ["create"]
        for path, asked in (
            ("/untouched", ["read"]),
            ("/get/key", ["read"]),
            ("/set/key/value", ["read"]),
            ("/set/key/other", ["read", "replace"]),
        ):
            store.asked.clear()
            await client.get(path)
            assert store.asked == asked, path

    run(main)


def test_a_user_is_logged_out_everywhere() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")
        sessions = with_sessions(app)

        @app.get("/others")
        async def others() -> str:
            return str(await sessions.revoke_user("1", keep_current=True))

        @app.get("/mine")
        async def mine() -> str:
            return repr([one.is_current for one in await sessions.list("1")])

        @app.get("/end")
        async def end() -> str:
            assert isinstance(session._get_current_object(), EncryptedSession)  # type: ignore[attr-defined]
            return repr(await session.revoke())  # type: ignore[attr-defined]

        phone, laptop = app.test_client(), app.test_client()
        await log_in(phone)
        await log_in(laptop)
        assert sorted(await text(laptop, "/mine")) == sorted("[True, False]")
        assert await text(laptop, "/others") == "1"
        assert await text(phone, "/get/_user_id") == "None"
        assert await text(laptop, "/get/_user_id") == "'1'"
        assert await text(laptop, "/end") == "True"
        assert await text(laptop, "/get/_user_id") == "None"
        async with app.app_context():
            assert await sessions.list("1") == []
            await sessions.revoke_all()
            assert await sessions.revoke("no handle") is False
        assert sessions.store_events["ended"] == 2

    run(main)


def test_a_session_in_a_cookie_cannot_be_ended() -> None:
    async def main() -> None:
        app = quart_app()

        @app.get("/end")
        async def end() -> str:
            with pytest.raises(ConfigurationError, match="SESSION_STORE"):
                await session.revoke()  # type: ignore[attr-defined]
            return repr(session.handle)  # type: ignore[attr-defined]

        assert await text(app.test_client(), "/end") == "None"
        with pytest.raises(ConfigurationError, match="SESSION_STORE"):
            await with_sessions(app).list("1", app=app)

    run(main)


def test_a_new_session_of_an_app_with_a_store_is_not_there_to_end() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")

        @app.get("/end")
        async def end() -> str:
            session["key"] = 1
            assert list(session.values()) == [1]
            assert list(session.items()) == [("key", 1)]
            assert list(session.keys()) == ["key"]
            return f"{await session.revoke()} {dict(session)}"  # type: ignore[attr-defined]

        assert await text(app.test_client(), "/end") == "False {}"

    run(main)


def test_the_store_of_a_session_class_without_ghosts_may_be_away() -> None:
    class Meta(ABCMeta):
        pass

    class Odd(EncryptedSession, metaclass=Meta):
        """No ghost can be made of it."""

    class Interface(EncryptedSessionInterface):
        session_class = Odd

    async def main() -> None:
        store = Store()
        app = quart_app(Interface(), SESSION_STORE=store, PROPAGATE_EXCEPTIONS=False)
        client = app.test_client()
        await client.get("/set/key/value")
        assert await text(client, "/get/key") == "'value'"
        store.is_away = True
        # Quart answers with an error of its own; its test client raises this one.
        with pytest.raises(StoreUnavailable):
            await client.get("/untouched")
        store.is_away = False
        await asyncio.sleep(1.1)
        assert await text(client, "/get/key") == "'value'"

    run(main)


def test_a_web_socket_of_a_session_that_cannot_be_read_keeps_nothing() -> None:
    async def main() -> None:
        store = Store()
        app = quart_app(SESSION_STORE=store)

        @app.websocket("/quiet")
        async def quiet() -> None:
            from quart import websocket

            await websocket.accept()
            await websocket.send("ok")

        client = app.test_client()
        await client.get("/set/key/value")
        store.is_away = True
        assert await talk(client, "/quiet") == "ok"
        store.is_away = False
        await asyncio.sleep(1.1)
        assert await text(client, "/get/key") == "'value'"

    run(main)


def test_a_new_session_has_its_handle_before_it_is_stored() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")

        @app.get("/handle")
        async def handle() -> str:
            session["key"] = 1
            return str(session.handle)  # type: ignore[attr-defined]

        client = app.test_client()
        first = await text(client, "/handle")
        assert len(first) == 43
        assert await text(client, "/handle") == first

    run(main)


def test_two_requests_at_once_keep_both_changes() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")
        both = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None

        @app.get("/slow/<key>")
        async def slow(key: str) -> str:
            session[key] = 1
            if both is None:
                await asyncio.sleep(0.2)
            else:
                await both.wait()
            return ""

        outcomes: list[str] = []
        with session_conflict.connected_to(
            lambda _, outcome, **__: outcomes.append(outcome), sender=app
        ):
            client = app.test_client()
            await client.get("/set/first/1")
            cookie = cookie_of(client)
            others = [app.test_client(), app.test_client()]
            for other in others:
                other.set_cookie("localhost", "session", cookie)
            await asyncio.gather(others[0].get("/slow/a"), others[1].get("/slow/b"))
        assert await text(client, "/keys") == "['a', 'b', 'first']"
        assert outcomes == ["merged"]

    run(main)


def test_an_old_cookie_is_worth_nothing_after_a_log_in() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")
        client, thief = app.test_client(), app.test_client()
        await client.get("/set/cart/1")
        thief.set_cookie("localhost", "session", cookie_of(client))
        await log_in(client)
        assert await text(thief, "/get/_user_id") == "None"
        assert await text(client, "/get/cart") == "'1'"

    run(main)


def test_a_refused_cookie_is_counted_and_signalled() -> None:
    async def main() -> None:
        app = quart_app()
        reasons: list[Reason] = []
        with session_rejected.connected_to(
            lambda _, reason, **__: reasons.append(reason), sender=app
        ):
            client = app.test_client()
            client.set_cookie("localhost", "session", "gAAAAnonsense")
            assert await text(client, "/get/key") == "None"
        assert reasons == [Reason.MALFORMED]
        assert with_sessions(app).rejections["malformed"] == 1

    run(main)


def test_a_key_is_rotated_without_a_log_out() -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()

    async def main() -> None:
        app = quart_app(SESSION_ENCRYPTION_KEYS=[old])
        client = app.test_client()
        await client.get("/set/key/value")
        app.config["SESSION_ENCRYPTION_KEYS"] = [new, old]
        response = await client.get("/get/key")
        assert "Set-Cookie" in response.headers
        app.config["SESSION_ENCRYPTION_KEYS"] = [new]
        assert await text(client, "/get/key") == "'value'"

    run(main)


def test_a_store_that_is_away_logs_nobody_out() -> None:
    async def main() -> None:
        store = Store()
        app = quart_app(SESSION_STORE=store, PROPAGATE_EXCEPTIONS=False)
        client = app.test_client()
        await client.get("/set/key/value")
        store.is_away = True
        seen: list[str] = []
        with store_unavailable.connected_to(
            lambda _, operation, **__: seen.append(operation), sender=app
        ):
            response = await client.get("/get/key")
            # The breaker answers at once.
            await client.get("/get/key")
            assert (await client.get("/untouched")).status_code == 200
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert "Set-Cookie" not in response.headers
        assert seen == ["read"] * 3
        assert with_sessions(app).store_events["breaker"] == 2
        store.is_away = False
        await asyncio.sleep(1.1)
        assert await text(client, "/get/key") == "'value'"

    run(main)


def test_an_app_may_go_on_without_its_store() -> None:
    async def main() -> None:
        store = Store()
        client = quart_app(SESSION_STORE=store, SESSION_STORE_ERRORS="readonly").test_client()
        await client.get("/set/key/value")
        store.is_away = True
        assert await text(client, "/get/key") == "None"
        assert await text(client, "/set/key/lost") == ""
        store.is_away = False
        await asyncio.sleep(1.1)
        assert await text(client, "/get/key") == "'value'"

    run(main)


def test_a_session_class_without_a_dict_of_its_own_is_refused() -> None:
    class Interface(EncryptedSessionInterface):
        session_class = dict  # type: ignore[assignment]

    async def main() -> None:
        app = quart_app(Interface(), SESSION_STORE="memory://")
        other = quart_app(SESSION_STORE=app.config["SESSION_STORE"])
        store = AsyncMemoryStore()
        app.config["SESSION_STORE"] = other.config["SESSION_STORE"] = store
        client = other.test_client()
        await client.get("/set/key/value")
        async with app.test_request_context(
            "/", headers={"Cookie": f"session={cookie_of(client)}"}
        ):
            pass

    with pytest.raises(ConfigurationError, match="session_class"):
        run(main)


def test_a_web_socket_changes_a_stored_session() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")
        client = app.test_client()
        await client.get("/set/key/value")
        assert await talk(client, "/ws/other/1") == "None"
        assert await talk(client, "/ws/other/2") == "'1'"
        assert await text(client, "/keys") == "['key', 'other']"
        # A log-out needs no cookie.
        await talk(client, "/ws/clear")
        assert await text(client, "/keys") == "[]"

    run(main)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({}, "/ws/other/1"),
        # A log-in needs a new cookie.
        ({"SESSION_STORE": "memory://"}, "/ws/_user_id/1"),
    ],
)
def test_what_a_web_socket_cannot_keep_is_logged(
    config: dict[str, Any], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        client = quart_app(**config).test_client()
        await client.get("/set/key/value")
        with caplog.at_level(logging.ERROR, "flask_fernet"):
            await talk(client, path)
        assert "WebSocket" in caplog.text
        assert await text(client, "/keys") == "['key']"

    run(main)


def test_a_session_is_ended_in_a_web_socket(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")

        @app.websocket("/end")
        async def end() -> None:
            from quart import websocket

            await websocket.accept()
            await websocket.send(str(await session.revoke()))  # type: ignore[attr-defined]

        client = app.test_client()
        await client.get("/set/key/value")
        assert await talk(client, "/end") == "True"
        assert await text(client, "/keys") == "[]"
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR]

    run(main)


def test_a_cancelled_request_leaves_the_look_at_revocations_to_the_next() -> None:
    class Slow(Store):
        looks = 0

        async def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
            self.looks += 1
            await asyncio.sleep(0.05)
            return await super().revoked_since(moment)

    async def main() -> None:
        store = Slow()
        app = quart_app(SESSION_STORE=store)
        client = app.test_client()
        await client.get("/set/key/value")
        await asyncio.sleep(1.1)
        before = store.looks
        headers = {"Cookie": f"session={cookie_of(client)}"}
        request = app.test_request_context("/", headers=headers).request
        asked = asyncio.ensure_future(with_sessions(app).open_session(app, request))
        await asyncio.sleep(0.02)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert store.looks == before + 1
        await client.get("/get/key")
        assert store.looks == before + 2

    run(main)


def test_a_web_socket_without_a_session_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        app = quart_app()

        @app.websocket("/quiet")
        async def quiet() -> None:
            from quart import websocket

            await websocket.accept()
            await websocket.send("ok")

        assert await talk(app.test_client(), "/quiet") == "ok"
        assert not caplog.records

    run(main)


def test_the_tables_are_looked_for_when_the_app_begins_to_serve(tmp_path: Path) -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE=f"sqlite:///{tmp_path}/sessions.db")
        with pytest.raises(LifespanError, match=r"create_tables\(app\)"):
            async with app.test_app():
                pass
        sessions = with_sessions(app)
        assert len(await sessions.create_tables(app)) == 2
        assert await sessions.create_tables(app) == []
        async with app.test_app():
            client = app.test_client()
            await client.get("/set/key/value")
            assert await text(client, "/get/key") == "'value'"

    run(main)
    assert (tmp_path / "sessions.db").stat().st_mode & 0o777 == 0o600


def test_a_store_that_is_away_does_not_keep_an_app_from_starting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="postgresql://127.0.0.1:1/nowhere")
        async with app.test_app():
            assert await text(app.test_client(), "/untouched") == "ok"
        assert "no connection" in caplog.text or "OperationalError" in caplog.text

    run(main)


def test_a_store_without_tables_has_none_to_create() -> None:
    async def main() -> None:
        app = quart_app(SESSION_STORE="memory://")
        with pytest.raises(ConfigurationError, match="without tables"):
            await with_sessions(app).create_tables(app)
        async with app.test_app():
            pass

    run(main)


@pytest.mark.parametrize("store", [MemoryStore(), AsyncMemoryStore, object()])
def test_a_store_must_be_one_of_coroutines(store: object) -> None:
    with pytest.raises(ConfigurationError, match="AsyncSessionStore"):
        quart_app(SESSION_STORE=store)


def test_a_flask_app_refuses_a_store_of_coroutines() -> None:
    from tests.storing import storing_app

    with pytest.raises(ConfigurationError, match=r"flask_fernet\.SessionStore"):
        storing_app(AsyncMemoryStore())


def test_the_configuration_is_checked_at_once() -> None:
    for wrong in ({"SECRET_KEY": None}, {"SESSION_ENCRYPTION_FORMAT": "rot13"}):
        with pytest.raises(ConfigurationError):
            quart_app(**wrong)
    app = Quart(__name__)
    EncryptedSessionInterface().init_app(app, null_sessions=True)
    EncryptedSessionInterface(app, keys=[Fernet.generate_key()])
    with pytest.raises(ConfigurationError):
        EncryptedSessionInterface(keys=["short"])


def test_a_session_that_does_not_fit_is_an_error_that_shows_nothing() -> None:
    async def main() -> None:
        app = quart_app()
        caught: list[BaseException] = []

        @app.errorhandler(500)
        async def note(error: Any) -> tuple[str, int]:
            caught.append(error.original_exception)
            return "", 500

        client = app.test_client()
        app.config["PROPAGATE_EXCEPTIONS"] = False
        from quart import got_request_exception

        def keep(_: object, exception: BaseException, **__: object) -> None:
            caught.append(exception)

        with got_request_exception.connected_to(keep):
            response = await client.get("/set/secret/" + os.urandom(3000).hex())
        assert response.status_code == 500
        assert isinstance(caught[0], SessionTooLarge)
        ours = [
            frame.filename
            for frame in traceback.extract_tb(caught[0].__traceback__)
            if "flask_fernet" in frame.filename
        ]
        # One thin frame may stay on Python 3.10.
        assert len(ours) <= 1

    run(main)
