"""Short runs of the load tests that `make proof` runs for two minutes each on real servers."""

from __future__ import annotations

from pathlib import Path

from benches import deploy, load


def test_a_ring_may_change_under_load(tmp_path: Path) -> None:
    seen = load.Load(tmp_path).run(26)
    assert {fault: seen[fault] for fault in load.FAULTS} == dict.fromkeys(load.FAULTS, 0)
    assert seen["requests"] > 200
    assert [name for name in load.NEEDED if not seen[name]] == []


def test_an_app_moves_to_encrypted_sessions_and_back_under_load() -> None:
    seen = deploy.Deploy().run(4)
    assert {fault: seen[fault] for fault in deploy.FAULTS} == dict.fromkeys(deploy.FAULTS, 0)
    assert seen["requests"] > 200
    assert seen["came back"] > 20
    assert seen["deploys"] == len(deploy.STEPS) - 1
