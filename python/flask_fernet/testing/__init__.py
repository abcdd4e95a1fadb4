"""What the tests of an app, and of a store of one's own, can use.

:class:`SessionTester` reads and makes sessions, travels in time, and tells which cookies an app
refuses. With ``pytest_plugins = ["flask_fernet.testing.plugin"]`` in ``conftest.py`` it is the
fixture ``session_tester``. The contracts are tests for a store, see :mod:`.contracts`.
"""

from .contracts import (
    BlockingStore,
    MaintainedContract,
    OwnedSessionsContract,
    RevocationsContract,
    StoreContract,
    new_record,
)
from .tester import SessionTester

__all__ = [
    "BlockingStore",
    "MaintainedContract",
    "OwnedSessionsContract",
    "RevocationsContract",
    "SessionTester",
    "StoreContract",
    "new_record",
]
