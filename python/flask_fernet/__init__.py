"""Encrypted sessions for Flask, and Fernet tokens for Python, in Rust."""

import sys as _sys

if _sys.version_info >= (3, 13):
    import _interpreters  # type: ignore[import-not-found]
else:
    import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found]

# Before the native module is imported: its objects would belong to the interpreter that imports it
# first, and break sessions in all others. Python itself refuses only isolated interpreters.
if _interpreters.get_current() != _interpreters.get_main():
    raise ImportError(
        "flask_fernet must be imported in the main interpreter, not in a sub-interpreter. "
        "mod_wsgi uses the main one with: WSGIApplicationGroup %{GLOBAL}"
    )

from .errors import (
    ConfigurationError,
    FlaskFernetError,
    InternalError,
    InvalidToken,
    KeyRingError,
    Reason,
    SessionConflict,
    SessionRejected,
    SessionTooLarge,
    StoreUnavailable,
    UnwritableValue,
)
from .fernet import Fernet, MultiFernet
from .keys.keyring import KeyRing
from .keys.ring import new_ring
from .keys.ring_store import RingStore
from .sessions.interface import EncryptedSessionInterface
from .sessions.lifetimes import RegenerateMixin
from .sessions.session import EncryptedSession, StoredMixin, session
from .signals import (
    keyring_unreadable,
    session_conflict,
    session_migrated,
    session_rejected,
    store_unavailable,
)
from .stored.owners import SessionInfo
from .stores.protocol import AsyncSessionStore, SessionStore

__all__ = [
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
