"""URLs of Redis and Valkey.

``redis://[user:password@]host:port/db``, ``rediss://`` for TLS, ``redis+unix:///path?db=0``,
``redis+sentinel://host:26379,host2:26379/service/db`` and ``redis+cluster://host:7000,host2:7000``;
``rediss+sentinel://`` and ``rediss+cluster://`` for TLS; each with ``valkey`` for ``redis``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from ..errors import ConfigurationError
from .async_redis import AsyncRedisStore, AsyncTransport
from .connections import KeptConnections
from .redis import ClientTransport, KeptTransport, RedisStore, Transport
from .redis_exchanges import PREFIX, RedisExchanges

#: The most connections of one process, unless the URL says otherwise.
MAX_CONNECTIONS = 50

_KINDS = ("", "unix", "sentinel", "cluster")
_NAMES = ("redis", "rediss", "valkey", "valkeys")


def is_redis(scheme: str) -> bool:
    """Whether a URL with this scheme is one of Redis or Valkey."""
    return scheme.partition("+")[0] in _NAMES


class _Place(NamedTuple):
    """What a URL says."""

    #: The module ``redis`` or ``valkey``.
    module: Any
    #: One of ``_KINDS``.
    kind: str
    parts: SplitResult
    #: The options that are not ours.
    query: dict[str, str]
    is_tls: bool
    prefix: str
    #: Seconds that an operation may take.
    timeout: float
    #: The most connections of one process.
    limit: int

    def options(self) -> dict[str, Any]:
        """The options of a connection that are ours to decide."""
        return {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "decode_responses": False,
        }

    def base(self) -> str:
        """The URL of one server, in the words of redis-py."""
        if self.kind == "unix" and not self.parts.path:
            raise ValueError("no path")
        scheme = "unix" if self.kind == "unix" else self.module.__name__ + "s" * self.is_tls
        return f"{scheme}://{self.parts.netloc}{self.parts.path}?{urlencode(self.query)}"


@contextmanager
def _errors_named() -> Iterator[None]:
    """Within this context, what redis-py says about an option is a :class:`ConfigurationError`."""
    try:
        yield
    except ConfigurationError:
        raise
    except (TypeError, ValueError, AttributeError):
        raise ConfigurationError(
            "SESSION_STORE has an option, a port, a database or a prefix that cannot be used. "
            "Options of ours are prefix, timeout and max_connections; all others are those of "
            "redis-py's connections."
        ) from None


def open_redis(url: str, timeout: float) -> RedisStore:
    """The store at a URL. Nothing is connected yet.

    :raises ConfigurationError: if the URL cannot be used, or the package is missing. The message
        never shows the URL.
    """
    place = _parsed(url, timeout)
    module = place.module
    retry = module.retry.Retry(module.backoff.NoBackoff(), 0)
    options = {**place.options(), "retry": retry, "protocol": 2}
    make = {"sentinel": _sentinel, "cluster": _cluster}.get(place.kind, _kept)
    with _errors_named():
        return RedisStore.over(make(place, options), place.prefix, place.timeout)


def open_async_redis(url: str, timeout: float) -> AsyncRedisStore:
    """The same for an app whose views are coroutines."""
    place = _parsed(url, timeout)
    module = place.module
    for part in ("asyncio", "asyncio.retry", "asyncio.sentinel", "asyncio.cluster"):
        importlib.import_module(f"{module.__name__}.{part}")
    asynchronous = module.asyncio
    retry = asynchronous.retry.Retry(module.backoff.NoBackoff(), 0)
    options = {**place.options(), "retry": retry}
    with _errors_named():
        make = _async_maker(place, asynchronous, options)
        # Tells wrong options now. It does not connect.
        make()
        exchanges = RedisExchanges(module, place.prefix, place.timeout)
        return AsyncRedisStore.over(AsyncTransport(make, module), exchanges)


def _async_maker(place: _Place, module: Any, options: dict[str, Any]) -> Callable[[], Any]:
    """What makes a client for one event loop.

    :param module: ``redis.asyncio`` or ``valkey.asyncio``.
    """
    if place.kind == "sentinel":
        return lambda: _master(place, module.sentinel.Sentinel, options)
    if place.kind == "cluster":
        client = {"redis": "RedisCluster", "valkey": "ValkeyCluster"}[place.module.__name__]
        nodes, arguments = _nodes(place, module.cluster.ClusterNode, options)
        return lambda: getattr(module.cluster, client)(startup_nodes=nodes, **arguments)
    found = module.ConnectionPool.from_url(place.base())
    arguments = {**found.connection_kwargs, **options}

    def make() -> Any:
        found.connection_class(**arguments)
        pool = module.BlockingConnectionPool(
            max_connections=place.limit,
            timeout=place.timeout,
            connection_class=found.connection_class,
            **arguments,
        )
        return getattr(module, place.module.__name__.title()).from_pool(pool)

    return make


def _parsed(url: str, timeout: float) -> _Place:
    scheme, _, kind = url.partition("://")[0].partition("+")
    tls = scheme in ("rediss", "valkeys")
    if kind not in _KINDS or (kind == "unix" and tls):
        raise ConfigurationError(
            "SESSION_STORE must begin with redis://, rediss://, redis+unix://, redis+sentinel:// "
            "or redis+cluster://, or the same with valkey."
        )
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise ConfigurationError("SESSION_STORE must be a valid URL.") from None
    if query.pop("replica", None) is not None:
        raise ConfigurationError(
            "SESSION_STORE must not have 'replica': a replica may have an older session."
        )
    prefix = query.pop("prefix", PREFIX)
    timeout = _number(query, "timeout", timeout)
    limit = int(_number(query, "max_connections", MAX_CONNECTIONS, least=1))
    return _Place(_module(scheme), kind, parts, query, tls, prefix, timeout, limit)


def _number(query: dict[str, str], name: str, default: float, least: float = 0.001) -> float:
    text = query.pop(name, None)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not least <= number <= 10_000:
        raise ConfigurationError(f"{name} in SESSION_STORE must be a number from {least:g} on.")
    return number


def _module(scheme: str) -> Any:
    """``redis`` or ``valkey``, with the modules below it that are used."""
    wanted = ["valkey", "redis"] if scheme.startswith("valkey") else ["redis"]
    for name in wanted:
        try:
            for part in ("retry", "backoff", "sentinel", "cluster", "exceptions"):
                importlib.import_module(f"{name}.{part}")
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != name:
                raise
    extra = "valkey" if scheme.startswith("valkey") else "redis"
    raise ConfigurationError(
        f"SESSION_STORE needs the package {extra!r}: pip install 'flask-fernet[{extra}]'."
    )


def _kept(place: _Place, options: dict[str, Any]) -> Transport:
    module = place.module
    # With protocol 3 the pool would add handlers that need hiredis under protocol 2.
    pool = module.ConnectionPool.from_url(place.base(), protocol=options["protocol"])
    # What the URL says comes last there, but not for what is ours to decide.
    arguments = {**pool.connection_kwargs, **options}
    connect = pool.connection_class

    def make() -> Any:
        return connect(**arguments)

    # Tells wrong options now. It does not connect.
    make()
    exceptions = module.exceptions
    lost = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
    timed_out = (exceptions.TimeoutError, TimeoutError)
    stale = (exceptions.ReadOnlyError, exceptions.MasterDownError)
    connections = KeptConnections(make, place.limit, place.timeout, lost, timed_out, stale)
    return KeptTransport(connections, module)


def _hosts(parts: Any, port: int) -> list[tuple[str, int]]:
    hosts = []
    for host in parts.netloc.rpartition("@")[2].split(","):
        name, separator, number = host.rpartition(":")
        hosts.append((name, int(number)) if separator else (host, port))
    if not all(name for name, _ in hosts):
        raise ValueError("no host")
    return hosts


def _credentials(parts: Any) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _sentinel(place: _Place, options: dict[str, Any]) -> Transport:
    return ClientTransport(_master(place, place.module.sentinel.Sentinel, options), place.module)


def _master(place: _Place, sentinel_class: Any, options: dict[str, Any]) -> Any:
    """A client of the primary that Sentinel names."""
    service, _, database = place.parts.path.strip("/").partition("/")
    if not service:
        raise ConfigurationError(
            "SESSION_STORE must name the service: redis+sentinel://host:26379/service/0."
        )
    secure = _secure(place)
    sentinel = sentinel_class(
        _hosts(place.parts, 26379), sentinel_kwargs={**options, **secure}, **secure
    )
    return sentinel.master_for(
        unquote(service),
        db=int(database or 0),
        max_connections=place.limit,
        **_credentials(place.parts),
        **options,
    )


def _cluster(place: _Place, options: dict[str, Any]) -> Transport:
    module = place.module
    nodes, arguments = _nodes(place, module.cluster.ClusterNode, options)
    client = {"redis": "RedisCluster", "valkey": "ValkeyCluster"}[module.__name__]
    return ClientTransport(_Cluster(getattr(module.cluster, client), nodes, arguments), module)


def _nodes(
    place: _Place, node_class: Any, options: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The first nodes of a cluster that are asked, and the options of its client."""
    if place.parts.path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has one database")
    nodes = [node_class(*host) for host in _hosts(place.parts, 6379)]
    credentials = _credentials(place.parts)
    arguments = {**options, **_secure(place), **credentials, "max_connections": place.limit}
    return nodes, arguments


def _secure(place: _Place) -> dict[str, Any]:
    """The options of TLS, of a client that takes no URL."""
    if place.is_tls:
        return {"ssl": True, **_ssl(place.query)}
    if place.query:
        raise ValueError("unknown options")
    return {}


def _ssl(query: Mapping[str, str]) -> dict[str, Any]:
    known = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
    if set(query) - set(known):
        raise ValueError("unknown options")
    return dict(query)


class _Cluster:
    """A client of a cluster, which asks the nodes for their slots only when it is first used."""

    def __init__(self, make: Any, nodes: list[Any], arguments: dict[str, Any]) -> None:
        self._make = make
        self._nodes = nodes
        self._arguments = arguments
        self._client: Any = None

    def execute_command(self, *command: Any) -> Any:
        """See ``redis.RedisCluster``."""
        return self._connected().execute_command(*command)

    def scan_iter(self, pattern: str, count: int) -> Any:
        """See ``redis.RedisCluster``."""
        return self._connected().scan_iter(pattern, count=count)

    def _connected(self) -> Any:
        if self._client is None:
            self._client = self._make(startup_nodes=self._nodes, **self._arguments)
        return self._client
