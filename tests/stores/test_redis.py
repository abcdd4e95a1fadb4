"""Sessions in a real Redis server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flask_fernet import ConfigurationError, StoreUnavailable
from flask_fernet.stores.protocol import Ownership, Replaced, version_of
from flask_fernet.stores.redis import RedisStore
from flask_fernet.stores.urls import open_store
from flask_fernet.testing import (
    MaintainedContract,
    OwnedSessionsContract,
    RevocationsContract,
    StoreContract,
    new_record,
)
from tests.servers import Proxy, RedisServer
from tests.storing import later, read_in_forked_children


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    """A client of the test's own, to an empty server."""
    with redis_server.client() as client:
        client.flushall()
        client.script_flush()
        client.config_resetstat()
        yield client


class Contract(StoreContract, OwnedSessionsContract, RevocationsContract, MaintainedContract):
    pass


class TestRedis(Contract):
    @pytest.fixture
    def store(self, redis_server: RedisServer, client: Any) -> Any:
        return open_store(redis_server.url, 1.0)


class TestUnixSocket(StoreContract):
    @pytest.fixture
    def store(self, redis_server: RedisServer, client: Any) -> Any:
        return open_store(f"redis+unix://{redis_server.folder}/socket?db=1&prefix=app:", 1.0)


class TestValkeysClient(StoreContract, OwnedSessionsContract):
    @pytest.fixture
    def store(self, redis_server: RedisServer, client: Any) -> Any:
        store: Any = open_store(redis_server.url.replace("redis://", "valkey://"), 1.0)
        assert store._transport.module.__name__ == "valkey"
        return store


class TlsServer(RedisServer):
    """Redis that takes TLS alone, and only from clients with a certificate."""

    def __init__(self) -> None:
        super().__init__()
        make_certificates(self.folder)
        self.options = (
            "--tls-port", str(self.port), "--port", "0", "--save", "",
            "--tls-cert-file", "server.crt", "--tls-key-file", "server.key",
            "--tls-ca-cert-file", "ca.crt", "--tls-auth-clients", "yes",
        )  # fmt: skip

    def command(self) -> list[str]:
        command = super().command()
        # The plain port is off.
        at = command.index("--port")
        return [*command[:at], *command[at + 2 :]]

    @property
    def url(self) -> str:
        files = "&".join(
            f"{option}={self.folder}/{name}"
            for option, name in (
                ("ssl_ca_certs", "ca.crt"),
                ("ssl_certfile", "client.crt"),
                ("ssl_keyfile", "client.key"),
            )
        )
        return f"rediss://localhost:{self.port}?{files}"

    def answers(self) -> bool:
        try:
            open_store(self.url, 1.0).read(b"a" * 32)
        except StoreUnavailable:
            return False
        return True


def make_certificates(folder: Path) -> None:
    """A certificate authority, and certificates of a server and a client."""
    now = datetime.now(timezone.utc)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client")}
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
    for name, key in keys.items():
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(keys["ca"], hashes.SHA256())
        )
        encoding = serialization.Encoding.PEM
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(encoding))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                encoding,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def test_tls_with_certificates_of_both_sides() -> None:
    server = TlsServer()
    try:
        server.start()
        store = open_store(server.url, 1.0)
        store.create(b"a" * 32, record := new_record(5000), later(), None)
        assert store.read(b"a" * 32) == record
        for url in (
            server.url.partition("&")[0],
            f"rediss://localhost:{server.port}",
            f"redis://localhost:{server.port}",
        ):
            with pytest.raises(StoreUnavailable):
                open_store(url, 1.0).read(b"a" * 32)
    finally:
        server.close()


class TestOwnClient(OwnedSessionsContract, StoreContract):
    @pytest.fixture
    def store(self, redis_server: RedisServer, client: Any) -> Any:
        return RedisStore(client)


def test_a_database_holds_the_named_keys_and_no_others(
    redis_server: RedisServer, client: Any
) -> None:
    store = open_store(f"{redis_server.url}/0?prefix=shop:", 1.0)
    address = b"\xfb" * 32
    store.create(address, new_record(), later(), b"o" * 16)
    store.create(b"b" * 32, record := new_record(5000), later(), None)
    store.replace(b"b" * 32, version_of(record), new_record(5000), None)
    store.revoke(b"*", int(time.time()), 60)  # type: ignore[attr-defined]
    assert sorted(client.keys("*")) == [
        b"shop:revoked",
        b"shop:s:{-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s}",
        b"shop:s:{YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI}",
        b"shop:u:b29vb29vb29vb29vb29vbw",
    ]
    assert all(client.ttl(key) > 0 for key in client.keys("*"))


def test_each_operation_is_one_trip(redis_server: RedisServer, client: Any) -> None:
    store = open_store(redis_server.url, 1.0)
    trips: list[int] = []
    connections = store._transport.connections  # type: ignore[attr-defined]
    run = connections.run

    def counting(commands: Any) -> Any:
        trips.append(len(commands))
        return run(commands)

    connections.run = counting
    address, small, large = b"a" * 32, new_record(), new_record(4000)
    # The first calls send the scripts.
    store.create(address, small, later(), b"o" * 16)
    store.replace(address, version_of(small), large, None)
    trips.clear()
    newer = new_record(4000)
    store.read(address)
    store.replace(address, version_of(large), newer, None)
    store.delete(address)
    store.create(address, small, later(), b"o" * 16)
    store.delete(address, b"o" * 16)
    assert trips == [1, 2, 1, 2, 2]


def test_an_index_lasts_as_long_as_the_last_session_in_it(
    redis_server: RedisServer, client: Any
) -> None:
    store = open_store(redis_server.url, 1.0)
    owner = b"o" * 16
    for number, seconds in enumerate((4000, 100, 2000)):
        store.create(bytes([number]) * 32, new_record(), int(time.time()) + seconds, owner)
    (index,) = client.keys("*u:*")
    assert 3990 < client.ttl(index) <= 4000
    # A thousand log-ins that expire leave nothing behind.
    for number in range(200):
        address = b"a" + number.to_bytes(31, "big")
        store.create(address, new_record(), int(time.time()) + 1, owner)
    time.sleep(1.1)
    store.create(b"x" * 32, new_record(), int(time.time()) + 1, owner)
    assert client.zcard(index) == 4


def test_a_record_without_expiry_survives_a_rename(redis_server: RedisServer, client: Any) -> None:
    """``PTTL`` of a record without expiry is -1, and ``PEXPIRE -1`` would delete it."""
    store = open_store(redis_server.url, 1.0)
    address, record = b"a" * 32, new_record(5000)
    store.create(address, record, later(), None)
    (key,) = client.keys("*")
    client.persist(key)
    assert store.replace(address, version_of(record), new_record(5000), None) is Replaced.DONE
    assert client.ttl(key) == -1


def test_a_staged_record_that_lost_leaves_nothing(redis_server: RedisServer, client: Any) -> None:
    store = open_store(redis_server.url, 1.0)
    address, record = b"a" * 32, new_record(5000)
    store.create(address, record, later(), None)
    assert store.replace(address, b"v" * 24, new_record(5000), None) == record
    assert store.replace(b"b" * 32, b"v" * 24, new_record(5000), None) is Replaced.GONE
    assert len(client.keys("*")) == 1


@pytest.mark.parametrize("forget", ["script flush", "restart"])
def test_scripts_are_sent_again_to_a_server_that_forgot_them(
    redis_server: RedisServer, client: Any, forget: str
) -> None:
    store = open_store(redis_server.url, 1.0)
    owner = b"o" * 16
    for length in (100, 5000):
        address, record = os.urandom(32), new_record(length)
        store.create(address, record, later(), owner)
        for _ in range(2):
            if forget == "restart":
                redis_server.kill()
                redis_server.start()
            else:
                client.script_flush()
            # On a connection that was kept open, and without an error.
            newer = new_record(length)
            ownership = Ownership(owner)
            answer = store.replace(address, version_of(record), newer, later(), ownership)
            assert answer is Replaced.DONE
            assert store.read(address) == newer
            record = newer
    assert len(store.owned([owner])) == 2  # type: ignore[attr-defined]


def test_a_large_record_costs_the_server_little(redis_server: RedisServer, client: Any) -> None:
    """Lua copies its arguments, so the record is none of them."""
    store = open_store(redis_server.url, 1.0)
    address, record = b"a" * 32, new_record(20_800)
    store.create(address, record, later(), None)
    # Every command is in the log of slow ones, with the lengths of what it cuts short.
    usual = client.config_get("slowlog-log-slower-than")
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    for _ in range(10):
        newer = new_record(20_800)
        store.replace(address, version_of(record), newer, None)
        record = newer
    client.config_set("slowlog-log-slower-than", usual["slowlog-log-slower-than"])
    commands = [entry["command"] for entry in client.slowlog_get(128)]
    assert len([one for one in commands if b"more bytes" in one and one.startswith(b"SET")]) == 10
    scripts = [one for one in commands if one.startswith(b"EVALSHA")]
    assert len(scripts) >= 9
    assert not [one for one in scripts if b"more bytes" in one]


def test_two_requests_after_a_rotation_leave_the_session_in_the_index(
    redis_server: RedisServer, client: Any
) -> None:
    """The entry that a write has put in is not taken out by one that lost."""
    store: Any = open_store(redis_server.url, 1.0)
    address, old, new = os.urandom(32), b"o" * 16, b"n" * 16
    first, second = new_record(), new_record()
    store.create(address, first, later(), old)
    moved = Ownership(new, old)
    assert store.replace(address, version_of(first), second, later(), moved) is Replaced.DONE
    assert store.replace(address, version_of(first), new_record(), later(), moved) == second
    assert store.owned([new]) == [address]
    assert store.owned([old]) == []
    # And one that was ended meanwhile leaves no entry.
    store.delete(address, new)
    renewed = Ownership(new, new)
    answer = store.replace(address, version_of(second), new_record(), later(), renewed)
    assert answer is Replaced.GONE
    assert client.keys("*u:*") == []


def test_a_primary_that_was_demoted_is_left(redis_server: RedisServer, client: Any) -> None:
    store: Any = open_store(redis_server.url, 1.0)
    store.create(b"a" * 32, new_record(), later(), None)
    connections = store._transport.connections
    known = connections._idle[-1]
    client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="a replica, which only reads"):
            store.create(b"b" * 32, new_record(), later(), None)
        assert known not in connections._idle
    finally:
        client.replicaof("NO", "ONE")
    assert store.create(b"b" * 32, new_record(), later(), None)


def test_a_client_of_the_apps_is_checked(redis_server: RedisServer) -> None:
    class Own(redis.Redis):
        pass

    with Own(port=redis_server.port) as own:
        assert RedisStore(own).read(os.urandom(32)) is None
    with pytest.raises(TypeError, match="one of redis or valkey"):
        RedisStore(object())
    with (
        redis.Redis(port=redis_server.port, decode_responses=True) as decoding,
        pytest.raises(ValueError, match="must not decode responses"),
    ):
        RedisStore(decoding)
    with redis_server.client() as plain, pytest.raises(ValueError, match="must not have a brace"):
        RedisStore(plain, prefix="{a}")


class LossyProxy(Proxy):
    """Closes the connection in place of the answer to one command."""

    lose = b""

    def answer(self, client: socket.socket, asked: bytes, answer: bytes) -> bool:
        if self.lose and self.lose in asked:
            self.lose = b""
            return False
        return super().answer(client, asked, answer)


def test_a_lost_answer_is_no_conflict(redis_server: RedisServer, client: Any) -> None:
    proxy = LossyProxy(redis_server.port, redis_server.url)
    store = open_store(proxy.url, 1.0)
    for length, word in ((100, b"EVALSHA"), (5000, b"EVALSHA"), (100, b"GET")):
        address, record = os.urandom(32), new_record(length)
        store.create(address, record, later(), None)
        warm, newer = new_record(length), new_record(length)
        store.replace(address, version_of(record), warm, None)
        proxy.lose = word
        # It arrives twice, and the second time it is there already.
        if word == b"GET":
            assert store.read(address) == warm
        else:
            assert store.replace(address, version_of(warm), newer, None) is Replaced.DONE
            assert store.read(address) == newer
        assert proxy.lose == b""
    proxy.listener.close()


def test_a_lost_index_is_mended_by_the_next_renewal(redis_server: RedisServer, client: Any) -> None:
    store: Any = open_store(redis_server.url, 1.0)
    address, record, owner = os.urandom(32), new_record(), b"o" * 16
    store.create(address, record, later(), owner)
    client.delete(*client.keys("*u:*"))
    assert store.owned([owner]) == []
    renewed = Ownership(owner, owner)
    store.replace(address, version_of(record), new_record(), later(), renewed)
    assert store.owned([owner]) == [address]


class TestOutage:
    def test_a_refused_connection_fails_at_once(self) -> None:
        store = open_store("redis://127.0.0.1:1", 1.0)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="no connection"):
            store.read(b"a" * 32)
        assert time.monotonic() - begun < 0.5

    def test_a_mute_server_is_waited_for_once(self, redis_server: RedisServer, client: Any) -> None:
        for store in (open_store(redis_server.url, 0.3), open_store(redis_server.url, 0.3)):
            store.read(b"a" * 32)
            for _ in range(2):
                # Over a connection that is open, and over a new one.
                redis_server.freeze()
                begun = time.monotonic()
                try:
                    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
                        store.read(b"a" * 32)
                    assert 0.25 < time.monotonic() - begun < 0.9
                finally:
                    redis_server.thaw()
            assert store.read(b"a" * 32) is None

    def test_a_connection_that_is_never_accepted_is_given_up(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            # Fills the backlog, so that a further connection hangs.
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            store = open_store(f"redis://127.0.0.1:{address[1]}", 0.4)
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.read(b"a" * 32)
            assert time.monotonic() - begun < 1.2
            for one in waiting:
                one.close()

    def test_twenty_requests_at_once_wait_no_longer_than_one(
        self, redis_server: RedisServer, client: Any
    ) -> None:
        store = open_store(redis_server.url, 0.5)
        store.read(b"a" * 32)
        redis_server.freeze()

        def read() -> None:
            with pytest.raises(StoreUnavailable):
                store.read(b"a" * 32)

        begun = time.monotonic()
        try:
            threads = [threading.Thread(target=read) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            redis_server.thaw()
        assert time.monotonic() - begun < 1.5

    def test_a_late_answer_reaches_nobody(self, redis_server: RedisServer, client: Any) -> None:
        store = open_store(redis_server.url, 0.2)
        store.create(b"a" * 32, first := new_record(), later(), None)
        store.create(b"b" * 32, second := new_record(), later(), None)
        redis_server.freeze()
        with pytest.raises(StoreUnavailable):
            store.read(b"a" * 32)
        redis_server.thaw()
        assert store.read(b"b" * 32) == second
        assert store.read(b"a" * 32) == first

    def test_a_restart_is_not_noticed(self, redis_server: RedisServer, client: Any) -> None:
        store = open_store(redis_server.url, 1.0)
        store.create(b"a" * 32, record := new_record(), later(), None)
        threads = [threading.Thread(target=store.read, args=(b"a" * 32,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        redis_server.kill()
        redis_server.start()
        assert store.read(b"a" * 32) == record

    @pytest.mark.parametrize(
        ("break_it", "problem"),
        [
            (("CONFIG", "SET", "maxmemory", "1"), "it is out of memory"),
            (("REPLICAOF", "127.0.0.1", "1"), "it is a replica, which only reads"),
            (("ACL", "SETUSER", "default", "-set"), "it does not permit a command"),
        ],
    )
    def test_a_server_that_refuses_says_why(
        self, redis_server: RedisServer, break_it: tuple[str, ...], problem: str
    ) -> None:
        server = RedisServer()
        try:
            server.start()
            store = open_store(server.url, 1.0)
            store.create(b"a" * 32, new_record(), later(), None)
            server.client().execute_command(*break_it)
            with pytest.raises(StoreUnavailable, match=problem):
                store.create(b"b" * 32, new_record(), later(), None)
        finally:
            server.close()

    def test_connections_are_limited(self, redis_server: RedisServer, client: Any) -> None:
        store = open_store(f"{redis_server.url}?max_connections=3&timeout=5", 1.0)
        store.create(b"a" * 32, record := new_record(), later(), None)
        before = len(client.client_list())
        most = 0
        seen: list[Any] = []

        def read() -> None:
            for _ in range(50):
                seen.append(store.read(b"a" * 32))

        threads = [threading.Thread(target=read) for _ in range(30)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, len(client.client_list()) - before)
        for thread in threads:
            thread.join()
        assert seen == [record] * 1500
        assert most <= 2  # One was open before.

    def test_every_connection_in_use_is_an_outage(
        self, redis_server: RedisServer, client: Any
    ) -> None:
        store = open_store(f"{redis_server.url}?max_connections=1", 0.2)
        connections = store._transport.connections  # type: ignore[attr-defined]
        connections._open()
        with pytest.raises(StoreUnavailable, match="every connection is in use"):
            store.read(b"a" * 32)


def test_a_forked_child_opens_connections_of_its_own(
    redis_server: RedisServer, client: Any
) -> None:
    read_in_forked_children(open_store(redis_server.url, 1.0))


def documented_rights() -> list[str]:
    """The rights in the ACL line of docs/stores.md."""
    page = (Path(__file__).parents[2] / "docs/stores.md").read_text()
    (line,) = re.findall(r"^ACL SETUSER .*", page, re.MULTILINE)
    return [word for word in line.split() if word.startswith("+")]


def test_a_user_with_the_documented_rights_can_do_everything(
    redis_server: RedisServer, client: Any
) -> None:
    client.execute_command(
        *("ACL", "SETUSER", "app", "on", ">geheim", "~flask-fernet:*", "resetchannels", "-@all"),
        *documented_rights(),
    )
    try:
        url = redis_server.url.replace("redis://", "redis://app:geheim@")
        store = open_store(url, 1.0)
        assert [check.message for check in store.check() if not check.ok] == []  # type: ignore[attr-defined]
        address, record = b"a" * 32, new_record(5000)
        store.create(address, record, later(), b"o" * 16)
        store.revoke(b"*", int(time.time()), 60)  # type: ignore[attr-defined]
        newer = new_record()
        ownership = Ownership(b"p" * 16, b"o" * 16)
        assert store.replace(address, version_of(record), newer, later(), ownership) is (
            Replaced.DONE
        )
        wrong = open_store(url.replace("geheim", "falsch"), 1.0)
        with pytest.raises(StoreUnavailable, match="refuses the user name or password") as error:
            wrong.read(address)
        assert "falsch" not in str(error.value)
    finally:
        client.execute_command("ACL", "DELUSER", "app")


def test_checks_say_what_endangers_sessions(redis_server: RedisServer, client: Any) -> None:
    store = open_store(redis_server.url, 1.0)
    assert [check.message for check in store.check() if not check.ok] == []  # type: ignore[attr-defined]
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("appendonly", "no")
    try:
        said = " ".join(check.message for check in store.check() if not check.ok)  # type: ignore[attr-defined]
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
    assert "maxmemory-policy is allkeys-lru" in said
    assert "persistence is off" in said
    client.flushall()
    (away,) = open_store("redis://127.0.0.1:1", 1.0).check()  # type: ignore[attr-defined]
    assert not away.ok
    assert away.message == "cannot delete: no connection"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://localhost:port", "an option, a port"),
        ("redis://localhost?bogus=1", "an option, a port"),
        ("redis://localhost?prefix={a}", "a prefix that cannot be used"),
        ("redis://localhost?timeout=never", "timeout in SESSION_STORE must be a number from 0.001"),
        ("redis://localhost?max_connections=0", "max_connections in SESSION_STORE must be"),
        ("redis://localhost?replica=True", "must not have 'replica'"),
        ("redis+tcp://localhost", r"redis\+sentinel:// or redis\+cluster://"),
        ("rediss+unix:///socket", r"redis\+sentinel:// or redis\+cluster://"),
        ("redis+unix://?db=0", "an option, a port"),
        ("redis+sentinel://localhost", "must name the service"),
        ("redis+sentinel://:1/service", "an option, a port"),
        ("redis+sentinel://localhost/service?bogus=1", "an option, a port"),
        ("redis+cluster://localhost?bogus=1", "an option, a port"),
        ("redis+cluster://localhost/3", "a database"),
        ("redis://[::1", "a valid URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        open_store(url, 1.0)
    assert "localhost" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "valkey", None)
    for scheme, package in (("redis", "redis"), ("valkey", "valkey")):
        with pytest.raises(ConfigurationError, match=rf"pip install 'flask-fernet\[{package}\]'"):
            open_store(f"{scheme}://localhost", 1.0)


def test_tls_options_reach_the_connections() -> None:
    store = open_store("rediss://localhost?ssl_cert_reqs=none&ssl_ca_certs=/none", 1.0)
    connection = store._transport.connections._make()  # type: ignore[attr-defined]
    assert type(connection).__name__ == "SSLConnection"
    assert connection.socket_timeout == 1.0
    assert connection.retry.get_retries() == 0


class TestDetails:
    """What servers seldom do."""

    @pytest.fixture
    def store(self, redis_server: RedisServer, client: Any) -> Any:
        return open_store(redis_server.url, 1.0)

    def test_a_key_of_another_kind_is_refused(self, store: Any, client: Any) -> None:
        client.lpush(store._exchanges.key(b"a" * 32), "x")
        with pytest.raises(StoreUnavailable, match=r"refuses a command \(WRONGTYPE\)") as error:
            store.read(b"a" * 32)
        assert not error.value.is_outage

    def test_long_listings_come_in_steps(
        self, store: Any, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_fernet.stores.redis._SCAN", 2)
        for number in range(50):
            store.create(bytes([number]) * 32, new_record(), later(), None)
        assert len(list(store.addresses())) == 50
        assert store.statistics().live == 50
        # A large record on its way is none.
        client.set(store._exchanges.key(b"x" * 32) + b":staged", b"x")
        client.set(store._exchanges.key(b"x" * 32)[:-2] + b"}", b"x")
        assert len(list(store.addresses())) == 50

    def test_a_listing_needs_its_right(
        self, store: Any, redis_server: RedisServer, client: Any
    ) -> None:
        client.execute_command(
            *("ACL", "SETUSER", "app", "on", ">x", "~*", "-@all", "+get", "+select")
        )
        try:
            limited: Any = open_store(redis_server.url.replace("//", "//app:x@"), 1.0)
            assert limited.read(b"a" * 32) is None
            with pytest.raises(StoreUnavailable, match="does not permit a command"):
                list(limited.addresses())
            (check,) = limited.check()
            assert "cannot delete: it does not permit a command" in check.message
            client.execute_command("ACL", "SETUSER", "app", *documented_rights(), "-ttl")
            said = [check.message for check in limited.check() if not check.ok]
            assert said == ["cannot revoke: it does not permit a command"]
            # Through a client of the app's, a refused command is an exception.
            client.execute_command("ACL", "SETUSER", "app", "+ttl")
            with redis.Redis(port=redis_server.port, username="app", password="x") as own:
                assert [check.ok for check in RedisStore(own).check()] == [True]
        finally:
            client.execute_command("ACL", "DELUSER", "app")

    def test_checks_tell_of_the_parser_and_the_clock(
        self, store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 10)
        said = " ".join(check.message for check in store.check() if not check.ok)
        assert "hiredis is not installed" in said
        assert "its clock differs" in said

    def test_a_server_that_loads_its_data_is_away(self, store: Any) -> None:
        error = store._exchanges.away("read", redis.exceptions.BusyLoadingError())
        assert error.problem == "it is loading its data"

    def test_connections_of_a_parent_are_never_used(self, store: Any) -> None:
        from flask_fernet.stores import connections

        store.create(b"a" * 32, record := new_record(), later(), None)
        kept = store._transport.connections
        known = kept._idle[-1]
        # A fork that Python has announced, and one that it has not.
        connections._after_fork_in_child()
        assert store.read(b"a" * 32) == record
        assert known not in kept._idle
        known = kept._idle[-1]
        known.pid = -1
        assert store.read(b"a" * 32) == record
        assert known not in kept._idle

    def test_tls_options_of_many_servers(self) -> None:
        for url in (
            "rediss+sentinel://host/service?ssl_cert_reqs=none",
            "rediss+cluster://host?ssl_ca_certs=/none",
        ):
            open_store(url, 1.0)
        with pytest.raises(ConfigurationError, match="an option, a port"):
            open_store("rediss+cluster://host?bogus=1", 1.0)


WITHOUT_HIREDIS = """
import sys
sys.modules["hiredis"] = None
from tests.apps import add_views, encrypted_app
app = add_views(encrypted_app(SESSION_STORE=sys.argv[1], PROPAGATE_EXCEPTIONS=True))
client = app.test_client()
client.post("/write", json={"number": 1})
print(client.get("/read").text)
"""


def test_hiredis_is_not_needed(redis_server: RedisServer) -> None:
    """redis-py 8 adds handlers to its connections that need it, unless it is told the protocol."""
    command = [sys.executable, "-c", WITHOUT_HIREDIS, redis_server.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "{'number': 1}\n"), done.stderr
