"""Encrypted sessions for Flask, and Fernet tokens for Python, in Rust."""

import sys as _sys

if _sys.version_info < (3, 12):
    # Later versions of Python refuse to load a module that does not support sub-interpreters.
    # Earlier ones would share the objects of one interpreter with another, and crash.
    import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found]

    if _interpreters.get_current() != _interpreters.get_main():
        raise ImportError("flask_fernet does not run in sub-interpreters")

from .errors import (
    ConfigurationError,
    FlaskFernetError,
    InvalidToken,
    KeyRingError,
    Reason,
    SessionRejected,
    SessionTooLarge,
)
from .fernet import Fernet, MultiFernet
from .keys.keyring import KeyRing
from .keys.ring import new_ring
from .keys.ring_store import RingStore
from .sessions.interface import EncryptedSessionInterface
from .sessions.lifetimes import RegenerateMixin
from .sessions.session import EncryptedSession
from .signals import keyring_unreadable, session_migrated, session_rejected

__all__ = [
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
    "SessionRejected",
    "SessionTooLarge",
    "keyring_unreadable",
    "new_ring",
    "session_migrated",
    "session_rejected",
]
