"""Key rings. Nothing here knows Flask; each file imports only files above it in this list.

* ``ring.py``: the ring as a value: which key does what, and when.
* ``document.py``: a ring as JSON, and what makes a document invalid.
* ``ring_store.py``: the protocol of a place where a ring is stored.
* ``ring_file.py``: a ring in a file.
* ``command.py``: the program that prints the secrets of a wrapped ring.
* ``wrapping.py``: a ring encrypted in another store.
* ``fork_safe_lock.py``: a lock that is free in a forked child.
* ``following.py``: a ring polled every second.
* ``ring_fernet.py``: Fernet tokens under the keys of a followed ring.
* ``keyring.py``: :class:`~flask_fernet.KeyRing`, the handle of a stored ring.
"""
