"""Sessions in Redis or Valkey.

Keys, where ``P`` is the prefix. The braces are literal: they make a cluster keep what belongs
together in one place.

* ``P s:{<address>}``: a record.
* ``P s:{<address>}:<version>``: a large record on its way, for a minute at most.
* ``P u:<tag>``: the addresses of a user's sessions, with their expiry.
* ``P revoked``: the revocations, with their time.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Protocol

from ..errors import StoreUnavailable
from .connections import Command, NoConnectionFree
from .protocol import Check, Ownership, Replaced, StoreStatistics, version_of

#: Begins the name of every key, unless another prefix is chosen.
PREFIX = "flask-fernet:"
#: Bytes above which a record is put beside the one that it replaces.
STAGED_FROM = 2048
#: Milliseconds for which a record stays there, if nothing comes of it.
STAGED_FOR = 60_000
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


class _Script:
    """A script on the server, which is called by its hash."""

    def __init__(self, name: str) -> None:
        text = files(__package__).joinpath("scripts").joinpath(f"{name}.lua").read_text("ascii")
        self.text = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[bytes], *arguments: Any) -> Command:
        return ("EVALSHA", self.hash, len(keys), *keys, *arguments)

    def in_full(self, command: Command) -> Command:
        """The same call, for a server that does not know the script."""
        return ("EVAL", self.text, *command[2:])


_REPLACE, _RENAME, _INDEX, _REVOKE = (
    _Script(name) for name in ("replace", "rename", "index", "revoke")
)
_SCRIPTS = {script.hash: script for script in (_REPLACE, _RENAME, _INDEX, _REVOKE)}


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
        if "{" in prefix or "}" in prefix:
            raise ValueError("The prefix of a store must not have a brace.")
        self._transport = transport
        self._timeout = timeout
        self._prefix = prefix.encode()
        self._records = self._prefix + b"s:{"
        exceptions = transport.module.exceptions
        names = ("RedisError", "ValkeyError", "RedisClusterException", "ValkeyClusterException")
        theirs = [getattr(exceptions, name) for name in names if hasattr(exceptions, name)]
        self._unavailable: tuple[type[Exception], ...] = (*theirs, OSError, NoConnectionFree)

    def _key(self, address: bytes) -> bytes:
        return self._records + urlsafe_b64encode(address)[:43] + b"}"

    def _index(self, owner: bytes) -> bytes:
        return self._prefix + b"u:" + urlsafe_b64encode(owner)[:22]

    def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        command = ("GET", self._key(address))
        try:
            (reply,) = self._transport.run([command])
        except self._unavailable as error:
            raise self._away("read", error) from None
        if reply is None or isinstance(reply, bytes):
            return reply
        raise self._away("read", reply)

    def create(self, address: bytes, record: bytes, expires: int, owner: bytes | None) -> bool:
        """See :meth:`SessionStore.create`."""
        left = _milliseconds_until(expires)
        commands: list[Command] = [("SET", self._key(address), record, "NX", "PX", left)]
        if owner is not None:
            # First: a session that is in no index could not be found.
            commands.insert(0, self._indexing(owner, address, expires))
        return self._run("create", commands)[-1] is not None

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        key = self._key(address)
        left: int | str = "" if expires is None else _milliseconds_until(expires)
        commands: list[Command] = []
        if ownership is not None and ownership.tag is not None and expires is not None:
            commands.append(self._indexing(ownership.tag, address, expires))
        if len(record) <= STAGED_FROM:
            commands.append(_REPLACE.call([key], version, record, left))
        else:
            new = version_of(record)
            beside = key + b":" + urlsafe_b64encode(new)
            commands.append(("SET", beside, record, "PX", STAGED_FOR))
            commands.append(_RENAME.call([key, beside], version, new, left))
        answer = self._run("replace", commands)[-1]
        self._leave_index(address, ownership, answer)
        if answer == 1:
            return Replaced.DONE
        return Replaced.GONE if answer == 0 else answer

    def _leave_index(self, address: bytes, ownership: Ownership | None, answer: Any) -> None:
        """Takes a record out of the index in which it is not any more."""
        if ownership is None:
            return
        wrong = None
        if answer == 1 and ownership.tag != ownership.former:
            wrong = ownership.former
        elif answer == 0:
            wrong = ownership.tag
        # After a conflict the record may belong there: another request has just put it in.
        if wrong is not None:
            # The record is written. Whoever reads an index looks whether the entry is right.
            with contextlib.suppress(StoreUnavailable):
                member = urlsafe_b64encode(address)[:43]
                self._run("replace", [("ZREM", self._index(wrong), member)])

    def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        commands: list[Command] = [("DEL", self._key(address))]
        if owner is not None:
            member = urlsafe_b64encode(address)[:43]
            commands.append(("ZREM", self._index(owner), member))
        return bool(self._run("delete", commands)[0] == 1)

    def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        if not owners:
            return []
        now = int(time.time() * 1000)
        found = self._run(
            "owned",
            [
                ("ZRANGE", self._index(owner), now, "+inf", "BYSCORE", "WITHSCORES")
                for owner in owners
            ],
        )
        members = [one for reply in found for one in _scored(reply)]
        members.sort(key=lambda one: one[1])
        return [urlsafe_b64decode(member + b"=") for member, _ in members]

    def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`."""
        call = _REVOKE.call([self._prefix + b"revoked"], subject, keep_for, moment)
        return int(self._run("revoke", [call])[0])

    def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        key = self._prefix + b"revoked"
        (reply,) = self._run(
            "revoked_since", [("ZRANGE", key, moment, "+inf", "BYSCORE", "WITHSCORES")]
        )
        return [(subject, int(changed)) for subject, changed in _scored(reply)]

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
            yield urlsafe_b64decode(key[len(self._records) : -1] + b"=")

    def _keys(self) -> Iterator[bytes]:
        """The keys of all records."""
        prefix = re.sub(r"([*?\[\]\\^])", r"\\\1", self._prefix.decode())
        length = len(self._records) + 44
        try:
            for key in self._transport.scan(f"{prefix}s:{{*}}"):
                if len(key) == length and key.endswith(b"}"):
                    yield key
        except self._unavailable as error:
            raise self._away("addresses", error) from None

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
            (answer,) = self._run("check", [("TTL", self._prefix + b"revoked")], errors=True)
            if isinstance(answer, Exception):
                raise self._away("revoke", answer)
        except StoreUnavailable as error:
            return Check(False, f"cannot {error.operation}: {error.problem}")
        return Check(True, "reads, creates, replaces and deletes")

    def _configured(self, name: str) -> str | None:
        """A setting of the server; ``None`` if it may not be asked."""
        (reply,) = self._run("check", [("CONFIG", "GET", name)], errors=True)
        if isinstance(reply, Exception):
            return None
        values = list(reply.values()) if isinstance(reply, dict) else list(reply)[1::2]
        value = values[0] if values else None
        return value.decode() if isinstance(value, bytes) else value

    def _indexing(self, owner: bytes, address: bytes, expires: int) -> Command:
        now = int(time.time() * 1000)
        member = urlsafe_b64encode(address)[:43]
        return _INDEX.call([self._index(owner)], expires * 1000, member, now)

    def _run(self, operation: str, commands: list[Command], *, errors: bool = False) -> list[Any]:
        """The replies to some commands.

        :param errors: whether errors of the server are replies too.
        :raises StoreUnavailable: if the server does not answer, or refuses a command.
        """
        try:
            replies = self._transport.run(commands)
        except self._unavailable as error:
            if errors and isinstance(error, self._transport.module.exceptions.ResponseError):
                return [error] * len(commands)
            raise self._away(operation, error) from None
        for position, reply in enumerate(replies):
            if not isinstance(reply, Exception):
                continue
            if isinstance(reply, self._transport.module.exceptions.NoScriptError):
                # The server was restarted, or is another one. What came behind is done again too.
                again = [
                    _SCRIPTS[command[1]].in_full(command) if command[0] == "EVALSHA" else command
                    for command in commands[position:]
                ]
                return [*replies[:position], *self._run(operation, again, errors=errors)]
            if not errors:
                raise self._away(operation, reply) from None
        return replies

    def _away(self, operation: str, error: Exception) -> StoreUnavailable:
        exceptions = self._transport.module.exceptions
        is_outage = True
        if isinstance(error, NoConnectionFree):
            problem, is_outage = "every connection is in use", False
        elif isinstance(error, (exceptions.TimeoutError, TimeoutError)):
            problem = f"no answer within {self._timeout:g} s" if self._timeout else "no answer"
        elif isinstance(error, exceptions.AuthenticationError):
            problem = "it refuses the user name or password"
        elif isinstance(error, exceptions.BusyLoadingError):
            problem = "it is loading its data"
        elif isinstance(error, exceptions.ReadOnlyError):
            problem = "it is a replica, which only reads"
        elif isinstance(error, exceptions.OutOfMemoryError):
            problem = "it is out of memory"
        elif isinstance(error, exceptions.NoPermissionError):
            problem, is_outage = "it does not permit a command", False
        elif isinstance(error, exceptions.ResponseError):
            # The text may show keys; the first word is the kind of the error.
            problem = f"it refuses a command ({str(error).partition(' ')[0]})"
            is_outage = False
        elif isinstance(error, (exceptions.ConnectionError, OSError)):
            problem = "no connection"
        else:
            problem = type(error).__name__
        return StoreUnavailable(operation, problem, is_outage=is_outage)


def _milliseconds_until(expires: int) -> int:
    """Milliseconds from now on, one at least. The server's clock does not matter then."""
    return max(1, int((expires - time.time()) * 1000))


def _scored(reply: Any) -> list[tuple[bytes, float]]:
    """Members with their scores: a flat list in RESP2, pairs in RESP3."""
    if reply and isinstance(reply[0], (list, tuple)):
        return [(member, float(score)) for member, score in reply]
    return [(reply[i], float(reply[i + 1])) for i in range(0, len(reply), 2)]


def _batches(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for key in keys:
        batch.append(key)
        if len(batch) == _SCAN:
            yield batch
            batch = []
    if batch:
        yield batch
