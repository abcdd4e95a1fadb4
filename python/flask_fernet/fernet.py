"""`Fernet` and `MultiFernet`, drop-in for those of ``cryptography.fernet``.

Both are native; see ``_core.pyi`` for their signatures. They differ from ``cryptography`` in one
thing on purpose: they cannot be pickled, because a pickle would write the key down.
"""

from ._core import Fernet, MultiFernet

__all__ = ["Fernet", "MultiFernet"]
