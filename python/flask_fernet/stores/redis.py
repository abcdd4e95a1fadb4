"""Sessions in Redis or Valkey."""

from __future__ import annotations

import importlib.util
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ..driver import Methods, drive
from ..errors import StoreUnavailable
from .connections import Command
from .protocol import Check, Ownership, Replaced, StoreStatistics, version_of
from .redis_exchanges import PREFIX, STAGED_FROM, RedisExchanges

__all__ = ["PREFIX", "RedisStore"]

#: Keys that one step of a scan looks at.
_SCAN = 1000
#: Seconds by which the server's clock may differ from ours.
_CLOCK_SKEW = 2


class Transport(Protocol):
    """What carries commands to a server."""

    #: The module ``redis`` or ``valkey``.
    module: Any

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to some commands. A reply may be an error of the server."""

    def scan(self, pattern: str) -> Iterator[bytes]:
        """The names of all keys that match a pattern."""


class ClientTransport:
    """Commands through a client of the app's, or one for a cluster or behind Sentinel."""

    def __init__(self, client: Any, module: Any) -> None:
        self.client = client
        self.module = module

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """See :class:`Transport`."""
        return [self._run(command) for command in commands]

    def _run(self, command: Command) -> Any:
        try:
            return self.client.execute_command(*command)
        except self.module.exceptions.NoScriptError as error:
            return error

    def scan(self, pattern: str) -> Iterator[bytes]:
        """See :class:`Transport`."""
        yield from self.client.scan_iter(pattern, count=_SCAN)


class KeptTransport:
    """Commands over connections that are kept open."""

    def __init__(self, connections: Any, module: Any) -> None:
        self.connections = connections
        self.module = module

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """See :class:`Transport`."""
        return self.connections.run(commands)  # type: ignore[no-any-return]

    def scan(self, pattern: str) -> Iterator[bytes]:
        """See :class:`Transport`."""
        cursor = b"0"
        while True:
            (reply,) = self.run([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)])
            if isinstance(reply, Exception):
                raise reply
            cursor, names = reply
            yield from names
            if cursor in (b"0", 0):
                return


class RedisStore:
    """Keeps records in Redis (6.2 or later) or Valkey.

    ``SESSION_STORE = "redis://…"`` makes one; give it a client only if the app has one to share.

    :param client: a ``redis.Redis``, ``redis.RedisCluster``, ``valkey.Valkey`` or
        ``valkey.ValkeyCluster``. It must not decode responses. Its own time-outs and retries hold:
        ten retries, redis-py's default, keep a request waiting for a minute.
    :param prefix: begins the name of every key.
    :raises ValueError: if the prefix has a brace, or the client decodes responses.
    :raises TypeError: if the client is another one.
    """

    def __init__(self, client: Any, prefix: str = PREFIX) -> None:
        names = (base.__module__.partition(".")[0] for base in type(client).__mro__)
        name = next((name for name in names if name in ("redis", "valkey")), None)
        if name is None:
            raise TypeError("The client of a store must be one of redis or valkey.")
        decodes = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
        if decodes.get("decode_responses"):
            raise ValueError("The client of a store must not decode responses.")
        module = importlib.import_module(name)
        self._set_up(ClientTransport(client, module), prefix, 0)

    @classmethod
    def over(cls, transport: Transport, prefix: str, timeout: float) -> RedisStore:
        """A store over a transport.

        :param timeout: seconds that the transport waits for an answer.
        """
        self = cls.__new__(cls)
        self._set_up(transport, prefix, timeout)
        return self

    def _set_up(self, transport: Transport, prefix: str, timeout: float) -> None:
        self._exchanges = RedisExchanges(transport.module, prefix, timeout)
        self._transport = transport
        self._caller = Methods(transport)

    def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        command = ("GET", self._exchanges.key(address))
        try:
            (reply,) = self._transport.run([command])
        except self._exchanges.unavailable as error:
            raise self._exchanges.away("read", error) from None
        if reply is None or isinstance(reply, bytes):
            return reply
        raise self._exchanges.away("read", reply)

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        """See :meth:`SessionStore.create`."""
        return drive(self._exchanges.create(address, record, expires, owner), self._caller)

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        replacing = self._exchanges.replace(address, version, record, expires, ownership)
        return drive(replacing, self._caller)

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        return drive(self._exchanges.delete(address, owner), self._caller)

    def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        return drive(self._exchanges.owned(owners), self._caller)

    def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`."""
        return drive(self._exchanges.revoke(subject, moment, keep_for), self._caller)

    def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        return drive(self._exchanges.revoked_since(moment), self._caller)

    def statistics(self) -> StoreStatistics:
        """See :meth:`Maintained.statistics`."""
        live = size = 0
        for keys in _batches(self._keys()):
            lengths = self._run("statistics", [("STRLEN", key) for key in keys])
            live += sum(length > 0 for length in lengths)
            size += sum(lengths)
        return StoreStatistics(live, 0, size)

    def addresses(self) -> Iterator[bytes]:
        """See :meth:`Maintained.addresses`."""
        for key in self._keys():
            yield urlsafe_b64decode(key[len(self._exchanges.records) : -1] + b"=")

    def _keys(self) -> Iterator[bytes]:
        """The keys of all records."""
        prefix = re.sub(r"([*?\[\]\\^])", r"\\\1", self._exchanges.prefix.decode())
        length = len(self._exchanges.records) + 44
        try:
            for key in self._transport.scan(f"{prefix}s:{{*}}"):
                if len(key) == length and key.endswith(b"}"):
                    yield key
        except self._exchanges.unavailable as error:
            raise self._exchanges.away("addresses", error) from None

    def purge(self, limit: int) -> int:
        """See :meth:`Maintained.purge`: the server removes expired records by itself."""
        return 0

    def check(self) -> Iterator[Check]:
        """See :meth:`Maintained.check`."""
        works = self._check_commands()
        yield works
        if not works.ok:
            return
        parser = {"redis": "hiredis", "valkey": "libvalkey"}[self._transport.module.__name__]
        if importlib.util.find_spec(parser) is None:
            yield Check(False, f"{parser} is not installed: with it, reading replies is cheaper")
        policy = self._configured("maxmemory-policy")
        if policy not in (None, "noeviction"):
            message = f"maxmemory-policy is {policy}: when memory runs out, sessions are evicted"
            yield Check(False, f"{message}. Set it to noeviction")
        if self._configured("appendonly") == "no" and self._configured("save") == "":
            yield Check(False, "persistence is off: a restart ends every session")
        (reply,) = self._run("check", [("TIME",)], errors=True)
        if not isinstance(reply, Exception) and abs(int(reply[0]) - time.time()) > _CLOCK_SKEW:
            yield Check(False, "its clock differs from this one by more than two seconds")

    def _check_commands(self) -> Check:
        """Does what requests do, on keys of its own."""
        address, owner = b"\0" * 32, b"\0" * 16
        try:
            for record in (b"\xa3" * 100, b"\xa3" * (STAGED_FROM + 1)):
                self.delete(address, owner)
                expires = int(time.time()) + 60
                self.create(address, record, expires, owner)
                changed = b"\xa3" * 13 + b"c" * 24 + record[37:]
                self.replace(address, version_of(record), changed, expires, Ownership(owner))
                self.read(address)
                self.owned([owner])
                self.delete(address, owner)
            self.revoked_since(int(time.time()))
            (answer,) = self._run(
                "check", [("TTL", self._exchanges.prefix + b"revoked")], errors=True
            )
            if isinstance(answer, Exception):
                raise self._exchanges.away("revoke", answer)
        except StoreUnavailable as error:
            return Check(False, f"cannot {error.operation}: {error.problem}")
        return Check(True, "reads, creates, replaces and deletes")

    def _run(self, operation: str, commands: list[Command], *, errors: bool = False) -> list[Any]:
        """See :meth:`RedisExchanges.run`."""
        return drive(self._exchanges.run(operation, commands, errors=errors), self._caller)

    def _configured(self, name: str) -> str | None:
        """A setting of the server; ``None`` if it may not be asked."""
        (reply,) = self._run("check", [("CONFIG", "GET", name)], errors=True)
        if isinstance(reply, Exception):
            return None
        values = list(reply.values()) if isinstance(reply, dict) else list(reply)[1::2]
        value = values[0] if values else None
        return value.decode() if isinstance(value, bytes) else value


def _batches(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for key in keys:
        batch.append(key)
        if len(batch) == _SCAN:
            yield batch
            batch = []
    if batch:
        yield batch
