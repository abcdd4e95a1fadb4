"""The store in memory keeps the contract of all stores."""

from __future__ import annotations

import pytest

from flask_fernet.stores.memory import MemoryStore
from flask_fernet.testing import (
    MaintainedContract,
    OwnedSessionsContract,
    RevocationsContract,
    StoreContract,
)


class TestMemoryStore(
    StoreContract, OwnedSessionsContract, RevocationsContract, MaintainedContract
):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
