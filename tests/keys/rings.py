"""Key rings with a random history, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from flask_fernet import Fernet, KeyRingError
from flask_fernet.keys.ring import SESSIONS, Ring, new_ring
from tests.clock import NOW

#: Events in the life of a ring: the kind, the seconds before it, and a number for details.
events = st.lists(
    st.tuples(
        st.sampled_from(["rotate", "force", "revoke", "revoke primary", "prune"]),
        st.integers(0, 400),
        st.integers(0, 100),
    ),
    max_size=12,
)


def lived_on(ring: Ring, now: int, happened: tuple[str, int, int]) -> tuple[Ring, int]:
    """Applies one event to a ring. Returns the new ring and the time of the event."""
    event, pause, detail = happened
    now += pause
    if event == "prune":
        return ring.pruned(now), now
    if event == "revoke primary":
        return ring.revoked(ring.primary(now).id, now), now
    if event == "revoke":
        usable = [key for key in ring.keys if key.revoked is None]
        return ring.revoked(usable[detail % len(usable)].id, now), now
    try:
        return ring.rotated(now, activate_in=detail, force=event == "force"), now
    except KeyRingError:
        assert event == "rotate"
        return ring, now


def lived(happened: list[tuple[str, int, int]]) -> tuple[Ring, int]:
    """Applies events to a new ring. Returns the ring and the time of the last event."""
    former = [Fernet.generate_key().decode() for _ in range(2)]
    ring, now = new_ring(SESSIONS, NOW, retention=300, former=former), NOW
    for event in happened:
        ring, now = lived_on(ring, now, event)
    return ring, now
