"""``flask fernet``, an entry point of Flask's own command line."""

from .ring import fernet

__all__ = ["fernet"]
