"""Signals, for metrics and audit logs."""

from blinker import NamedSignal, Namespace

_signals = Namespace()

#: Sent each time a session cookie does not open. The sender is the app, ``reason`` a
#: :class:`~flask_fernet.Reason`. Nothing of the cookie is sent.
#:
#: A receiver takes ``(app, reason)``::
#:
#:     @session_rejected.connect_via(app)
#:     def count(app, reason):
#:         metrics.increment("session_rejected", reason=reason)
session_rejected: NamedSignal = _signals.signal("session-rejected")

#: Sent each time a session opens that came in another format than the one written. The sender is
#: the app, ``format`` the format. Once it has not been sent for a session lifetime, the format can
#: be removed from ``SESSION_ENCRYPTION_ACCEPT``.
session_migrated: NamedSignal = _signals.signal("session-migrated")

#: Sent each time a changed key ring cannot be read. The sender is the
#: :class:`~flask_fernet.KeyRing`, ``error`` the :class:`~flask_fernet.KeyRingError`. The keys read
#: last stay in force.
keyring_unreadable: NamedSignal = _signals.signal("keyring-unreadable")

#: Sent each time a session store does not answer. The sender is the app, ``operation`` the
#: operation's name, ``error`` the :class:`~flask_fernet.StoreUnavailable`.
store_unavailable: NamedSignal = _signals.signal("store-unavailable")

#: Sent each time a stored session was changed by another request meanwhile. The sender is the app;
#: ``outcome`` is ``"merged"`` or ``"superseded"``, in which case this request's changes were
#: dropped; ``keys`` are the names of the keys that both had changed.
session_conflict: NamedSignal = _signals.signal("session-conflict")
