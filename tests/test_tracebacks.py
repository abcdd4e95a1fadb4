"""No frame of this package, and so no session, key or configuration, is in an error's traceback."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from flask import Flask, session
from quart import Quart

from flask_fernet import EncryptedSessionInterface, Fernet, KeyRing, new_ring
from flask_fernet.metrics import counters, openmetrics, state
from flask_fernet.quart import EncryptedSessionInterface as QuartsInterface
from flask_fernet.testing import SessionTester
from flask_fernet.tracebacks import frameless, hide_frames
from tests.apps import MakeApp, add_views

SECRET = "the secret that nobody may see"
KEY = Fernet.generate_key().decode()
CONTENTS = "the contents of the session"


def frames(error: BaseException | None) -> Iterator[TracebackType]:
    """Yields all frames of an error, of its causes and of its contexts."""
    if error is None:
        return
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
    yield from frames(error.__cause__)
    if error.__context__ is not error.__cause__:
        yield from frames(error.__context__)


def assert_clean(error: BaseException) -> None:
    """Asserts that no frame of ours is left, and that ours, and the message, showed no secret."""
    names = [(str(one.tb_frame.f_globals["__name__"]), one.tb_frame) for one in frames(error)]
    modules = []
    for name, frame in names:
        if name == "flask_fernet.tracebacks" and sys.version_info < (3, 11):
            # It cannot be removed, and holds nothing.
            assert set(frame.f_locals) <= {"error", "function"}
        else:
            modules.append(name)
    assert not [name for name in modules if name.startswith("flask_fernet")]
    assert modules
    for secret in (SECRET, KEY, CONTENTS):
        assert secret not in str(error)


class TestRequests:
    def error(self, app: Flask, value: Any, **config: Any) -> BaseException:
        app.config.update(SECRET_KEY=SECRET, PROPAGATE_EXCEPTIONS=True, **config)

        @app.get("/write")
        def write() -> str:
            session["a"] = value
            return ""

        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the caller's matter
            app.test_client().get("/write")
        return caught.value

    def test_a_session_that_is_too_large(self, make_app: MakeApp) -> None:
        assert_clean(self.error(make_app(), CONTENTS * 1000, SESSION_COMPRESSION="never"))

    def test_a_value_that_cannot_be_written(self, make_app: MakeApp) -> None:
        error = self.error(make_app(), [CONTENTS, object()])
        assert isinstance(error, TypeError)
        assert_clean(error)

    @pytest.mark.parametrize(
        "config",
        [
            {"SESSION_ENCRYPTION_KEYS": [KEY, KEY + "x"]},
            {"SESSION_ENCRYPTION_KEYS": {KEY}},
            {"SESSION_ENCRYPTION_FORMAT": KEY},
            {"SESSION_ENCRYPTION_ACCEPT": [KEY]},
            {"SESSION_ENCRYPTION_KEYRING": "missing"},
            {"SESSION_ENCRYPTION_KEYRING_WRAPPING": KEY},
            {"SESSION_ENCRYPTION_X": 1},
            {"PERMANENT_SESSION_LIFETIME": KEY},
            {"SECRET_KEY_FALLBACKS": SECRET},
        ],
    )
    def test_a_wrong_configuration(self, make_app: MakeApp, config: dict[str, Any]) -> None:
        assert_clean(self.error(make_app(), CONTENTS, **config))

    def test_frames_of_an_app_stay(self, make_app: MakeApp) -> None:
        class Own(EncryptedSessionInterface):
            def should_set_cookie(self, *_: Any) -> bool:
                raise LookupError

        error = self.error(make_app(Own()), CONTENTS)
        assert isinstance(error, LookupError)
        assert [one.tb_frame.f_code.co_name for one in frames(error)][-1] == "should_set_cookie"
        assert_clean(error)


def app_of_wrong_key() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_ENCRYPTION_KEYS=[KEY + "x"])
    app.session_interface = EncryptedSessionInterface()
    return app


def quart_without_tables(tmp_path: Path) -> Quart:
    app = Quart(__name__)
    app.config.update(SECRET_KEY=SECRET, SESSION_STORE=f"sqlite:///{tmp_path}/missing.db")
    QuartsInterface(app)
    return app


def calls(tmp_path: Path) -> dict[str, Callable[[], Any]]:
    app = app_of_wrong_key()
    ring = KeyRing(tmp_path / "ring", secrets=[SECRET])
    ring.create(new_ring("data", time.time()))
    (tmp_path / "broken").write_text(KEY)
    (tmp_path / "broken").chmod(0o600)
    good = add_views(Flask(__name__))
    good.secret_key = SECRET
    good.session_interface = EncryptedSessionInterface()
    serializer = good.session_interface.get_signing_serializer(good)
    assert serializer is not None
    return {
        "interface": lambda: EncryptedSessionInterface(keys=[KEY + "x"]),
        "interface with an app": lambda: EncryptedSessionInterface(app),
        "init_app": lambda: EncryptedSessionInterface().init_app(app),
        "keys_in_use": lambda: EncryptedSessionInterface().keys_in_use(app),
        "serializer": lambda: EncryptedSessionInterface().get_signing_serializer(app),
        "dumps": lambda: serializer.dumps({CONTENTS: object()}),
        "loads": lambda: serializer.loads(CONTENTS),
        "ring secrets": lambda: KeyRing(tmp_path, secrets=SECRET),
        "ring load": lambda: KeyRing(tmp_path / "broken").load(),
        "ring unwrap": lambda: KeyRing(tmp_path / "ring", secrets=[SECRET * 2]).load(),
        "ring create": lambda: ring.create(new_ring("data", time.time())),
        "ring change": lambda: ring.change(lambda ring: ring.revoked(KEY[:3], 0)),
        "ring fernet": lambda: KeyRing(tmp_path / "broken").fernet(),
        "encrypt": lambda: ring.fernet().encrypt(CONTENTS),  # type: ignore[arg-type]
        "decrypt": lambda: ring.fernet().decrypt(CONTENTS),
        "rotate": lambda: ring.fernet().rotate(CONTENTS),
        "metrics": lambda: counters(Flask(__name__)),
        "metrics text": lambda: openmetrics(Flask(__name__)),
        "metrics state": lambda: state(app_of_wrong_key()),
        "forge": lambda: SessionTester(good).forge({"a": [CONTENTS, object()]}),
        "quart start": lambda: asyncio.run(quart_without_tables(tmp_path).startup()),
    }


CALLS = [
    "interface", "interface with an app", "init_app", "keys_in_use", "serializer", "dumps", "loads",
    "ring secrets", "ring load", "ring unwrap", "ring create", "ring change", "ring fernet",
    "encrypt", "decrypt", "rotate", "metrics", "metrics text", "metrics state", "forge",
    "quart start",
]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails(tmp_path: Path, name: str) -> None:
    call = calls(tmp_path)[name]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is not the matter here
        call()
    assert_clean(caught.value)


def test_a_chain_of_errors_that_goes_in_a_circle_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    hide_frames(first)
    assert first.__traceback__ is None


def test_a_function_keeps_its_name_and_its_result() -> None:
    @frameless
    def half(number: int) -> float:
        """Half of it."""
        return number / 2

    assert (half(3), half.__name__, half.__doc__) == (1.5, "half", "Half of it.")
