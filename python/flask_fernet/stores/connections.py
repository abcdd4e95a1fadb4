"""Connections to Redis that are kept open.

They are redis-py's own (or valkey-py's), which do authentication, TLS, time-outs and the protocol.
What ``Redis.execute_command`` puts around each command, retries and metrics, takes as long again as
the command itself, so it is left out here.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

#: A command and its arguments.
Command = tuple[Any, ...]

#: Seconds until the second look for a free connection. Each further one comes later: thousands of
#: greenlets that looked as often as this would keep those with a connection from working.
_LOOK_AGAIN = 0.002
#: Most seconds between two looks.
_LOOK_EVERY = 0.05

_all: weakref.WeakSet[KeptConnections] = weakref.WeakSet()


class NoConnectionFree(Exception):
    """Every connection was in use until the time was over."""


class KeptConnections:
    """A stack of open connections: the one used last is used next.

    They are not kept by thread, because under gevent every request is a new one.

    :param make: makes a connection that is not open yet.
    :param limit: the most that are open at once.
    :param timeout: seconds to wait for a free one.
    :param lost: the errors of a connection that was closed by the server.
    :param timed_out: those among them of a server that does not answer. They are never tried again.
    :param stale: errors of a server that is not the right one any more, as after a failover.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        limit: int,
        timeout: float,
        lost: tuple[type[Exception], ...],
        timed_out: tuple[type[Exception], ...],
        stale: tuple[type[Exception], ...],
    ) -> None:
        self._make = make
        self._limit = limit
        self._timeout = timeout
        self._lost = lost
        self._timed_out = timed_out
        self._stale = stale
        self._idle: deque[Any] = deque()
        self._lock = threading.Lock()
        self._opened = 0
        _all.add(self)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to commands that are sent in one packet. A reply may be an error of the
        server.
        """
        try:
            connection, is_new = self._idle.pop(), False
            if connection.pid != os.getpid():
                # Inherited through a fork that nobody has announced.
                self.forget()
                connection, is_new = self._open(), True
        except IndexError:
            connection, is_new = self._open(), True
        try:
            return self._run(connection, commands)
        except self._timed_out:
            raise
        except self._lost:
            if is_new:
                raise
        # The server was restarted, and the others are no better. What is sent may arrive twice.
        self._close_idle()
        return self._run(self._open(), commands)

    def _run(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        try:
            if len(commands) == 1:
                packed = connection.pack_command(*commands[0])
            else:
                packed = connection.pack_commands(commands)
            connection.send_packed_command(packed, check_health=False)
            for _ in commands:
                try:
                    replies.append(connection.read_response(disable_decoding=True))
                except self._lost:
                    raise
                except Exception as error:
                    if not _is_open(connection):
                        raise
                    replies.append(error)
        except BaseException:
            # Also when a greenlet is killed: a reply that nobody reads must not reach another.
            self._discard(connection)
            raise
        if any(isinstance(reply, self._stale) for reply in replies):
            # A new connection may lead to the new primary.
            self._discard(connection)
            self._close_idle()
        else:
            self._idle.append(connection)
        return replies

    def _open(self) -> Any:
        deadline = time.monotonic() + self._timeout
        pause = _LOOK_AGAIN
        while True:
            with self._lock:
                if self._opened < self._limit:
                    self._opened += 1
                    break
            try:
                return self._idle.pop()
            except IndexError:
                if time.monotonic() > deadline:
                    raise NoConnectionFree from None
                time.sleep(pause)
                pause = min(2 * pause, _LOOK_EVERY)
        connection = None
        try:
            connection = self._make()
            connection.connect()
        except BaseException:
            self._discard(connection)
            raise
        return connection

    def _discard(self, connection: Any) -> None:
        with self._lock:
            self._opened -= 1
        if connection is not None:
            connection.disconnect()

    def _close_idle(self) -> None:
        while True:
            try:
                self._discard(self._idle.pop())
            except IndexError:
                return

    def forget(self) -> None:
        """In a forked child: drops the parent's connections without closing them."""
        self._idle = deque()
        self._lock = threading.Lock()
        self._opened = 0


def _is_open(connection: Any) -> bool:
    # Redis-py has the property from its version 5.1 on.
    return bool(getattr(connection, "is_connected", getattr(connection, "_sock", None)))


def _after_fork_in_child() -> None:
    for connections in list(_all):
        connections.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
