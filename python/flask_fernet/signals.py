"""Signals, for metrics and audit logs."""

from blinker import Namespace

_signals = Namespace()

#: Sent with the app as sender and ``reason``, a :class:`~flask_fernet.Reason`, each time a
#: session cookie does not open. Carries nothing of the cookie.
#:
#: A receiver takes ``(app, reason)``::
#:
#:     @session_rejected.connect_via(app)
#:     def count(app, reason):
#:         metrics.increment("session_rejected", reason=reason)
session_rejected = _signals.signal("session-rejected")

#: Sent with the app as sender and ``format``, one of ``SESSION_ENCRYPTION_ACCEPT``, each time a
#: session opens that is in another format than the one written. Once it stays away for a session
#: lifetime, the format can be taken off the list.
session_migrated = _signals.signal("session-migrated")

#: Sent with the :class:`~flask_fernet.KeyRing` as sender and ``error``, each time a changed key
#: ring cannot be read. What was read last stays in force.
keyring_unreadable = _signals.signal("keyring-unreadable")
