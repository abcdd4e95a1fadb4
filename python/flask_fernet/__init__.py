"""Encrypted sessions for Flask, and Fernet tokens for Python, in Rust."""

from .errors import (
    ConfigurationError,
    FlaskFernetError,
    InvalidToken,
    Reason,
    SessionRejected,
    SessionTooLarge,
)
from .fernet import Fernet, MultiFernet
from .interface import EncryptedSession, EncryptedSessionInterface
from .signals import session_rejected

__all__ = [
    "ConfigurationError",
    "EncryptedSession",
    "EncryptedSessionInterface",
    "Fernet",
    "FlaskFernetError",
    "InvalidToken",
    "MultiFernet",
    "Reason",
    "SessionRejected",
    "SessionTooLarge",
    "session_rejected",
]
