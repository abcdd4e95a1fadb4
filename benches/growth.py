"""Growth: time by size, by threads and by processes."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from benches.table import best_of
from flask_fernet import Fernet

if TYPE_CHECKING:
    from benches.table import Table

SIZES = [16 * 4**power for power in range(9)]
KEY = Fernet.generate_key()


def by_size(table: Table) -> None:
    """Nanoseconds per byte, without the cost of the smallest token. They stay equal if time grows
    linearly.
    """
    fernet = Fernet(KEY)
    first: dict[str, float] = {}
    for size in SIZES:
        data = os.urandom(size)
        calls = {
            "encrypt": partial(fernet.encrypt, data),
            "decrypt": partial(fernet.decrypt, fernet.encrypt(data)),
        }
        best = best_of(max(3, table.rounds // 3), calls)
        first = first or best
        extra = {
            f"ns_a_byte_{name}": (seconds - first[name]) / (size - SIZES[0]) * 1e9
            for name, seconds in best.items()
            if size > SIZES[0]
        }
        microseconds = {f"{name}_µs": seconds * 1e6 for name, seconds in best.items()}
        table.note(f"{size} bytes", **microseconds, **extra)


def throughput(threads: int, size: int, seconds: float) -> float:
    """Megabytes encrypted per second by all threads together."""
    fernet = Fernet(KEY)
    data = bytes(size)
    counts = [0] * threads
    start = threading.Barrier(threads + 1)
    stop = threading.Event()

    def work(number: int) -> None:
        start.wait()
        while not stop.is_set():
            fernet.encrypt(data)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = perf_counter()
    stop.wait(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) * size / (perf_counter() - began) / 1e6


def measure(table: Table) -> None:
    """Three tables. The machine's number of processors bounds the last two."""
    by_size(table)
    seconds = table.rounds / 50
    for threads in (1, 2, 4, 8):
        figures = {
            f"MB_a_second_{size}": throughput(threads, size, seconds) for size in (256, 2**20)
        }
        table.note(f"{threads} threads", **figures)
    for processes in (1, 2, 4):
        with ProcessPoolExecutor(processes) as pool:
            # The first round starts the processes.
            list(pool.map(throughput, [1] * processes, [256] * processes, [0.05] * processes))
            rates = pool.map(throughput, [1] * processes, [256] * processes, [seconds] * processes)
            table.note(f"{processes} processes", MB_a_second_256=sum(rates))
    table.note("processors", count=os.cpu_count() or 0)
