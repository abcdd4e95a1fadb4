"""What is said to Redis or Valkey for each operation of a store.

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
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from ..driver import Exchange, Operation
from ..errors import StoreUnavailable
from .connections import Command, NoConnectionFree
from .protocol import Ownership, Replaced, version_of

#: Begins the name of every key, unless another prefix is chosen.
PREFIX = "flask-fernet:"
#: Bytes above which a record is put beside the one that it replaces.
STAGED_FROM = 2048
#: Milliseconds for which a record stays there, if nothing comes of it.
STAGED_FOR = 60_000


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


class RedisExchanges:
    """What is said to Redis for each operation of a store, whoever carries it."""

    def __init__(self, module: Any, prefix: str, timeout: float) -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("The prefix of a store must not have a brace.")
        self.module = module
        self._timeout = timeout
        self.prefix: bytes = prefix.encode()
        self.records: bytes = self.prefix + b"s:{"
        exceptions = module.exceptions
        names = ("RedisError", "ValkeyError", "RedisClusterException", "ValkeyClusterException")
        theirs = [getattr(exceptions, name) for name in names if hasattr(exceptions, name)]
        self.unavailable: tuple[type[Exception], ...] = (*theirs, OSError, NoConnectionFree)

    def key(self, address: bytes) -> bytes:
        """The key of a record."""
        return self.records + urlsafe_b64encode(address)[:43] + b"}"

    def index(self, owner: bytes) -> bytes:
        """The key of the addresses of a user's sessions."""
        return self.prefix + b"u:" + urlsafe_b64encode(owner)[:22]

    def read(self, address: bytes) -> Exchange[bytes | None]:
        """See :meth:`SessionStore.read`."""
        return (yield from self.run("read", [("GET", self.key(address))]))[0]  # type: ignore[no-any-return]

    def create(
        self, address: bytes, record: bytes, expires: int, owner: bytes | None
    ) -> Exchange[bool]:
        """See :meth:`SessionStore.create`."""
        left = _milliseconds_until(expires)
        commands: list[Command] = [("SET", self.key(address), record, "NX", "PX", left)]
        if owner is not None:
            # First: a session that is in no index could not be found.
            commands.insert(0, self._indexing(owner, address, expires))
        return (yield from self.run("create", commands))[-1] is not None

    def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Exchange[Replaced | bytes]:
        """See :meth:`SessionStore.replace`."""
        key = self.key(address)
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
        answer = (yield from self.run("replace", commands))[-1]
        yield from self._leave_index(address, ownership, answer)
        if answer == 1:
            return Replaced.DONE
        return Replaced.GONE if answer == 0 else answer

    def _leave_index(
        self, address: bytes, ownership: Ownership | None, answer: Any
    ) -> Exchange[None]:
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
                yield from self.run("replace", [("ZREM", self.index(wrong), member)])

    def delete(self, address: bytes, owner: bytes | None = None) -> Exchange[bool]:
        """See :meth:`SessionStore.delete`."""
        commands: list[Command] = [("DEL", self.key(address))]
        if owner is not None:
            member = urlsafe_b64encode(address)[:43]
            commands.append(("ZREM", self.index(owner), member))
        return bool((yield from self.run("delete", commands))[0] == 1)

    def owned(self, owners: Sequence[bytes]) -> Exchange[list[bytes]]:
        """See :meth:`OwnedSessions.owned`."""
        if not owners:
            return []
        now = int(time.time() * 1000)
        found = yield from self.run(
            "owned",
            [
                ("ZRANGE", self.index(owner), now, "+inf", "BYSCORE", "WITHSCORES")
                for owner in owners
            ],
        )
        members = [one for reply in found for one in _scored(reply)]
        members.sort(key=lambda one: one[1])
        return [urlsafe_b64decode(member + b"=") for member, _ in members]

    def revoke(self, subject: bytes, moment: int, keep_for: int) -> Exchange[int]:
        """See :meth:`Revocations.revoke`."""
        call = _REVOKE.call([self.prefix + b"revoked"], subject, keep_for, moment)
        return int((yield from self.run("revoke", [call]))[0])

    def revoked_since(self, moment: int) -> Exchange[list[tuple[bytes, int]]]:
        """See :meth:`Revocations.revoked_since`."""
        key = self.prefix + b"revoked"
        (reply,) = yield from self.run(
            "revoked_since", [("ZRANGE", key, moment, "+inf", "BYSCORE", "WITHSCORES")]
        )
        return [(subject, int(changed)) for subject, changed in _scored(reply)]

    def _indexing(self, owner: bytes, address: bytes, expires: int) -> Command:
        now = int(time.time() * 1000)
        member = urlsafe_b64encode(address)[:43]
        return _INDEX.call([self.index(owner)], expires * 1000, member, now)

    def run(
        self, operation: str, commands: list[Command], *, errors: bool = False
    ) -> Exchange[list[Any]]:
        """The replies to some commands, which a transport is asked to ``run``.

        :param errors: whether errors of the server are replies too.
        :raises StoreUnavailable: if the server does not answer, or refuses a command.
        """
        try:
            replies: list[Any] = yield Operation("run", (commands,))
        except self.unavailable as error:
            if errors and isinstance(error, self.module.exceptions.ResponseError):
                return [error] * len(commands)
            raise self.away(operation, error) from None
        for position, reply in enumerate(replies):
            if not isinstance(reply, Exception):
                continue
            if isinstance(reply, self.module.exceptions.NoScriptError):
                # The server was restarted, or is another one. What came behind is done again too.
                again = [
                    _SCRIPTS[command[1]].in_full(command) if command[0] == "EVALSHA" else command
                    for command in commands[position:]
                ]
                rest = yield from self.run(operation, again, errors=errors)
                return [*replies[:position], *rest]
            if not errors:
                raise self.away(operation, reply) from None
        return replies

    def away(self, operation: str, error: Exception) -> StoreUnavailable:
        """What an error of the client or the server means."""
        exceptions = self.module.exceptions
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
            problem, is_outage = "it is a replica, which only reads", False
        elif isinstance(error, exceptions.OutOfMemoryError):
            problem, is_outage = "it is out of memory", False
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
