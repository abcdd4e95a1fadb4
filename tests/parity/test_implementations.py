"""The native implementation and the fallback: the same cookie for the same session and clock.

The initialisation vector is random, so tokens are compared by what they hold.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Response, session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_fernet import EncryptedSessionInterface, Fernet
from tests.apps import SECRET, encrypted_app, readable
from tests.clock import MID_SECOND, Clock
from tests.strategies import EVERYTHING, FLASK_LOGIN, sessions

pytestmark = pytest.mark.usefixtures("frozen")

configurations = st.fixed_dictionaries(
    {},
    optional={
        "SESSION_COOKIE_NAME": st.sampled_from(["session", "__Host-s", "näme"]),
        "SESSION_COOKIE_DOMAIN": st.sampled_from([None, "example.com", "exämple.com"]),
        "SESSION_COOKIE_PATH": st.sampled_from([None, "/", "/a b"]),
        "APPLICATION_ROOT": st.sampled_from(["/", "/root"]),
        "SESSION_COOKIE_SECURE": st.booleans(),
        "SESSION_COOKIE_HTTPONLY": st.booleans(),
        "SESSION_COOKIE_PARTITIONED": st.booleans(),
        "SESSION_COOKIE_SAMESITE": st.sampled_from([None, "lax", "Strict"]),
        "SESSION_REFRESH_EACH_REQUEST": st.booleans(),
        "PERMANENT_SESSION_LIFETIME": st.integers(min_value=1, max_value=10**9),
        "SESSION_COMPRESSION": st.sampled_from(["fit", "always", "never"]),
        "MAX_COOKIE_SIZE": st.sampled_from([0, 4093]),
        "SESSION_OVERFLOW": st.just("warn"),
        "SESSION_ENCRYPTION_FORMAT": st.sampled_from(["fernet", "xaes-256-gcm"]),
        "SESSION_ABSOLUTE_LIFETIME": st.integers(min_value=1, max_value=10**9),
        "SESSION_REFRESH_AFTER": st.floats(0, 0.999),
    },
)


class Implementations:
    """An app for each implementation, with the same keys."""

    def __init__(self, sort_keys: bool = True, ensure_ascii: bool = True, **config: Any) -> None:
        self.apps = []
        keys = [Fernet.generate_key(), Fernet.generate_key()]
        for implementation in ("native", "fallback"):
            interface = EncryptedSessionInterface(keys=keys)
            app = encrypted_app(interface, implementation=implementation, **config)
            app.json.sort_keys = sort_keys  # type: ignore[attr-defined]
            app.json.ensure_ascii = ensure_ascii  # type: ignore[attr-defined]
            self.apps.append(app)

    def saved(self, data: dict[str, Any], accessed: bool, modified: bool) -> list[Any]:
        """What each of them makes of a session: see ``_saved``."""
        return [self._saved(app, data, accessed, modified) for app in self.apps]

    def _saved(self, app: Flask, data: dict[str, Any], accessed: bool, modified: bool) -> Any:
        """All headers of a response to which a session was saved, and the session read back."""
        interface: Any = app.session_interface
        with app.test_request_context():
            saved = interface.session_class(data)
            saved.accessed, saved.modified = accessed, modified
            response = Response("body", headers={"X-Other": "here"})
            interface.save_session(app, saved, response)
        cookies = response.headers.getlist("Set-Cookie")
        # A cookie's name is sent as UTF-8 read as Latin-1, and comes back so.
        header = "; ".join(cookie.partition(";")[0] for cookie in cookies)
        with app.test_request_context(environ_overrides={"HTTP_COOKIE": header}) as context:
            opened = interface.open_session(app, context.request)
        headers = [
            (name, readable(app, value) if name == "Set-Cookie" else value)
            for name, value in response.headers
        ]
        return headers, opened, vars(opened).keys()


@given(
    data=sessions,
    accessed=st.booleans(),
    modified=st.booleans(),
    permanent=st.sampled_from([None, True, False, 0, "yes"]),
    sort_keys=st.booleans(),
    ensure_ascii=st.booleans(),
    config=configurations,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore:The .* cookie is too large")
def test_both_write_the_same_cookie(
    data: dict[str, Any],
    accessed: bool,
    modified: bool,
    permanent: Any,
    sort_keys: bool,
    ensure_ascii: bool,
    config: dict[str, Any],
) -> None:
    if permanent is not None:
        data["_permanent"] = permanent
    implementations = Implementations(sort_keys, ensure_ascii, **config)
    native, fallback = implementations.saved(data, accessed, modified)
    assert native == fallback


@pytest.mark.parametrize("data", [{}, {"a": 1}, FLASK_LOGIN, EVERYTHING, {"a": "b" * 9000}])
@pytest.mark.parametrize("accessed", [False, True])
@pytest.mark.parametrize("modified", [False, True])
def test_both_write_the_same_cookie_for_known_sessions(
    data: dict[str, Any], accessed: bool, modified: bool
) -> None:
    implementations = Implementations()
    native, fallback = implementations.saved(data, accessed, modified)
    assert native == fallback
    names = {name for name, _ in native[0]}
    assert ("Vary" in names) is (accessed or modified or "_permanent" in data)
    assert ("Set-Cookie" in names) is (modified or "_permanent" in data)


def test_a_session_of_one_opens_in_the_other() -> None:
    native, fallback = Implementations().apps
    for writer, reader in [(native, fallback), (fallback, native)]:

        @writer.get("/")
        def view() -> str:
            session.update(EVERYTHING)
            return ""

        client = writer.test_client()
        client.get("/")
        with client.session_transaction() as written:
            pass
        cookie = client.get_cookie("session")
        assert cookie is not None
        other = reader.test_client()
        other.set_cookie("session", cookie.value)
        with other.session_transaction() as read:
            assert dict(read) == dict(written) != {}
        writer.view_functions.clear()


#: Times at which a session is opened, and opened and written again, after it was made.
ages = st.sampled_from([0, 1, 59, 600, 3599, 3600, 3601, 10_000, 10**6])


@given(
    data=st.sampled_from([{"a": 1}, {"_permanent": True, "b": [1]}, FLASK_LOGIN]),
    made_with=st.sampled_from([None, 3600, 10**7]),
    absolute=st.sampled_from([None, 3600, 3600.5, 10**7]),
    refresh_after=st.sampled_from([None, 0.0, 0.1, 0.5]),
    ages=st.tuples(ages, ages),
    action=st.sampled_from(["nothing", "look", "change", "regenerate"]),
)
def test_both_end_and_refresh_sessions_alike(
    data: dict[str, Any],
    made_with: float | None,
    absolute: float | None,
    refresh_after: float | None,
    ages: tuple[int, int],
    action: str,
) -> None:
    """A session made with one setting, opened and written with another, and opened again."""

    def life(app: Flask, clock: Clock) -> list[Any]:
        interface: Any = app.session_interface
        app.config["SESSION_ABSOLUTE_LIFETIME"] = made_with
        made_at = clock.now
        made = interface.session_class(data)
        made.modified = True
        response = Response()
        interface.save_session(app, made, response)
        app.config["SESSION_ABSOLUTE_LIFETIME"] = absolute
        app.config["SESSION_REFRESH_AFTER"] = refresh_after
        seen: list[Any] = []
        cookie = ""
        for age in ages:
            cookie = response.headers.get("Set-Cookie", "").partition(";")[0] or cookie
            clock.now = made_at + age
            with app.test_request_context(environ_overrides={"HTTP_COOKIE": cookie}) as context:
                opened = interface.open_session(app, context.request)
            seen += [dict(opened), vars(opened).get("flask-fernet:created"), interface.rejections]
            if action != "nothing":
                opened.accessed = True
            if action == "change":
                opened["more"] = 1
            elif action == "regenerate":
                opened.regenerate()
            response = Response()
            interface.save_session(app, opened, response)
            seen += [
                (name, readable(app, value) if name == "Set-Cookie" else value)
                for name, value in response.headers
            ]
        return seen

    seen = []
    for app in Implementations(PERMANENT_SESSION_LIFETIME=7200).apps:
        with pytest.MonkeyPatch.context() as patches, app.app_context():
            seen.append(life(app, Clock(patches, MID_SECOND)))
    assert seen[0] == seen[1]


names = st.sampled_from(
    [
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "SESSION_ENCRYPTION_KEYS",
        "SESSION_COOKIE_PATH",
        "SESSION_COOKIE_SECURE",
        "MAX_COOKIE_SIZE",
        "UNRELATED",
        "FURTHER",
    ]
)
steps = st.lists(st.tuples(st.sampled_from(["set", "delete", "again", "grow"]), names), max_size=12)


@given(steps=steps, warm=st.booleans())
def test_every_change_of_the_configuration_is_seen(
    steps: list[tuple[str, str]], warm: bool
) -> None:
    """Whatever is done to the configuration, however its entries move in memory: what was known
    of it before is never taken for what it says now. An interface that never looked before says
    what that is.
    """
    keys = [Fernet.generate_key().decode(), Fernet.generate_key().decode()]
    values: dict[str, list[Any]] = {
        "SECRET_KEY": [SECRET, SECRET[::-1]],
        "SECRET_KEY_FALLBACKS": [None, [SECRET], [SECRET[::-1]]],
        "SESSION_ENCRYPTION_KEYS": [None, keys[:1], keys[1:]],
        "SESSION_COOKIE_PATH": [None, "/here"],
        "SESSION_COOKIE_SECURE": [False, True],
        "MAX_COOKIE_SIZE": [0, 4093],
    }
    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    interface: Any = EncryptedSessionInterface()

    def seen_by(interface: Any) -> Any:
        """What can be seen of what an interface takes for the configuration."""
        saved = interface.session_class({"a": 1})
        saved.modified = True
        response = Response()
        interface.save_session(app, saved, response)
        (header,) = response.headers.getlist("Set-Cookie")
        return readable(app, header)

    for step, (action, name) in enumerate(steps):
        if warm:
            app.session_interface = interface
            seen_by(interface)
        config = app.config
        value = values.get(name, [0, 1])[step % len(values.get(name, [0, 1]))]
        required = name in values and name != "SESSION_ENCRYPTION_KEYS"
        if action == "set":
            config[name] = value
        elif action == "delete" and not required:
            config.pop(name, None)
        elif action == "again" and name in config:
            # Behind all others.
            config[name] = config.pop(name)
        elif action == "grow":
            config.update({f"X{step}_{number}": number for number in range(40)})
            for number in range(0, 40, 2):
                del config[f"X{step}_{number}"]
        app.session_interface = fresh = EncryptedSessionInterface()
        assert seen_by(interface) == seen_by(fresh)
