"""What an app's sessions do, for monitoring: as one dict, and as OpenMetrics text.

Counters are those of this process. Each worker of a server counts for itself: the label ``pid``
keeps them apart, and a sum over it is that of the server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response, current_app

from .errors import KeyRingError
from .sessions.interface import EncryptedSessionInterface
from .sessions.key_sources import configured_ring
from .stores.protocol import Maintained
from .tracebacks import frameless

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["MEDIA_TYPE", "counters", "metrics_view", "openmetrics", "state"]

#: The media type of :func:`openmetrics`
#: (OpenMetrics 1.0, <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>).
MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@frameless
def counters(app: Flask | Any) -> dict[str, dict[str, int]]:
    """What this process has counted for ``app``:

    * ``rejections``: session cookies that were refused, by :class:`~flask_fernet.Reason`;
    * ``migrations``: sessions that came in another format or place than the one written;
    * ``store_events``: what was done with stored sessions.

    :param app: a Flask app, or a Quart app.
    :raises TypeError: if the app has another session interface.
    """
    interface = EncryptedSessionInterface.of(app)
    migrations = {name: one.count for name, one in interface.migrations.items()}
    return {
        "rejections": interface.rejections,
        "migrations": migrations,
        "store_events": interface.store_events,
    }


@frameless
def state(app: Flask) -> dict[str, Any]:
    """The keys and the stored sessions of ``app`` as they are now, which take time to find out:

    * ``keys``: how many keys open sessions;
    * ``ring``: of a key ring, ``keys`` by state, ``serial``, and ``newest_created`` in seconds
      since the epoch; ``None`` without a ring, or if it cannot be read;
    * ``store``: ``live`` and ``expired`` sessions, and ``bytes`` or ``None``; ``None`` without a
      store that knows.

    :raises TypeError: if the app has another session interface.
    :raises ConfigurationError: if a setting cannot be used.
    :raises StoreUnavailable: if the store does not answer.
    """
    interface = EncryptedSessionInterface.of(app)
    policy = interface._policy(app)
    used = interface._sources.used(app, interface.salt)
    found: dict[str, Any] = {"keys": len(used.names), "ring": _ring(app), "store": None}
    store = None if policy.storage is None else policy.storage.store.store
    if isinstance(store, Maintained):
        statistics = store.statistics()
        found["store"] = {
            "live": statistics.live,
            "expired": statistics.expired,
            "bytes": statistics.size,
        }
    return found


def _ring(app: Flask) -> dict[str, Any] | None:
    keyring = configured_ring(app)
    if keyring is None:
        return None
    try:
        ring = keyring.load()
    except KeyRingError:
        return None
    now = time.time()
    states = [ring.state(key, now).value for key in ring.keys]
    return {
        "keys": {name: states.count(name) for name in sorted(set(states))},
        "serial": ring.serial,
        "newest_created": int(max(key.created for key in ring.keys)),
    }


class _Family(NamedTuple):
    """A metric with its samples."""

    name: str
    kind: str
    text: str
    #: The end of a sample's name, its labels and its value.
    samples: list[tuple[str, dict[str, str], float]]

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} {self.kind}"
        if self.name.endswith(("_seconds", "_bytes")):
            yield f"# UNIT {self.name} {self.name.rpartition('_')[2]}"
        yield f"# HELP {self.name} {self.text}"
        for end, labels, value in self.samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{end}{{{shown}}} {value}"


@frameless
def openmetrics(app: Flask | Any, found: Mapping[str, Any] | None = None) -> str:
    """The counters of ``app`` in this process as OpenMetrics text.

    :param app: a Flask app, or a Quart app.
    :param found: the result of :func:`state`, to show that in place of the counters.
    :raises TypeError: if the app has another session interface.
    """
    lines = [line for family in _families(app, found) for line in family.lines()]
    return "\n".join([*lines, "# EOF", ""])


def _families(app: Flask | Any, found: Mapping[str, Any] | None) -> Iterator[_Family]:
    pid = {"pid": str(os.getpid())}
    release = {"version": version("flask-fernet")}
    yield _Family("flask_fernet_release", "gauge", "The package.", [("", release, 1)])
    if found is not None:
        yield from _gauges(found)
        return
    counted = counters(app)
    for name, label, text in (
        ("rejections", "reason", "Session cookies that were refused."),
        ("migrations", "format", "Sessions that came in another format or place than written."),
        ("store_events", "event", "What was done with stored sessions."),
    ):
        samples = [
            ("_total", {label: kind, **pid}, float(count)) for kind, count in counted[name].items()
        ]
        yield _Family(f"flask_fernet_{name}", "counter", text, samples)


def _gauges(found: Mapping[str, Any]) -> Iterator[_Family]:
    yield _gauge("keys", "Keys that open sessions.", found["keys"])
    ring = found["ring"]
    if ring is not None:
        samples = [("", {"state": name}, float(count)) for name, count in ring["keys"].items()]
        yield _Family("flask_fernet_ring_keys", "gauge", "Keys of the ring, by state.", samples)
        yield _gauge("ring_serial", "The serial of the ring.", ring["serial"])
        text = "When the newest key of the ring was made."
        yield _gauge("ring_newest_key_created_seconds", text, ring["newest_created"])
    store = found["store"]
    if store is not None:
        samples = [("", {"state": name}, float(store[name])) for name in ("live", "expired")]
        text = "Sessions in the store."
        yield _Family("flask_fernet_store_sessions", "gauge", text, samples)
        if store["bytes"] is not None:
            yield _gauge("store_size_bytes", "Bytes of the sessions in the store.", store["bytes"])


def _gauge(name: str, text: str, value: float) -> _Family:
    return _Family(f"flask_fernet_{name}", "gauge", text, [("", {}, float(value))])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def metrics_view() -> Response:
    """A view with the counters of the present app in this process, to mount where only your
    monitoring gets at it::

        app.add_url_rule("/metrics", view_func=metrics_view)
    """
    return Response(openmetrics(current_app), content_type=MEDIA_TYPE)
