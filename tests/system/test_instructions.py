"""The performance regression guard, which compares instructions per call with a baseline."""

from __future__ import annotations

import json

from benches import instructions
from tests.servers import program, unavailable
from tests.system.hostile_sizes import calls
from tests.system.refused_tokens import TIMES, refused


def test_no_case_takes_more_instructions_than_before() -> None:
    """An intended increase needs `make instructions-baseline` in the same commit."""
    program("valgrind")
    baseline = json.loads(instructions.BASELINE.read_text())
    if baseline["versions"] != instructions.versions():
        unavailable(f"the baseline is of {baseline['versions']}")
    counted = instructions.count()
    assert counted.keys() == baseline["instructions"].keys()
    assert min(counted.values()) > 100
    grown = {
        name: f"{count:,} instructions, {baseline['instructions'][name]:,} before"
        for name, count in counted.items()
        if count > baseline["instructions"][name] * (1 + instructions.TOLERANCE)
    }
    assert grown == {}


def test_the_time_of_hostile_input_grows_as_its_length() -> None:
    """Nobody makes a worker compute for long by sending much. A dict grows by leaps, so the bound
    for twice the length is somewhat above twice the instructions.
    """
    program("valgrind")
    names = list(calls())
    counted = instructions.count_marked("tests.system.hostile_sizes", calls=len(names))
    assert min(counted) > 100_000
    ratios = {
        name: larger / smaller
        for name, smaller, larger in zip(names[::2], counted[::2], counted[1::2], strict=True)
    }
    assert {name: ratio for name, ratio in ratios.items() if ratio > 2.35} == {}


def test_refusing_a_token_takes_the_same_instructions_wherever_it_is_wrong() -> None:
    """For each byte of the text and of the MAC, and for each wrong padding under a right MAC."""
    program("valgrind")
    groups = refused()
    number = sum(map(len, groups.values()))
    counted = instructions.count_marked("tests.system.refused_tokens", calls=2 * number)
    # Each was counted twice, because the interpreter collects its garbage now and then.
    fewest = map(min, counted[:number], reversed(counted[number:]))
    found = {group: [next(fewest) for _ in openings] for group, openings in groups.items()}
    assert min(map(min, found.values())) > 10_000 * TIMES
    # One instruction of one opening would be as many.
    assert {
        group: max(of) - min(of) for group, of in found.items() if max(of) - min(of) >= TIMES
    } == {}
