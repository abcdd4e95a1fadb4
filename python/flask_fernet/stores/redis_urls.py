"""URLs of Redis and Valkey.

``redis://[user:password@]host:port/db``, ``rediss://`` for TLS, ``redis+unix:///path?db=0``,
``redis+sentinel://host:26379,host2:26379/service/db`` and ``redis+cluster://host:7000,host2:7000``;
``rediss+sentinel://`` and ``rediss+cluster://`` for TLS; each with ``valkey`` for ``redis``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from ..errors import ConfigurationError
from .connections import KeptConnections
from .redis import PREFIX, ClientTransport, KeptTransport, RedisStore, Transport

#: The most connections of one process, unless the URL says otherwise.
MAX_CONNECTIONS = 50

_KINDS = ("", "unix", "sentinel", "cluster")
_NAMES = ("redis", "rediss", "valkey", "valkeys")


def is_redis(scheme: str) -> bool:
    """Whether a URL with this scheme is one of Redis or Valkey."""
    return scheme.partition("+")[0] in _NAMES


def open_redis(url: str, timeout: float) -> RedisStore:
    """The store at a URL. Nothing is connected yet.

    :raises ConfigurationError: if the URL cannot be used, or the package is missing. The message
        never shows the URL.
    """
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
    module = _module(scheme)
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": module.retry.Retry(module.backoff.NoBackoff(), 0),
        "decode_responses": False,
        "protocol": 2,
    }
    transport: Transport
    try:
        if kind == "sentinel":
            transport = _sentinel(module, parts, query, tls, options, limit)
        elif kind == "cluster":
            transport = _cluster(module, parts, query, tls, options, limit)
        else:
            transport = _kept(module, parts, query, kind == "unix", tls, options, limit)
        return RedisStore.over(transport, prefix, timeout)
    except ConfigurationError:
        raise
    except (TypeError, ValueError, AttributeError):
        raise ConfigurationError(
            "SESSION_STORE has an option, a port, a database or a prefix that cannot be used. "
            "Options of ours are prefix, timeout and max_connections; all others are those of "
            "redis-py's connections."
        ) from None


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


def _base(module: Any, tls: bool) -> str:
    return {"redis": "redis", "valkey": "valkey"}[module.__name__] + ("s" if tls else "")


def _kept(
    module: Any,
    parts: Any,
    query: Mapping[str, str],
    is_unix: bool,
    tls: bool,
    options: dict[str, Any],
    limit: int,
) -> Transport:
    place = f"{parts.netloc}{parts.path}"
    base = "unix" if is_unix else _base(module, tls)
    if is_unix and not parts.path:
        raise ValueError("no path")
    pool = module.ConnectionPool.from_url(f"{base}://{place}?{urlencode(query)}")
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
    timeout = options["socket_timeout"]
    return KeptTransport(KeptConnections(make, limit, timeout, lost, timed_out, stale), module)


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


def _sentinel(
    module: Any,
    parts: Any,
    query: Mapping[str, str],
    tls: bool,
    options: dict[str, Any],
    limit: int,
) -> Transport:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigurationError(
            "SESSION_STORE must name the service: redis+sentinel://host:26379/service/0."
        )
    secure = {"ssl": True, **_ssl(query)} if tls else {}
    if not tls and query:
        raise ValueError("unknown options")
    sentinel = module.sentinel.Sentinel(
        _hosts(parts, 26379), sentinel_kwargs={**options, **secure}, **secure
    )
    client = sentinel.master_for(
        unquote(service),
        db=int(database or 0),
        max_connections=limit,
        **_credentials(parts),
        **options,
    )
    return ClientTransport(client, module)


def _cluster(
    module: Any,
    parts: Any,
    query: Mapping[str, str],
    tls: bool,
    options: dict[str, Any],
    limit: int,
) -> Transport:
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has one database")
    nodes = [module.cluster.ClusterNode(*host) for host in _hosts(parts, 6379)]
    secure = {"ssl": True, **_ssl(query)} if tls else {}
    if not tls and query:
        raise ValueError("unknown options")
    arguments = {**options, **secure, **_credentials(parts), "max_connections": limit}
    client = {"redis": "RedisCluster", "valkey": "ValkeyCluster"}[module.__name__]
    return ClientTransport(_Cluster(getattr(module.cluster, client), nodes, arguments), module)


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
