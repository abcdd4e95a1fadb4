"""What is asked of a store to end the sessions of a user, and to seal a record anew."""

from __future__ import annotations

from typing import Any

import pytest

from flask_fernet import Fernet
from flask_fernet._core import RecordKeys, SessionKeys
from flask_fernet.stored import owners
from flask_fernet.stored.records import opened, owner_tags, tags_to_find
from flask_fernet.stores.protocol import Ownership, version_of
from tests.stored.recorder import ADDRESS, OTHERS, PlainTerms, Recorder

OLD, NEW, NEWEST = (Fernet.generate_key() for _ in range(3))


def terms_of(*keys: bytes) -> PlainTerms:
    terms = PlainTerms()
    terms.keys = RecordKeys(SessionKeys([("key", key) for key in keys], "salt"))
    return terms


class TestSealingAnew:
    def test_a_record_under_the_newest_key_is_read_alone(self) -> None:
        store, terms = Recorder(), terms_of(NEW, OLD)
        store.log_in(terms)
        assert store.carry_out(owners.resealed(terms, ADDRESS)) == 0
        assert store.asked == [("read", ADDRESS)]

    @pytest.mark.parametrize(("keys", "position"), [((NEW, OLD), 1), ((NEWEST, NEW, OLD), 2)])
    def test_an_older_one_is_sealed_and_its_entry_in_the_index_moves(
        self, keys: tuple[bytes, ...], position: int
    ) -> None:
        store, terms = Recorder(), terms_of(*keys)
        before = store.log_in(terms_of(OLD), ago=100).snapshot
        assert store.carry_out(owners.resealed(terms, ADDRESS)) == position
        (read, (name, address, version, record, expires, ownership)) = store.asked
        assert (read, name, address) == (("read", ADDRESS), "replace", ADDRESS)
        assert version == before.version
        assert expires == before.renewed_at + terms.lifetime
        tags = owner_tags(terms.keys, "1")
        assert ownership == Ownership(tags[0], tags[position])
        after = opened(terms.keys, ADDRESS, record)
        assert after == before._replace(version=version_of(record))
        # Only the newest key is needed.
        assert opened(terms_of(keys[0]).keys, ADDRESS, record) == after
        assert store.store.owned([tags[0]]) == [ADDRESS]
        assert store.store.owned([tags[position]]) == []

    def test_the_session_of_nobody_has_no_entry(self) -> None:
        store, terms = Recorder(), terms_of(NEW, OLD)
        store.log_in(terms_of(OLD), user=None)
        assert store.carry_out(owners.resealed(terms, ADDRESS)) == 1
        assert store.asked[-1][-1] == Ownership(None, None)

    def test_one_that_is_written_meanwhile_is_sealed_as_it_was_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, terms, old = Recorder(), terms_of(NEW, OLD), terms_of(OLD)
        store.log_in(old)
        replace = store.store.replace

        def interrupted(*arguments: Any) -> Any:
            monkeypatch.setattr(store.store, "replace", replace)
            now = int(old.now)
            record = old.keys.seal(ADDRESS, b"g" * 8, now, now, b'{"user": "1", "late": 1}')
            read = store.store.read(ADDRESS)
            assert read is not None
            replace(ADDRESS, version_of(read), record, now + 60, None)
            return replace(*arguments)

        monkeypatch.setattr(store.store, "replace", interrupted)
        assert store.carry_out(owners.resealed(terms, ADDRESS)) == 1
        assert [name for name, *_ in store.asked] == ["read", "replace", "replace"]
        after = opened(terms.keys, ADDRESS, store.store.read(ADDRESS) or b"")
        assert (after.key, after.payload) == (0, b'{"user": "1", "late": 1}')

    def test_one_that_ended_or_does_not_open_is_left_alone(self) -> None:
        store, terms = Recorder(), terms_of(NEW, OLD)
        assert store.carry_out(owners.resealed(terms, ADDRESS)) is None
        store.log_in(terms_of(NEWEST))
        assert store.carry_out(owners.resealed(terms, ADDRESS)) is None
        assert store.asked == [("read", ADDRESS)]


class TestEnding:
    def test_a_session_under_an_older_key_leaves_its_entry(self) -> None:
        store, terms = Recorder(), terms_of(NEW, OLD)
        store.log_in(terms_of(OLD))
        assert store.carry_out(owners.ended(terms, ADDRESS)) is True
        _, former = owner_tags(terms.keys, "1")
        assert store.asked == [("read", ADDRESS), ("delete", ADDRESS, former)]
        assert store.carry_out(owners.ended(terms, ADDRESS)) is False
        assert store.asked == [("read", ADDRESS)]

    def test_one_that_does_not_open_ends_all_the_same(self) -> None:
        store = Recorder()
        store.log_in(terms_of(OLD))
        assert store.carry_out(owners.ended(terms_of(NEW), ADDRESS)) is True
        assert store.asked[-1] == ("delete", ADDRESS, None)

    def test_all_sessions_of_a_user_except_the_current_one_end_and_are_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, terms = Recorder(), terms_of(NEW)
        (tag,) = tags_to_find(terms.keys, "1")
        for address in (ADDRESS, OTHERS[0]):
            store.log_in(terms, address)
        store.log_in(terms, OTHERS[1], user="2")
        store.store.create(OTHERS[2], b"unreadable", int(terms.now) + 60, tag)
        gone = b"z" * 32
        index = [gone, ADDRESS, *OTHERS]
        monkeypatch.setattr(store.store, "owned", lambda tags: index if tags == [tag] else [])
        ended = store.carry_out(owners.ended_of(terms, store.store, "1", ADDRESS))
        assert ended == 2
        assert store.addresses() == {ADDRESS, OTHERS[1]}
        assert store.asked[0][:2] == ("revoke", b"u" + tag)
        # The entry that led nowhere is removed, and is no session.
        assert ("delete", gone, tag) in store.asked
