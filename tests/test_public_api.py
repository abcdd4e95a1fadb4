"""The names that users import: the complete list, and a docstring for each."""

from __future__ import annotations

import inspect
import types
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from blinker import Signal

import flask_fernet
from flask_fernet import signals

PUBLIC = [
    "ConfigurationError",
    "EncryptedSession",
    "EncryptedSessionInterface",
    "Fernet",
    "FlaskFernetError",
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
    if isinstance(public, Signal):
        # A signal needs a comment of its own, because all signals share the docstring of the class.
        before, found, _ = Path(signals.__file__).read_text().partition(f"\n{name} = ")
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
