"""The names that users import: the complete list, and a docstring for each."""

from __future__ import annotations

import inspect
import types
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from blinker import Signal
from werkzeug.local import LocalProxy

import flask_fernet
from flask_fernet import quart, signals
from flask_fernet.sessions import session

PUBLIC = [
    "AsyncSessionStore",
    "ConfigurationError",
    "EncryptedSession",
    "EncryptedSessionInterface",
    "Fernet",
    "FlaskFernetError",
    "InternalError",
    "InvalidToken",
    "KeyRing",
    "KeyRingError",
    "MultiFernet",
    "Reason",
    "RegenerateMixin",
    "RingStore",
    "SessionConflict",
    "SessionInfo",
    "SessionRejected",
    "SessionStore",
    "SessionTooLarge",
    "StoreUnavailable",
    "StoredMixin",
    "UnwritableValue",
    "keyring_unreadable",
    "new_ring",
    "session",
    "session_conflict",
    "session_migrated",
    "session_rejected",
    "store_unavailable",
]


def test_the_public_names_are_these() -> None:
    """A public name is added or removed deliberately, so this list has to change with it."""
    assert sorted(flask_fernet.__all__) == PUBLIC
    submodules = {name for name, value in vars(flask_fernet).items() if inspect.ismodule(value)}
    names = {name for name in vars(flask_fernet) if not name.startswith("_")}
    assert names - submodules - {"annotations"} == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    public = getattr(flask_fernet, name)
    if isinstance(public, (Signal, LocalProxy)):
        # It needs a comment of its own, because its docstring is that of a class of others.
        module = signals if isinstance(public, Signal) else session
        before, found, _ = Path(str(module.__file__)).read_text().partition(f"\n{name}: ")
        assert found
        assert before.splitlines()[-1].startswith("#: ")
    else:
        # An inherited docstring does not count.
        own = public.__doc__ if inspect.isfunction(public) else vars(public)["__doc__"]
        assert own
        assert own.strip()


@pytest.mark.parametrize("name", [name for name in PUBLIC if name[0].isupper()])
def test_every_public_method_is_documented(name: str) -> None:
    public = getattr(flask_fernet, name)
    ours = [base for base in public.__mro__ if base.__module__.startswith("flask_fernet")]
    kinds = (types.FunctionType, types.MethodDescriptorType, property, classmethod)
    checked = 0
    for base in ours:
        for method, value in vars(base).items():
            if not method.startswith("_") and isinstance(value, kinds):
                assert inspect.getdoc(getattr(base, method)), f"{base.__name__}.{method}"
                checked += 1
    assert checked or issubclass(public, (Exception, str)) or is_dataclass(public)


def test_session_is_flasks_and_quarts_own() -> None:
    """The typed names are the same objects, so that either can be imported."""
    import flask
    from quart import session as quarts

    assert flask_fernet.session is flask.session
    assert quart.session is quarts


def documented() -> list[tuple[str, object]]:
    """Every public class, function and method, with its name."""
    found: list[tuple[str, object]] = []
    for module in (flask_fernet, quart):
        for name in module.__all__:
            public = getattr(module, name)
            if not (inspect.isclass(public) or inspect.isfunction(public)):
                continue
            found.append((f"{module.__name__}.{name}", public))
            if not inspect.isclass(public):
                continue
            for base in public.__mro__:
                if base.__module__.startswith("flask_fernet"):
                    methods = [one for one in vars(base) if not one.startswith("_")]
                    found += [
                        (f"{module.__name__}.{name}.{one}", getattr(public, one))
                        for one in methods
                        if callable(getattr(public, one))
                    ]
    return found


def test_help_shows_each_signature_as_the_stub_has_it() -> None:
    assert len(documented()) > 60
    for name, public in documented():
        text = public.__doc__ or ""
        short = name.rpartition(".")[2]
        assert text.strip(), name
        assert not text.startswith((f"{short}(", "(")), f"{name} begins with a raw signature"
        if inspect.isclass(public) and issubclass(public, Exception):
            # Those without an __init__ have none, as all of Python's.
            continue
        parameters = inspect.signature(public).parameters  # type: ignore[arg-type]
        is_protocol = getattr(public, "_is_protocol", False)
        anything = {"_args", "_kwargs", "args", "kwargs"} & set(parameters)
        assert not anything or is_protocol, f"{name}{inspect.signature(public)}"  # type: ignore[arg-type]


def test_signatures_of_the_classes_are_those_that_are_called() -> None:
    expected = {
        flask_fernet.Fernet: ["key", "backend"],
        flask_fernet.MultiFernet: ["fernets"],
        flask_fernet.EncryptedSessionInterface: ["app", "keys", "null_sessions"],
        quart.EncryptedSessionInterface: ["app", "keys", "null_sessions"],
    }
    for public, names in expected.items():
        assert list(inspect.signature(public).parameters) == names

    class Own(flask_fernet.EncryptedSessionInterface):
        def __init__(self, own: int) -> None:
            super().__init__()

    assert list(inspect.signature(Own).parameters) == ["own"]


def test_the_interface_of_an_app_has_its_type() -> None:
    from flask import Flask

    app = Flask(__name__)
    with pytest.raises(TypeError, match="must be EncryptedSessionInterface"):
        flask_fernet.EncryptedSessionInterface.of(app)
    app.session_interface = sessions = flask_fernet.EncryptedSessionInterface()
    assert flask_fernet.EncryptedSessionInterface.of(app) is sessions
    with pytest.raises(TypeError):
        quart.EncryptedSessionInterface.of(app)  # type: ignore[arg-type]
