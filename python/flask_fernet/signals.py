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
