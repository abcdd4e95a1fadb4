"""The memory that each test takes at most, as a plugin of pytest: ``-p evidence.peak``.

It is that of the test's process and of all that descend from it, the servers of stores excepted,
above what they had when the test began. A process of its own takes the samples, because a thread
would share the interpreter with the test, and a fork would copy it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from .processes import family, memory, name
from .suite import ROOT

#: Seconds between two samples.
EVERY = 0.02
#: The names of the programs in which sessions are stored.
STORES = {"redis-server", "postgres", "mariadbd"}


@pytest.fixture(autouse=True)
def _peak(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Records it as the property "MiB"."""
    command = [sys.executable, "-m", "evidence.peak", str(os.getpid())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as sampler:
        assert sampler.stdout is not None
        # The first sample has been taken.
        assert sampler.stdout.readline() == "begun\n"
        yield
        said, _ = sampler.communicate("")
        record_property("MiB", round(int(said) / 1024, 1))


def _sample(pid: int) -> int:
    """KiB of the family now."""
    own = os.getpid()
    return sum(memory(one) for one in family(pid) if one != own and name(one) not in STORES)


def main() -> None:
    """Takes samples until the standard input ends, and prints the growth in KiB."""
    pid = int(sys.argv[1])
    before = most = _sample(pid)
    assert before > 0
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        most = max(most, _sample(pid))
    print(max(most, _sample(pid)) - before)


if __name__ == "__main__":
    main()
