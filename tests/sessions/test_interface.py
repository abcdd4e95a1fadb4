"""The behaviour that `EncryptedSessionInterface` adds to Flask's, in both implementations."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import time
import weakref
from types import MappingProxyType
from typing import Any

import pytest
from flask import Config, Flask, session
from flask.sessions import SecureCookieSession

from flask_fernet import (
    EncryptedSession,
    EncryptedSessionInterface,
    Fernet,
)
from tests.apps import SECRET, MakeApp, add_views, write
from tests.oracles import OracleFernet, derived_key

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


def test_init_app_and_the_constructor_set_it() -> None:
    app = Flask(__name__)
    app.secret_key = SECRET
    interface = EncryptedSessionInterface(app)
    assert app.session_interface is interface
    other = Flask(__name__)
    other.secret_key = SECRET
    interface.init_app(other)
    assert other.session_interface is interface


def test_an_interface_whose_constructor_forgets_its_parent_works(make_app: MakeApp) -> None:
    class Forgetful(EncryptedSessionInterface):
        def __init__(self) -> None:
            self.note = "mine"

    app = add_views(make_app(Forgetful()))
    client = app.test_client()
    write(client, a=1)
    assert client.get("/read").text == "{'a': 1}"


class TestOddClasses:
    """Classes whose instances have other attributes than a look at the class suggests."""

    def one(self, make_app: MakeApp, interface: EncryptedSessionInterface) -> Flask:
        return add_views(make_app(interface))

    @pytest.mark.parametrize("name", ["modified", "accessed"])
    def test_a_flag_of_a_session_may_be_a_descriptor(self, make_app: MakeApp, name: str) -> None:
        class Flag:
            def __get__(self, instance: Any, owner: Any) -> Any:
                return False if instance is None else instance.__dict__.get("_flag", False)

            def __set__(self, instance: Any, value: Any) -> None:
                instance.__dict__["_flag"] = value

        interface = EncryptedSessionInterface()
        interface.session_class = type("Flagged", (EncryptedSession,), {name: Flag()})
        app = self.one(make_app, interface)
        response = app.test_client().post("/write", json={"a": 1})
        assert response.headers["Vary"] == "Cookie"
        assert "Set-Cookie" in response.headers

    @pytest.mark.parametrize("how", ["descriptor", "getattribute"])
    def test_a_salt_that_changes_is_seen(self, make_app: MakeApp, how: str) -> None:
        salts = ["one"]

        class Salt:
            def __get__(self, instance: Any, owner: Any) -> str:
                return salts[0]

        class Descriptor(EncryptedSessionInterface):
            salt = Salt()

        class Getattribute(EncryptedSessionInterface):
            def __getattribute__(self, name: str) -> Any:
                return salts[0] if name == "salt" else super().__getattribute__(name)

        app = self.one(make_app, Descriptor() if how == "descriptor" else Getattribute())
        client = app.test_client()
        write(client, a=1)
        assert client.get("/read").text == "{'a': 1}"
        salts[0] = "two"
        assert client.get("/read").text == "{}"

    def test_a_class_between_flasks_class_and_its_bases_is_initialised(
        self, make_app: MakeApp
    ) -> None:
        from werkzeug.datastructures import CallbackDict

        class Audit(CallbackDict):  # type: ignore[type-arg]
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                self.audit = ["made"]

        class Audited(SecureCookieSession, Audit):
            pass

        interface = EncryptedSessionInterface()
        interface.session_class = Audited
        app = self.one(make_app, interface)

        @app.get("/audit")
        def audit() -> str:
            return str(session.audit)  # type: ignore[attr-defined]

        client = app.test_client()
        write(client, a=1)
        assert client.get("/audit").text == "['made']"

    def test_an_expired_session_is_not_made(self, make_app: MakeApp) -> None:
        made: list[Any] = []

        class Noting(SecureCookieSession):
            def __init__(self, initial: Any = None) -> None:
                made.append(initial)
                super().__init__(initial)

        interface = EncryptedSessionInterface(keys=[NEW])
        interface.session_class = Noting
        app = self.one(make_app, interface)
        app.config["SESSION_ABSOLUTE_LIFETIME"] = 100
        client = app.test_client()
        old = OracleFernet(NEW).encrypt_at_time(b'{"a":1}', int(time.time()) - 200)
        client.set_cookie("session", old.decode())
        assert client.get("/read").text == "{}"
        assert made == [None]

    def test_a_configuration_may_supply_what_is_missing(self, make_app: MakeApp) -> None:
        secrets = [SECRET]

        class Supplying(Config):
            def __missing__(self, name: str) -> Any:
                if name == "SECRET_KEY":
                    return secrets[0]
                raise KeyError(name)

        app = self.one(make_app, EncryptedSessionInterface())
        app.config = Supplying("", app.config)
        del app.config["SECRET_KEY"]
        client = app.test_client()
        write(client, a=1)
        assert client.get("/read").text == "{'a': 1}"
        secrets[0] = SECRET[::-1]
        assert client.get("/read").text == "{}"

    def test_a_frozen_configuration_is_left_alone(self, make_app: MakeApp) -> None:
        class Frozen(Config):
            def __setitem__(self, name: str, value: Any) -> None:
                raise TypeError("frozen")

        for freeze in (lambda config: Frozen("", config), lambda config: MappingProxyType(config)):
            app = self.one(make_app, EncryptedSessionInterface())
            app.config = freeze(dict(app.config))  # type: ignore[assignment]
            before = dict(app.config)
            client = app.test_client()
            write(client, a=1)
            assert client.get("/read").text == "{'a': 1}"
            assert dict(app.config) == before


class TestObjects:
    def test_an_app_is_collected_once_nobody_has_it(self, make_app: MakeApp) -> None:
        """An app is collected even if its interface and its session class refer back to it."""

        def made(kind: str) -> weakref.ref[Flask]:
            app = add_views(make_app())

            class Interface(EncryptedSessionInterface):
                def extra(self) -> Flask:
                    return app

            class Session(EncryptedSession):
                def extra(self) -> Flask:
                    return app

            interface = EncryptedSessionInterface() if kind == "session class" else Interface()
            if kind != "interface":
                interface.session_class = Session
            app.session_interface = interface
            if kind != "unused":
                client = app.test_client()
                write(client, a=1)
                assert client.get("/read").text == "{'a': 1}"
            return weakref.ref(app)

        for kind in ("unused", "interface", "session class", "both"):
            references = [made(kind) for _ in range(3)]
            gc.collect()
            assert [reference() for reference in references] == [None] * 3, kind

    def test_copies_have_the_same_keys_and_attributes(self, make_app: MakeApp) -> None:
        class Slotted(EncryptedSessionInterface):
            __slots__ = ("extra",)
            extra: Any

        interface = Slotted(keys=[NEW])
        interface.extra = ["slot"]
        interface.salt = "another"
        shared = threading.Lock()
        vars(interface)["lock"] = shared
        copied = copy.copy(interface)
        assert vars(copied)["lock"] is shared
        assert copied.extra is interface.extra
        with pytest.raises(TypeError, match="pickle"):
            copy.deepcopy(interface)
        del vars(interface)["lock"]
        deep = copy.deepcopy(interface)
        assert deep.extra == ["slot"]
        assert deep.extra is not interface.extra
        for one in (interface, copied, deep):
            app = add_views(make_app(one))
            client = app.test_client()
            token = write(client, a=1)
            assert client.get("/read").text == "{'a': 1}"
            OracleFernet(derived_key(NEW, "another")).decrypt(token)
            assert one.salt == "another"
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(EncryptedSessionInterface(keys=[NEW]))

    def test_a_slot_that_was_never_set_is_not_copied(self) -> None:
        class Slotted(EncryptedSessionInterface):
            __slots__ = "extra"
            extra: Any

        assert not hasattr(copy.copy(Slotted()), "extra")
