"""The native implementation and the fallback: the same cookie for the same session and clock.

The initialisation vector is random, so tokens are compared by what they hold.
"""

from __future__ import annotations

import gc
import json
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import Enum, IntEnum
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask import Config, Flask, Response, current_app, session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from flask_fernet import (
    ConfigurationError,
    EncryptedSessionInterface,
    Fernet,
    KeyRing,
    SessionRejected,
    new_ring,
)
from flask_fernet.keys.ring_file import RingFile
from flask_fernet.settings import OPENING_SETTINGS, POLICY_SETTINGS
from flask_fernet.stores.memory import MemoryStore
from tests.apps import FOREVER, SECRET, MakeApp, encrypted_app, opened, readable, token_of
from tests.clock import MID_SECOND, Clock
from tests.oracles import OracleFernet
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


KEYS = [Fernet.generate_key().decode(), Fernet.generate_key().decode()]
#: For every setting that a policy depends on, values of which each gives another policy, or an
#: error, than its neighbour.
VALUES: dict[str, list[Any]] = {
    "SECRET_KEY": [SECRET, SECRET[::-1], bytearray(SECRET.encode())],
    "SECRET_KEY_FALLBACKS": [None, [SECRET[::-1]], (SECRET[::-1], "x" * 20)],
    "SESSION_ENCRYPTION_ACCEPT": [None, {"xaes-256-gcm"}, frozenset({"flask-signed"})],
    "SESSION_ENCRYPTION_FORMAT": ["fernet", "xaes-256-gcm"],
    "SESSION_ENCRYPTION_KEYRING": [None, Path("missing.json"), ""],
    "SESSION_ENCRYPTION_KEYRING_COMMAND": [None, ["true"]],
    "SESSION_ENCRYPTION_KEYRING_WRAPPING": [None, "plain"],
    "SESSION_ENCRYPTION_KEYS": [None, KEYS[:1], KEYS[1:]],
    "PERMANENT_SESSION_LIFETIME": [3600, timedelta(days=1)],
    "SESSION_ABSOLUTE_LIFETIME": [None, 3600, timedelta(days=9)],
    "SESSION_REFRESH_AFTER": [None, 0.5],
    "SESSION_STORE": [None, MemoryStore(), "memory://"],
    "SESSION_STORE_ERRORS": [None, "readonly"],
    "SESSION_STORE_TIMEOUT": [None, 2.5],
    "SESSION_USER_KEY": [None, "uid"],
    "SESSION_USER_LIMIT": [None, 3],
    "SESSION_COOKIE_NAME": ["session", "other"],
    "DEBUG": [False, True],
    "SESSION_COMPRESSION": [None, "always", "never"],
    "SESSION_OVERFLOW": [None, "warn"],
    "SESSION_COOKIE_DOMAIN": [None, "example.com"],
    "SESSION_COOKIE_PATH": [None, "/here"],
    "APPLICATION_ROOT": ["/", "/root"],
    "SESSION_COOKIE_SECURE": [False, True],
    "SESSION_COOKIE_PARTITIONED": [False, True],
    "SESSION_COOKIE_SAMESITE": [None, "Lax"],
    "SESSION_COOKIE_HTTPONLY": [True, False],
    "MAX_COOKIE_SIZE": [4093, 0],
    "SESSION_REFRESH_EACH_REQUEST": [True, False],
}
#: Settings that Flask always has, and that its hooks read.
FLASKS = [name for name in VALUES if name in Flask(__name__).config]


def test_each_setting_of_the_one_list_has_values_here() -> None:
    assert VALUES.keys() == set(POLICY_SETTINGS)
    assert len(POLICY_SETTINGS) == len(set(POLICY_SETTINGS))


class Counting(EncryptedSessionInterface):
    """Counts how often its policy is resolved."""

    resolved = 0

    def _resolve_policy(self, app: Flask) -> Any:
        Counting.resolved += 1
        return super()._resolve_policy(app)


def resolutions(app: Flask, act: str) -> int:
    """How often the policy is resolved while a session is opened or saved."""
    interface: Any = app.session_interface
    before = Counting.resolved
    with app.app_context(), suppress(ConfigurationError):
        if act == "open":
            interface.open_session(app, app.request_class(EnvironBuilder().get_environ()))
        else:
            saved = interface.session_class({"a": 1})
            saved.modified = True
            interface.save_session(app, saved, Response())
    return Counting.resolved - before


@pytest.mark.parametrize("name", POLICY_SETTINGS)
def test_a_change_of_each_setting_is_seen_where_it_matters(name: str) -> None:
    """It is seen when a session is saved, and, of those that opening depends on, when one is
    opened. A policy under which nothing changes is resolved once.
    """
    act = "open" if name in OPENING_SETTINGS else "save"
    for value in VALUES[name][1:]:
        app = Flask(__name__)
        app.config["SECRET_KEY"] = SECRET
        app.session_interface = Counting()
        assert resolutions(app, act) == 1
        assert resolutions(app, "open") == resolutions(app, "save") == 0
        for change in (value, VALUES[name][0]):
            app.config[name] = change
            assert resolutions(app, act) > 0


class Recording(Config):
    """Records the settings that are read."""

    read: ClassVar[set[str]] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)


@given(
    config=st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in VALUES.items()})
)
def test_a_policy_depends_on_no_setting_outside_the_one_list(config: dict[str, Any]) -> None:
    app = type("Recorded", (Flask,), {"config_class": Recording})(__name__)
    app.config.update({"SECRET_KEY": SECRET, **config})
    interface: Any = EncryptedSessionInterface()
    Recording.read.clear()
    with suppress(ConfigurationError):
        interface._resolve_policy(app)
    assert Recording.read
    assert set(POLICY_SETTINGS) >= Recording.read


def described(interface: Any, app: Flask) -> Any:
    """Everything that an interface's policy says, its keys by the tokens that they open."""
    try:
        policy = interface._policy(app)
    except ConfigurationError as error:
        return str(error)
    says = {
        name: getattr(policy, name)
        for name in dir(policy)
        if not name.startswith("_") and name not in ("keys", "signed", "cookie", "ring_state")
    }
    cookie = policy.cookie
    says |= {name: getattr(cookie, name) for name in dir(cookie) if not name.startswith("_")}
    says["signed"] = policy.signed is not None
    storage = policy.storage
    if storage is not None:
        # Each interface opens a store of its own.
        kept = (type(storage.store.store), storage.user_key, storage.user_limit)
        says["storage"] = (*kept, storage.is_readonly)
    return says


def is_opened_by(interface: Any, app: Flask, token: str | None, name: str) -> bool:
    try:
        keys = interface._policy(app).keys
        return token is not None and bool(keys.open(token, FOREVER, FOREVER, name))
    except (ConfigurationError, SessionRejected):
        return False


names = st.sampled_from([*POLICY_SETTINGS, "UNRELATED", "FURTHER"])
steps = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "again", "grow"]), names, st.integers(0, 5)),
    max_size=12,
)


@given(steps=steps, warm=st.booleans())
def test_every_change_of_the_configuration_is_seen(
    steps: list[tuple[str, str, int]], warm: bool
) -> None:
    """However the entries of the configuration move in memory, a policy is never taken for the
    present one after it changed. A fresh interface tells the present one.
    """
    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    interface: Any = EncryptedSessionInterface()
    for step, (action, name, number) in enumerate(steps):
        if warm:
            described(interface, app)
        config = app.config
        values = VALUES.get(name, [0, 1])
        if action == "set":
            config[name] = values[number % len(values)]
        elif action == "delete" and name not in FLASKS:
            config.pop(name, None)
        elif action == "again" and name in config:
            # Behind all others.
            config[name] = config.pop(name)
        elif action == "grow":
            config.update({f"X{step}_{number}": number for number in range(40)})
            for number in range(0, 40, 2):
                del config[f"X{step}_{number}"]
        fresh: Any = EncryptedSessionInterface()
        said = described(fresh, app)
        assert described(interface, app) == said
        if isinstance(said, dict) and not said["is_null"] and fresh._policy(app).keys:
            token = fresh._policy(app).keys.seal(b"{}", 0, said["name"])
            assert is_opened_by(interface, app, token, said["name"])


def test_nothing_is_written_into_the_configuration() -> None:
    app = encrypted_app()
    before = dict(app.config)
    client = app.test_client()
    with client.session_transaction() as written:
        written["a"] = 1
    assert app.config == before
    # An extension's default, set after the first request, is not lost.
    app.config.setdefault("SESSION_COMPRESSION", "always")
    with client.session_transaction() as written:
        written["a"] = "b" * 100
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert opened(app, cookie.value)[0].startswith(b".")


def rebuild(config: Config) -> None:
    entries = list(config.items())
    config.clear()
    for name, value in entries:
        config["SESSION_COMPRESSION" if name == "UNRELATED" else name] = value


def pop_items(config: Config) -> None:
    config.popitem()
    config.popitem()
    config.update(SESSION_COMPRESSION="always", LAST=1)


def compact(config: Config) -> None:
    del config["UNRELATED"]
    last = config.pop("LAST")
    config["SESSION_COMPRESSION"] = "always"
    config["LAST"] = last


@pytest.mark.parametrize("change", [rebuild, pop_items, compact])
@pytest.mark.parametrize("extra", range(0, 60, 3))
def test_a_change_that_hides_behind_the_last_key_is_seen_by_the_fourth_check(
    change: Callable[[Config], None], extra: int
) -> None:
    """A setting is added, and the last key is removed and set again so that it is the last one, at
    the same place.
    """
    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    app.config.update({f"EXTRA_{number}": number for number in range(extra)})
    app.config.update(UNRELATED="always", LAST=1)
    app.session_interface = interface = EncryptedSessionInterface()
    assert described(interface, app)["compression"] == "fit"
    change(app.config)
    seen = [described(interface, app)["compression"] for _ in range(4)]
    assert seen[-1] == "always"


def test_another_configuration_is_seen_at_once() -> None:
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, UNRELATED="always", LAST=1)
    app.session_interface = interface = EncryptedSessionInterface()
    for _ in range(3):
        assert described(interface, app)["compression"] == "fit"
    entries = {
        "SESSION_COMPRESSION" if name == "UNRELATED" else name: value
        for name, value in app.config.items()
    }
    app.config = Config(app.root_path, entries)
    assert described(interface, app)["compression"] == "always"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SESSION_COOKIE_SAMESITE", Enum("Same", {"LAX": "Lax"}, type=str).LAX),  # type: ignore[attr-defined]
        ("MAX_COOKIE_SIZE", IntEnum("Size", {"LARGE": 8000}).LARGE),  # type: ignore[attr-defined]
        ("SESSION_ENCRYPTION_ACCEPT", frozenset({"xaes-256-gcm"})),
        ("SECRET_KEY", bytearray(SECRET.encode())),
    ],
)
def test_a_setting_of_an_unusual_type_is_remembered(name: str, value: object) -> None:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": SECRET, name: value})
    app.session_interface = Counting()
    assert resolutions(app, "save") == 1
    assert resolutions(app, "open") == resolutions(app, "save") == 0


def test_a_cookie_attribute_that_may_change_does_not_slow_opening_down() -> None:
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_COOKIE_DOMAIN=type("Own", (str,), {})("a.example"))
    app.session_interface = Counting()
    assert resolutions(app, "open") == 1
    assert resolutions(app, "open") == 0


def test_a_missing_setting_of_the_cookie_is_an_error_where_flask_reads_it(
    make_app: MakeApp,
) -> None:
    app = make_app()
    del app.config["SESSION_COOKIE_PATH"]
    interface: Any = app.session_interface
    with app.test_request_context() as context:
        assert interface.open_session(app, context.request) == {}
        saved = interface.session_class({"a": 1})
        saved.modified = True
        with pytest.raises(KeyError, match="SESSION_COOKIE_PATH"):
            interface.save_session(app, saved, Response())


def test_an_app_that_lost_its_keys_disturbs_no_other() -> None:
    interface = Counting()
    one, other = Flask(__name__), Flask(__name__)
    for app in (one, other):
        app.config["SECRET_KEY"] = SECRET
        app.session_interface = interface
        resolutions(app, "open")
    one.config["SECRET_KEY"] = None
    assert resolutions(one, "open") == 1
    # The keys changed, so every policy is resolved once more; then nothing changes.
    for app in (one, other, one, other):
        resolutions(app, "open")
    assert [resolutions(app, "open") for app in (one, other) * 3] == [0] * 6


def test_an_app_is_collected_though_its_key_ring_knows_it(tmp_path: Path) -> None:
    class Knowing(RingFile):
        app: Flask

    references = []
    for number in range(3):
        path = tmp_path / f"{number}.json"
        KeyRing(path).create(new_ring("sessions", time.time()))
        store = Knowing(path)
        app = store.app = Flask(__name__)
        app.config["SESSION_ENCRYPTION_KEYRING"] = KeyRing(store)
        app.session_interface = EncryptedSessionInterface()
        app.test_client().get("/")
        references.append(weakref.ref(app))
        del app, store
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_one_save_reads_the_clock_once(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(SESSION_ABSOLUTE_LIFETIME=3600)
    ticks = count(1_790_000_000)
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    interface: Any = app.session_interface
    with app.app_context():
        saved = interface.session_class({"a": 1})
        saved.modified = True
        response = Response()
        interface.save_session(app, saved, response)
        token = token_of(response.headers["Set-Cookie"])
        payload, issued_at = opened(app, token)
    assert json.loads(payload)["flask-fernet:created"] == issued_at


def test_a_broken_setting_fails_no_request_that_writes_nothing(make_app: MakeApp) -> None:
    app = make_app(SESSION_REFRESH_AFTER=0.5, PROPAGATE_EXCEPTIONS=True)

    @app.get("/break")
    def view() -> str:
        session.get("a")
        app.config["SESSION_COMPRESSION"] = "broken"
        return "fine"

    client = app.test_client()
    with client.session_transaction() as written:
        written["a"] = 1
    assert client.get("/break").text == "fine"


def test_a_session_in_another_format_and_under_an_older_key_is_a_migration(
    make_app: MakeApp,
) -> None:
    app = make_app(
        EncryptedSessionInterface(keys=KEYS),
        SESSION_ENCRYPTION_FORMAT="xaes-256-gcm",
        SESSION_ENCRYPTION_ACCEPT=["fernet"],
    )
    interface: Any = app.session_interface
    token = OracleFernet(KEYS[1]).encrypt_at_time(b"{}", int(time.time())).decode()
    environ = {"HTTP_COOKIE": f"session={token}"}
    with app.test_request_context(environ_overrides=environ):
        pass
    assert interface.migrations["fernet"].count == 1


def test_a_policy_is_remembered_for_every_app_of_an_interface() -> None:
    interface = Counting()
    apps = []
    for number in range(50):
        app = Flask(__name__)
        app.config["SECRET_KEY"] = f"{SECRET} {number}"
        app.session_interface = interface
        apps.append(app)
    assert [resolutions(app, "open") for app in apps] == [1] * 50
    assert [resolutions(app, "save") for app in apps * 2] == [0] * 100


def test_a_policy_goes_with_its_app() -> None:
    interface: Any = EncryptedSessionInterface()
    for number in range(50):
        app = Flask(__name__)
        app.config["SECRET_KEY"] = f"{SECRET} {number}"
        interface._policy(app)
        policy = weakref.ref(interface._policy(app))
        assert policy() is not None
        del app
        gc.collect()
        assert policy() is None


def test_apps_that_come_and_go_never_share_keys(tmp_path: Path) -> None:
    """Tenants with equal configurations and a relative ring name, behind one interface: an app is
    often made at the address of one that has gone.
    """
    for tenant in ("one", "two"):
        (tmp_path / tenant).mkdir()
        KeyRing(tmp_path / tenant / "ring.json").create(new_ring("sessions", time.time()))
    interface: Any = EncryptedSessionInterface()
    for number in range(200):
        tenant = ("one", "two")[number % 2]
        app = Flask(__name__, instance_path=str(tmp_path / tenant))
        app.config["SESSION_ENCRYPTION_KEYRING"] = "ring.json"
        app.session_interface = interface
        with app.test_client().session_transaction(base_url="http://localhost") as written:
            written["tenant"] = tenant
        token = interface._policy(app).keys.seal(b"{}", int(time.time()), "session")
        (key,) = KeyRing(tmp_path / tenant / "ring.json").load().keys
        assert OracleFernet(key.key).decrypt(token) == b"{}"
        del app


@pytest.mark.parametrize("act", ["open", "save"])
def test_a_proxy_stands_for_its_app(act: str) -> None:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    app.session_interface = interface = Counting()
    with app.test_request_context() as context:
        for _ in range(2):
            if act == "open":
                opened_session = interface.open_session(current_app, context.request)
                assert opened_session == {}
            else:
                saved = interface.session_class({"a": 1})
                saved.modified = True
                response = Response()
                interface.save_session(current_app, saved, response)
                assert "Set-Cookie" in response.headers
