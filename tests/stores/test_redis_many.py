"""Sessions in Redis behind Sentinel, and in a cluster of three nodes: real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_fernet import StoreUnavailable
from flask_fernet.stores.protocol import Ownership, Replaced, version_of
from flask_fernet.stores.urls import open_store
from flask_fernet.testing import (
    MaintainedContract,
    OwnedSessionsContract,
    RevocationsContract,
    StoreContract,
    new_record,
)
from tests.servers import RedisServer, program, until
from tests.storing import cookie_of, storing_app, with_cookie


class Node(RedisServer):
    """A node of a cluster. Its second port is ten thousand above the first."""

    def __init__(self) -> None:
        super().__init__()
        while self.port > 55_000:
            self.port -= 10_000
        self.options = (
            "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--save", "",
            "--cluster-require-full-coverage", "no",
        )  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[Node]]:
    """Three nodes that have all slots between them."""
    nodes = [Node() for _ in range(3)]
    try:
        for node in nodes:
            node.start()
        places = [f"127.0.0.1:{node.port}" for node in nodes]
        nodes[0].run(
            program("redis-cli"), "--cluster", "create", *places, "--cluster-yes",
            "--cluster-replicas", "0",
        )  # fmt: skip

        def agree() -> bool:
            ask = ("CLUSTER", "INFO")
            said = [node.run("redis-cli", "-p", str(node.port), *ask) for node in nodes]
            return all("cluster_state:ok" in one for one in said)

        until(agree, 30)
        yield nodes
    finally:
        for node in nodes:
            node.close()


def cluster_store(nodes: list[Node]) -> Any:
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2])
    return open_store(f"redis+cluster://{hosts}", 2.0)


class TestCluster(StoreContract, OwnedSessionsContract, RevocationsContract, MaintainedContract):
    @pytest.fixture
    def store(self, cluster: list[Node]) -> Any:
        for node in cluster:
            node.client().flushall()
        return cluster_store(cluster)

    def test_every_node_holds_records_and_is_sent_the_scripts(self, cluster: list[Node]) -> None:
        for node in cluster:
            node.client().flushall()
            node.client().script_flush()
        store = cluster_store(cluster)
        for number in range(60):
            address, record = bytes([number]) * 32, new_record(100 if number % 2 else 5000)
            store.create(address, record, int(time.time()) + 600, b"o" * 16)
            newer = new_record(100)
            ownership = Ownership(b"o" * 16)
            answer = store.replace(
                address, version_of(record), newer, int(time.time()) + 900, ownership
            )
            assert answer is Replaced.DONE
        assert all(node.client().dbsize() > 5 for node in cluster)
        assert len(store.owned([b"o" * 16])) == 60
        assert len(list(store.addresses())) == 60


class Sentinel(RedisServer):
    """A Sentinel that watches one primary."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__()
        self.file = Path(self.folder / "sentinel.conf")
        self.file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor sessions 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds sessions 800\n"
            "sentinel failover-timeout sessions 3000\n"
        )

    def command(self) -> list[str]:
        return [program("redis-server"), str(self.file), "--sentinel"]


def test_a_failover_loses_nobody() -> None:
    primary, replica = RedisServer(), RedisServer()
    servers: list[RedisServer] = [primary, replica]
    try:
        primary.start()
        replica.options = (*replica.options, "--replicaof", "127.0.0.1", str(primary.port))
        replica.start()
        sentinel = Sentinel(primary)
        servers.append(sentinel)
        sentinel.start()
        app = storing_app(f"redis+sentinel://127.0.0.1:{sentinel.port}/sessions/0")
        clients = [app.test_client() for _ in range(5)]
        for number, client in enumerate(clients):
            assert client.get(f"/login/{number}").status_code == 200
        # Redis copies to its replica after it has answered.
        assert primary.client().wait(1, 5000) == 1
        known = sentinel.client()
        until(lambda: known.execute_command("SENTINEL", "REPLICAS", "sessions"), 15)
        primary.kill()
        deadline = time.monotonic() + 20
        statuses = set()
        while (status := clients[0].get("/read").status_code) != 200:
            statuses.add(status)
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert statuses <= {503}
        for number, client in enumerate(clients):
            assert f"'_user_id': '{number}'" in client.get("/read").text
            assert client.post("/write", json={"after": 1}).status_code == 200
            assert "'after': 1" in with_cookie(app, cookie_of(client)).get("/read").text
    finally:
        for server in servers:
            server.close()


def test_a_sentinel_that_is_away_is_an_outage() -> None:
    store = open_store("redis+sentinel://127.0.0.1:1/sessions", 0.5)
    with pytest.raises(StoreUnavailable):
        store.read(b"a" * 32)
    store = open_store("redis+cluster://127.0.0.1:1", 0.5)
    with pytest.raises(StoreUnavailable):
        store.read(b"a" * 32)
