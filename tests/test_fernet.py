"""Compares `Fernet` and `MultiFernet` with `cryptography.fernet`: same arguments, same outcome."""

from __future__ import annotations

import base64
import copy
import gc
import json
import pickle
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cryptography.fernet as oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import flask_fernet as ours
from tests.clock import Clock
from tests.oracles import fernet_token, fernet_token_of_blocks

VECTORS = Path(__file__).parent / "vectors"
KEY = base64.urlsafe_b64encode(bytes(range(32)))
OTHER_KEY = base64.urlsafe_b64encode(bytes(range(32, 64)))
#: A key with the signing half of KEY and another encryption half.
HALF_KEY = base64.urlsafe_b64encode(bytes([*range(16), *range(64, 80)]))
NOW = 1_700_000_000


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """Returns the outcome of a call: its value, or the name of the type of its exception."""
    try:
        return "value", call()
    except Exception as error:
        return "error", type(error).__name__


def both(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Makes the same call on both modules."""
    return outcome(lambda: make(ours)), outcome(lambda: make(oracle))


def agree(make: Callable[[Any], Any]) -> Any:
    """Asserts that both modules have the same outcome, and returns it."""
    mine, theirs = both(make)
    assert mine == theirs
    return mine


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"fernet_{name}.json").read_text())
    assert loaded
    return loaded


class TestSpecification:
    @pytest.mark.parametrize("vector", vectors("generate"))
    def test_the_tokens_of_the_specification_are_generated(self, vector: dict[str, Any]) -> None:
        fernet = ours.Fernet(vector["secret"])
        token = fernet._encrypt_from_parts(
            vector["src"].encode(), vector["now_seconds"], bytes(vector["iv"])
        )
        assert token == vector["token"].encode()

    @pytest.mark.parametrize("vector", vectors("verify"))
    def test_the_tokens_of_the_specification_are_verified(self, vector: dict[str, Any]) -> None:
        fernet = ours.Fernet(vector["secret"])
        token, ttl, now = vector["token"], vector["ttl_sec"], vector["now_seconds"]
        assert fernet.decrypt_at_time(token, ttl, now) == vector["src"].encode()

    @pytest.mark.parametrize("vector", vectors("invalid"), ids=lambda vector: vector["desc"])
    def test_the_invalid_tokens_of_the_specification_are_refused(
        self, vector: dict[str, Any]
    ) -> None:
        fernet = ours.Fernet(vector["secret"])
        with pytest.raises(ours.InvalidToken):
            fernet.decrypt_at_time(vector["token"], vector["ttl_sec"], vector["now_seconds"])


class TestDifferences:
    """Tokens that the `fernet` crate reads differently. The tests of the core ask the crate."""

    @pytest.mark.parametrize("vector", vectors("differences"), ids=lambda vector: vector["desc"])
    def test_we_read_a_token_as_cryptography_does(self, vector: dict[str, Any]) -> None:
        token, ttl, now = vector["token"], vector["ttl_sec"], vector["now_seconds"]
        outcome = agree(
            lambda module: module.Fernet(vector["secret"]).decrypt_at_time(token, ttl, now)
        )
        opened = "flask-fernet" in vector["opened_by"]
        assert opened == ("cryptography" in vector["opened_by"])
        assert outcome == (("value", b"hello") if opened else ("error", "InvalidToken"))


#: Values that someone might pass by mistake.
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.binary().map(bytearray), st.binary().map(lambda data: memoryview(data)),
    st.lists(st.integers()),
)  # fmt: skip
times = st.one_of(
    st.integers(min_value=NOW - 100, max_value=NOW + 100),
    st.sampled_from([0, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 2**200]),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
alphabet = st.sampled_from("ABCabc019-_+/= \n\t!é\ud800")
keys = st.one_of(
    st.binary(min_size=32, max_size=32).map(base64.urlsafe_b64encode),
    st.binary(max_size=40).map(base64.urlsafe_b64encode),
    st.binary(max_size=40).map(base64.standard_b64encode),
    st.text(alphabet, max_size=50),
    st.binary(max_size=50),
    anything,
)


class TestKeys:
    @given(key=keys, data=st.binary(max_size=20))
    @example(key="A" * 43, data=b"")
    @example(key=KEY + b"\n", data=b"")
    @example(key=b" ".join([KEY[:5], KEY[5:]]), data=b"")
    @example(key=bytearray(KEY), data=b"")
    @example(key=memoryview(KEY), data=b"")
    @example(key="A" * 42 + "B=", data=b"")
    def test_the_same_texts_are_keys(self, key: Any, data: bytes) -> None:
        def use(module: Any) -> Any:
            fernet = module.Fernet(key)
            return fernet.extract_timestamp(fernet.encrypt_at_time(data, NOW))

        agree(use)

    def test_generated_keys_work_both_ways(self) -> None:
        generated = {ours.Fernet.generate_key() for _ in range(50)}
        assert len(generated) == 50
        for key in generated:
            assert len(key) == 44
            token = ours.Fernet(key).encrypt(b"data")
            assert oracle.Fernet(key).decrypt(token) == b"data"
            assert ours.Fernet(key.decode()).decrypt(token) == b"data"

    def test_backend_is_taken_and_ignored(self) -> None:
        token = ours.Fernet(KEY, backend=object()).encrypt(b"data")
        assert ours.Fernet(KEY, None).decrypt(token) == b"data"

        def construct(arguments: tuple[Any, ...], module: Any) -> Any:
            return module.Fernet(*arguments)

        for arguments in [(), (KEY, None, None)]:
            assert agree(partial(construct, arguments)) == ("error", "TypeError")
        assert agree(lambda module: module.Fernet(secret=KEY)) == ("error", "TypeError")


class TestEncrypt:
    @given(data=st.binary(max_size=2000))
    def test_tokens_open_on_the_other_side(self, data: bytes) -> None:
        assert oracle.Fernet(KEY).decrypt(ours.Fernet(KEY).encrypt(data), ttl=60) == data
        assert ours.Fernet(KEY).decrypt(oracle.Fernet(KEY).encrypt(data), ttl=60) == data

    @given(data=st.binary(max_size=200), iv=st.binary(min_size=16, max_size=16))
    def test_the_same_iv_gives_the_same_token(self, data: bytes, iv: bytes) -> None:
        agree(lambda module: module.Fernet(KEY)._encrypt_from_parts(data, NOW, iv))

    @given(data=anything, now=times)
    def test_data_of_wrong_types_is_refused_alike(self, data: Any, now: Any) -> None:
        def use(module: Any) -> Any:
            return len(module.Fernet(KEY).encrypt_at_time(data, now))

        agree(use)
        agree(lambda module: len(module.Fernet(KEY).encrypt(data)))
        agree(lambda module: len(module.MultiFernet([module.Fernet(KEY)]).encrypt(data)))

    @pytest.mark.parametrize("size", [0, 15, 16, 17, 65_535, 65_536, 65_537, 3_000_000])
    def test_data_of_any_size_opens(self, size: int) -> None:
        data = bytes(size)
        token = ours.Fernet(KEY).encrypt(data)
        assert oracle.Fernet(KEY).decrypt(token) == data
        assert ours.Fernet(KEY).decrypt(token) == data
        assert ours.MultiFernet([ours.Fernet(OTHER_KEY), ours.Fernet(KEY)]).decrypt(token) == data

    def test_ivs_differ(self) -> None:
        fernet = ours.Fernet(KEY)
        tokens = [base64.urlsafe_b64decode(fernet.encrypt(b"")) for _ in range(1000)]
        assert len({token[9:25] for token in tokens}) == 1000


@st.composite
def tokens(draw: st.DrawFn) -> bytes | str:
    """Draws valid and invalid tokens: of several keys, changed, cut, extended or respelt."""
    key = draw(st.sampled_from([KEY, OTHER_KEY, HALF_KEY]))
    issued_at = draw(
        st.one_of(
            st.integers(NOW - 100, NOW + 100), st.sampled_from([0, 2**63, 2**64 - 61, 2**64 - 1])
        )
    )
    token = oracle.Fernet(key).encrypt_at_time(draw(st.binary(max_size=60)), issued_at)
    raw = bytearray(base64.urlsafe_b64decode(token))
    change = draw(st.sampled_from(["none", "flip", "cut", "extend", "respell", "text"]))
    if change == "flip":
        raw[draw(st.integers(0, len(raw) - 1))] ^= 1 << draw(st.integers(0, 7))
    elif change == "cut":
        raw = raw[: draw(st.integers(0, len(raw)))]
    elif change == "extend":
        raw += draw(st.binary(max_size=40))
    token = base64.urlsafe_b64encode(bytes(raw))
    if change == "respell":
        text = draw(
            st.sampled_from([token.rstrip(b"="), token.replace(b"-", b"+"), token + b"=", b""])
        )
        at = draw(st.integers(0, len(text)))
        return (
            text[:at] + draw(st.text(alphabet, max_size=3)).encode("utf-8", "replace") + text[at:]
        )
    return token.decode() if change == "text" else token


class TestDecrypt:
    @given(token=tokens(), ttl=times, now=times)
    def test_the_same_result_or_the_same_exception(self, token: Any, ttl: Any, now: Any) -> None:
        agree(lambda module: module.Fernet(KEY).decrypt(token))
        agree(lambda module: module.Fernet(KEY).decrypt_at_time(token, ttl, now))
        agree(lambda module: module.Fernet(KEY).extract_timestamp(token))

    @given(token=tokens(), ttl=times, now=times, order=st.permutations([KEY, OTHER_KEY, HALF_KEY]))
    def test_several_keys_have_the_same_outcome(
        self, token: Any, ttl: Any, now: Any, order: list[bytes]
    ) -> None:
        def several(module: Any) -> Any:
            return module.MultiFernet([module.Fernet(key) for key in order])

        agree(lambda module: several(module).decrypt(token))
        agree(lambda module: several(module).decrypt_at_time(token, ttl, now))
        agree(lambda module: several(module).extract_timestamp(token))

        def rotated(module: Any) -> Any:
            token_now = several(module).rotate(token)
            first = module.Fernet(order[0])
            return first.decrypt(token_now), first.extract_timestamp(token_now)

        agree(rotated)

    @given(token=anything, ttl=times)
    def test_tokens_of_wrong_types_are_refused_alike(self, token: Any, ttl: Any) -> None:
        agree(lambda module: module.Fernet(KEY).decrypt(token, ttl))
        agree(lambda module: module.MultiFernet([module.Fernet(KEY)]).decrypt(token, ttl=ttl))

    @pytest.mark.parametrize("size", [0, 1, 8, 9, 24, 31, 32, 33, 40, 41, 56, 57, 72, 73])
    def test_authentic_tokens_that_are_too_short_have_the_same_outcome(self, size: int) -> None:
        """Only a holder of the key can make them. `cryptography` still extracts their time."""
        body = (b"\x80" + bytes(80))[: max(0, size - 32)]
        raw = base64.urlsafe_b64decode(fernet_token(KEY, body))
        token = base64.urlsafe_b64encode(raw[-size:] if size else b"")
        agree(lambda module: module.Fernet(KEY).decrypt(token))
        agree(lambda module: module.Fernet(KEY).extract_timestamp(token))

    @pytest.mark.parametrize("padding", [bytes(16), b"\x10" * 15 + b"\x11", b"\x02" * 15 + b"\x03"])
    def test_authentic_tokens_with_bad_padding_are_invalid(self, padding: bytes) -> None:
        token = fernet_token_of_blocks(KEY, padding)
        assert agree(lambda module: module.Fernet(KEY).decrypt(token)) == ("error", "InvalidToken")
        assert agree(lambda module: module.Fernet(KEY).extract_timestamp(token)) == ("value", 0)

    def test_clock_skew_is_checked_only_with_a_ttl(self) -> None:
        fernet = ours.Fernet(KEY)
        ahead = fernet.encrypt_at_time(b"data", NOW + 61)
        assert fernet.decrypt(ahead) == b"data"
        with pytest.raises(ours.InvalidToken):
            fernet.decrypt_at_time(ahead, 100, NOW)
        assert fernet.decrypt_at_time(ahead, 100, NOW + 1) == b"data"

    def test_an_invalid_token_says_nothing(self) -> None:
        with pytest.raises(ours.InvalidToken) as raised:
            ours.Fernet(KEY).decrypt(ours.Fernet(OTHER_KEY).encrypt(b"data"))
        assert raised.value.args == ()
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None


class TestClock:
    def test_a_patched_clock_is_the_clock(self, clock: Clock) -> None:
        fernet = ours.Fernet(KEY)
        clock.now = NOW + 0.9
        token = fernet.encrypt(b"data")
        assert fernet.extract_timestamp(token) == NOW
        clock.now = NOW + 10.9
        assert fernet.decrypt(token, ttl=10) == b"data"
        clock.now = NOW + 11
        with pytest.raises(ours.InvalidToken):
            fernet.decrypt(token, ttl=10)

    @pytest.mark.parametrize(
        ("now", "expected"),
        [
            (-1.5, ("error", "OverflowError")),
            (-1, ("error", "OverflowError")),
            (float("nan"), ("error", "ValueError")),
            (float("inf"), ("error", "OverflowError")),
            (1e300, ("error", "OverflowError")),
            (2**64, ("error", "OverflowError")),
            ("1", ("value", 100)),
            (None, ("error", "TypeError")),
            (True, ("value", 100)),
        ],
    )
    def test_a_broken_clock_has_the_same_outcome(
        self, clock: Clock, now: Any, expected: tuple[str, Any]
    ) -> None:
        clock.now = now
        assert agree(lambda module: len(module.Fernet(KEY).encrypt(b""))) == expected


class TestMultiFernet:
    def test_a_multi_fernet_is_made_of_fernets(self) -> None:
        assert agree(lambda module: module.MultiFernet([])) == ("error", "ValueError")
        assert agree(lambda module: module.MultiFernet(None)) == ("error", "TypeError")
        assert agree(lambda module: module.MultiFernet(5)) == ("error", "TypeError")
        fernets = (ours.Fernet(key) for key in (KEY, OTHER_KEY))
        several = ours.MultiFernet(fernets)
        assert ours.Fernet(KEY).decrypt(several.encrypt(b"data")) == b"data"

    @staticmethod
    def use_five(use: str, token: bytes, module: Any) -> Any:
        return getattr(module.MultiFernet([5]), use)(token)

    def test_what_is_no_fernet_is_an_error_when_its_turn_comes(self) -> None:
        token = oracle.Fernet(KEY).encrypt(b"data")
        agree(lambda module: module.MultiFernet([module.Fernet(KEY), 5]).decrypt(token))
        for use in ("encrypt", "decrypt", "rotate", "extract_timestamp"):
            result = agree(partial(self.use_five, use, token))
            assert result == ("error", "AttributeError")


class TestSubclasses:
    def test_a_subclass_may_have_a_signature_and_methods_of_its_own(self) -> None:
        def use(module: Any) -> Any:
            class Named(module.Fernet):  # type: ignore[misc]
                def __init__(self, name: str) -> None:
                    super().__init__(KEY)
                    self.name = name

                def encrypt_at_time(self, data: bytes, current_time: int) -> bytes:
                    token: bytes = super().encrypt_at_time(data.upper(), 7)
                    return token

            named = Named("tokens")
            token = named.encrypt(b"data")
            several = module.MultiFernet([named])
            return (
                named.name,
                named.decrypt(token),
                named.extract_timestamp(token),
                several.decrypt(several.encrypt(b"more")),
            )

        assert agree(use) == ("value", ("tokens", b"DATA", 7, b"MORE"))

    def test_a_subclass_of_multi_fernet_may_date_its_tokens(self) -> None:
        def use(module: Any) -> Any:
            class Dated(module.MultiFernet):  # type: ignore[misc]
                def __init__(self, *keys: bytes) -> None:
                    super().__init__([module.Fernet(key) for key in keys])

                def encrypt_at_time(self, msg: bytes, current_time: int) -> bytes:
                    token: bytes = super().encrypt_at_time(msg, 7)
                    return token

            dated = Dated(KEY, OTHER_KEY)
            return dated.extract_timestamp(dated.encrypt(b"data"))

        assert agree(use) == ("value", 7)

    def test_a_subclass_that_does_not_call_init_cannot_encrypt(self) -> None:
        def use(module: Any) -> Any:
            class Forgetful(module.Fernet):  # type: ignore[misc]
                def __init__(self) -> None:
                    pass

            return Forgetful().encrypt(b"data")

        assert agree(use) == ("error", "AttributeError")


class TestSecrecy:
    def test_nothing_that_has_a_key_can_be_pickled(self) -> None:
        fernet = ours.Fernet(KEY)
        for thing in (fernet, ours.MultiFernet([fernet])):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with pytest.raises(TypeError, match="cannot pickle"):
                    pickle.dumps(thing, protocol)

    def test_copies_are_the_same_object(self) -> None:
        fernet = ours.Fernet(KEY)
        several = ours.MultiFernet([fernet])
        for thing in (fernet, several):
            assert copy.copy(thing) is thing
            assert copy.deepcopy({"key": thing})["key"] is thing

    def test_no_key_is_in_a_repr_or_an_attribute(self) -> None:
        fernet = ours.Fernet(KEY)
        for thing in (fernet, ours.MultiFernet([fernet])):
            for name in dir(thing):
                assert KEY.decode() not in repr(getattr(thing, name))
                assert repr(bytes(range(16))) not in repr(getattr(thing, name))
            assert not hasattr(thing, "_signing_key")
            assert not hasattr(thing, "_encryption_key")

    def test_fernets_can_be_referenced_weakly_and_mocked(self) -> None:
        """Weak references, attributes and mocks work as on `cryptography`'s."""
        fernet = ours.Fernet(KEY)
        for thing in (fernet, ours.MultiFernet([fernet])):
            assert weakref.ref(thing)() is thing
            with mock.patch.object(thing, "decrypt", return_value=b"mocked"):
                assert thing.decrypt(b"") == b"mocked"

    def test_a_class_that_holds_its_own_instance_is_freed(self) -> None:
        """Its keys would stay in memory otherwise."""

        def made(base: type, argument: Any) -> list[weakref.ref[Any]]:
            derived = type("Derived", (base,), {})
            instance = derived(argument)
            derived.instance, instance.itself = instance, instance  # type: ignore[attr-defined]
            return [weakref.ref(derived), weakref.ref(instance)]

        references = made(ours.Fernet, KEY) + made(ours.MultiFernet, [ours.Fernet(KEY)])
        gc.collect()
        assert [reference() for reference in references] == [None] * 4

    def test_no_key_is_in_an_error(self) -> None:
        for key in (KEY[:-4], KEY.decode() + "é", b"A" + KEY):
            with pytest.raises(ValueError, match=r"Fernet key|ASCII") as raised:
                ours.Fernet(key)
            assert "AAEC" not in str(raised.value)


@pytest.mark.parametrize("now", [2**63, 2**64 - 1, 2**64, -1, float(2**63)])
def test_a_clock_at_the_ends_of_the_range_has_the_same_outcome(clock: Clock, now: float) -> None:
    clock.now = now
    tokens: list[tuple[int, str | None]] = []
    for module in (ours, oracle):
        try:
            token = module.Fernet(KEY).encrypt(b"x")
            tokens.append((module.Fernet(KEY).extract_timestamp(token), None))
            assert module.Fernet(KEY).decrypt(token, ttl=1) == b"x"
        except OverflowError as error:
            tokens.append((0, str(error)))
    assert tokens[0] == tokens[1]


def test_eight_threads_share_one_fernet() -> None:
    fernet = ours.MultiFernet([ours.Fernet(KEY), ours.Fernet(OTHER_KEY)])
    failures: list[bytes] = []

    def work(number: int) -> None:
        for turn in range(300):
            data = f"{number} {turn} ".encode() * (20_000 if turn % 50 == 0 else 5)
            if fernet.decrypt(fernet.encrypt(data)) != data:
                failures.append(data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
