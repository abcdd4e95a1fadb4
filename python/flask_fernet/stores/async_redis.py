"""Sessions in Redis or Valkey, for apps whose views are coroutines."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ..driver import Exchange, Methods, T, drive_async
from .by_loop import ByLoop
from .connections import Command, NoConnectionFree
from .protocol import Ownership, Replaced
from .redis_exchanges import PREFIX, RedisExchanges


class AsyncTransport:
    """Commands through a client of ``redis.asyncio`` or ``valkey.asyncio``.

    :param make: makes a client for one event loop.
    :param module: ``redis`` or ``valkey``.
    """

    def __init__(self, make: Callable[[], Any], module: Any) -> None:
        self._clients: ByLoop[Any] = ByLoop(make)
        self._module = module

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to some commands. A reply may be an error of the server."""
        client = self._clients.get()
        try:
            if len(commands) == 1:
                return [await self._run(client, commands[0])]
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(await pipeline.execute(raise_on_error=False))
        except self._module.exceptions.ConnectionError as error:
            if str(error) == "No connection available.":
                raise NoConnectionFree from None
            raise

    async def _run(self, client: Any, command: Command) -> Any:
        try:
            return await client.execute_command(*command)
        except self._module.exceptions.NoScriptError as error:
            return error

    async def close(self) -> None:
        """Closes the connections of the running event loop."""
        client = self._clients.take()
        if client is not None:
            await client.aclose()


class AsyncRedisStore:
    """Keeps records in Redis (6.2 or later) or Valkey, without blocking an event loop.

    ``SESSION_STORE = "redis://…"`` of a Quart app makes one; give it a client only if the app has
    one to share. Such a client belongs to one event loop.

    :param client: a client of ``redis.asyncio`` or ``valkey.asyncio``. It must not decode
        responses. Its own time-outs and retries hold.
    :param prefix: begins the name of every key.
    :raises ValueError: if the prefix has a brace.
    :raises TypeError: if the client is another one.
    """

    def __init__(self, client: Any, prefix: str = PREFIX) -> None:
        names = [base.__module__.split(".") for base in type(client).__mro__]
        name = next((one[0] for one in names if one[1:2] == ["asyncio"]), None)
        if name not in ("redis", "valkey"):
            raise TypeError("The client of a store must be one of redis.asyncio.")
        module = importlib.import_module(name)
        self._set_up(AsyncTransport(lambda: client, module), RedisExchanges(module, prefix, 0))

    @classmethod
    def over(cls, transport: AsyncTransport, exchanges: RedisExchanges) -> AsyncRedisStore:
        """A store over a transport."""
        self = cls.__new__(cls)
        self._set_up(transport, exchanges)
        return self

    def _set_up(self, transport: AsyncTransport, exchanges: RedisExchanges) -> None:
        self._transport = transport
        self._exchanges = exchanges
        self._caller = Methods(transport)

    async def read(self, address: bytes) -> bytes | None:
        """See :meth:`SessionStore.read`."""
        return await self._ask(self._exchanges.read(address))

    async def create(
        self, address: bytes, record: bytes, expires: int, owner: bytes | None
    ) -> bool:
        """See :meth:`SessionStore.create`."""
        return await self._ask(self._exchanges.create(address, record, expires, owner))

    async def replace(
        self,
        address: bytes,
        version: bytes,
        record: bytes,
        expires: int | None,
        ownership: Ownership | None = None,
    ) -> Replaced | bytes:
        """See :meth:`SessionStore.replace`."""
        replacing = self._exchanges.replace(address, version, record, expires, ownership)
        return await self._ask(replacing)

    async def delete(self, address: bytes, owner: bytes | None = None) -> bool:
        """See :meth:`SessionStore.delete`."""
        return await self._ask(self._exchanges.delete(address, owner))

    async def owned(self, owners: Sequence[bytes]) -> list[bytes]:
        """See :meth:`OwnedSessions.owned`."""
        return await self._ask(self._exchanges.owned(owners))

    async def revoke(self, subject: bytes, moment: int, keep_for: int) -> int:
        """See :meth:`Revocations.revoke`."""
        return await self._ask(self._exchanges.revoke(subject, moment, keep_for))

    async def revoked_since(self, moment: int) -> list[tuple[bytes, int]]:
        """See :meth:`Revocations.revoked_since`."""
        return await self._ask(self._exchanges.revoked_since(moment))

    async def close(self) -> None:
        """Closes the connections of the running event loop."""
        await self._transport.close()

    async def _ask(self, exchange: Exchange[T]) -> T:
        return await drive_async(exchange, self._caller)
