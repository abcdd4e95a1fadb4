"""Encrypted sessions of a Quart app do what Quart's own do: the same steps, with both."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from quart import Quart, Response
from quart.sessions import SecureCookieSession, SecureCookieSessionInterface

from flask_fernet.quart import EncryptedSession, EncryptedSessionInterface
from tests.quart.apps import quart_app, run, text
from tests.strategies import sessions

MakeApp = Callable[..., Quart]


@pytest.fixture(params=["quart", "cookies", "stored"])
def make(request: pytest.FixtureRequest) -> MakeApp:
    """Makes an app with Quart's own sessions, with ours in cookies, and with ours in a store."""

    def make_app(**config: Any) -> Quart:
        if request.param == "quart":
            return quart_app(SecureCookieSessionInterface(), **config)
        if request.param == "stored":
            config = {"SESSION_STORE": "memory://", "SESSION_REFRESH_AFTER": 0, **config}
        return quart_app(**config)

    return make_app


def attributes(response: Any) -> str:
    """A response's Set-Cookie without the value, and without the time of its expiry."""
    header = response.headers.get("Set-Cookie", "")
    return re.sub(r"\d\d:\d\d:\d\d", "", re.sub(r"^session=[^;]+", "session=…", header))


def test_values_survive_from_request_to_request(make: MakeApp) -> None:
    async def main() -> None:
        client = make().test_client()
        assert await text(client, "/get/key") == "None"
        await text(client, "/set/key/value")
        assert await text(client, "/get/key") == "'value'"
        assert await text(client, "/keys") == "['key']"
        assert await text(client, "/pop/key") == "'value'"
        assert await text(client, "/get/key") == "None"

    run(main)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"SESSION_COOKIE_NAME": "session", "SESSION_COOKIE_PATH": "/app"},
        {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "Strict"},
        {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PARTITIONED": True},
        {"SESSION_COOKIE_HTTPONLY": False, "SESSION_COOKIE_DOMAIN": "localhost"},
    ],
)
@pytest.mark.parametrize("path", ["/set/a/b", "/permanent/a"])
def test_the_attributes_of_the_cookie_are_quarts(
    make: MakeApp, config: dict[str, Any], path: str
) -> None:
    async def main() -> None:
        theirs = quart_app(SecureCookieSessionInterface(), **config).test_client()
        expected = attributes(await theirs.get(path))
        assert expected
        assert attributes(await make(**config).test_client().get(path)) == expected

    run(main)


def test_a_cookie_is_set_when_quart_sets_one(make: MakeApp) -> None:
    async def main() -> None:
        client = make().test_client()
        sent = [
            bool((await client.get(path)).headers.get("Set-Cookie"))
            for path in ("/untouched", "/get/a", "/set/a/b", "/get/a", "/untouched", "/permanent/x",
                         "/get/a", "/clear", "/get/a")
        ]  # fmt: skip
        assert sent == [False, False, True, False, False, True, True, True, False]

    run(main)


def test_a_permanent_session_is_not_renewed_if_that_is_off(make: MakeApp) -> None:
    async def main() -> None:
        client = make(SESSION_REFRESH_EACH_REQUEST=False).test_client()
        await client.get("/permanent/x")
        assert "Set-Cookie" not in (await client.get("/get/value")).headers

    run(main)


def test_a_session_transaction_reads_and_writes(make: MakeApp) -> None:
    async def main() -> None:
        client = make().test_client()
        async with client.session_transaction() as opened:
            assert len(opened) == 0
            opened["key"] = [42]
        assert await text(client, "/get/key") == "[42]"
        async with client.session_transaction() as opened:
            assert opened["key"] == [42]

    run(main)


def test_an_app_without_a_key_has_null_sessions() -> None:
    async def main() -> None:
        for interface in (SecureCookieSessionInterface(), EncryptedSessionInterface()):
            client = quart_app(interface, SECRET_KEY=None).test_client()
            assert await text(client, "/get/key") == "None"
            assert (await client.get("/set/a/b")).status_code == 500
            with pytest.raises(RuntimeError):
                async with client.session_transaction():
                    pass

    run(main)


def test_a_view_that_fails_saves_nothing_that_quart_would_not(make: MakeApp) -> None:
    async def main() -> None:
        client = make(PROPAGATE_EXCEPTIONS=False).test_client()
        assert (await client.get("/fail")).status_code == 500
        theirs = quart_app(SecureCookieSessionInterface(), PROPAGATE_EXCEPTIONS=False).test_client()
        await theirs.get("/fail")
        assert await text(client, "/get/lost") == await text(theirs, "/get/lost")

    run(main)


@pytest.mark.parametrize("path", ["/get/a", "/has/a", "/keys", "/set/a/b"])
def test_a_response_that_depends_on_the_session_varies_by_cookie(path: str) -> None:
    """Quart's own sessions do not set it after reading, with Flask 3.1.3 and later."""

    async def main() -> None:
        for config in ({}, {"SESSION_STORE": "memory://"}):
            client = quart_app(**config).test_client()
            assert "Vary" not in (await client.get("/untouched")).headers
            assert (await client.get(path)).headers["Vary"] == "Cookie"
            await client.get("/set/a/b")
            assert (await client.get(path)).headers["Vary"] == "Cookie"
            assert "Vary" not in (await client.get("/untouched")).headers

    run(main)


@settings(max_examples=50)
@given(sessions)
def test_a_session_comes_back_as_quarts_does(data: dict[str, Any]) -> None:
    async def main() -> None:
        found = []
        for interface in (SecureCookieSessionInterface(), EncryptedSessionInterface()):
            app = quart_app(interface, MAX_COOKIE_SIZE=0)
            session: Any = interface.session_class(data)
            session.modified = True
            response = Response(b"")
            async with app.app_context():
                await interface.save_session(app, session, response)
            value = response.headers.get("Set-Cookie", "").partition(";")[0]
            async with app.test_request_context("/", headers={"Cookie": value}) as context:
                assert context.session is not None
                found.append(dict(context.session))
        assert found[0] == found[1]

    run(main)


@pytest.mark.parametrize(
    "use", [lambda one: one == {}, lambda one: one != {}, repr, lambda one: list(reversed(one)),
            lambda one: one.copy(), lambda one: one | {}, lambda one: dict(one.items()), bool]
)  # fmt: skip
def test_any_use_of_a_session_counts(use: Callable[[Any], object]) -> None:
    session = EncryptedSession({"key": "value"})
    assert not session.accessed
    use(session)
    assert session.accessed


def test_a_session_of_quarts_own_class_is_saved() -> None:
    async def main() -> None:
        app = quart_app()
        session = SecureCookieSession({"key": "value"})
        session.modified = True
        response = Response(b"")
        await app.session_interface.save_session(app, session, response)
        assert response.headers["Set-Cookie"].startswith("session=gAAAA")

    run(main)


def test_an_unchanged_session_sends_nothing() -> None:
    async def main() -> None:
        app = quart_app()
        session = EncryptedSession({"key": "value"})
        response = Response(b"")
        await app.session_interface.save_session(app, session, response)
        assert "Set-Cookie" not in response.headers
        assert "Vary" not in response.headers

    run(main)
