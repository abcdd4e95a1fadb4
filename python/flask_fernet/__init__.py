"""Encrypted sessions for Flask, and Fernet tokens for Python, in Rust."""

import sys as _sys

if _sys.version_info < (3, 12):
    # Later versions refuse by themselves to load a module that does not support it; earlier ones
    # would share this interpreter's objects with another, and crash sooner or later.
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
from .interface import EncryptedSessionInterface
from .keys.keyring import KeyRing
from .lifetimes import RegenerateMixin
from .session import EncryptedSession
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
    "SessionRejected",
    "SessionTooLarge",
    "keyring_unreadable",
    "session_migrated",
    "session_rejected",
]
