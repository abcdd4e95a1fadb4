"""The session object: every type that Flask supports, and the session classes of users."""

from __future__ import annotations

from flask import session
from flask.json.tag import TaggedJSONSerializer

from flask_fernet import EncryptedSession, EncryptedSessionInterface, Fernet
from tests.apps import MakeApp, add_views, opened, set_cookie, token_of
from tests.oracles import OracleFernet
from tests.strategies import EVERYTHING

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


def test_every_type_is_written_and_read_as_by_flask(make_app: MakeApp) -> None:
    app = add_views(make_app())

    @app.get("/everything")
    def everything() -> str:
        session.update(EVERYTHING)
        return ""

    client = app.test_client()
    written = opened(app, token_of(set_cookie(client.get("/everything"))))[0]
    with app.app_context():
        assert written == TaggedJSONSerializer().dumps(EVERYTHING).encode()
        expected = TaggedJSONSerializer().loads(written.decode())
    with client.session_transaction() as transaction:
        assert dict(transaction) == expected
        assert isinstance(transaction, EncryptedSession)


def test_a_session_class_without_room_for_notes_opens(make_app: MakeApp) -> None:
    class Bare(dict):  # type: ignore[type-arg]
        __slots__ = ()

    interface = EncryptedSessionInterface(keys=[NEW, OLD])
    interface.session_class = Bare  # type: ignore[assignment]
    app = make_app(interface)
    token = OracleFernet(OLD).encrypt(b'{"a":1}').decode()
    with app.test_request_context(headers={"Cookie": f"session={token}"}) as context:
        opened = interface.open_session(app, context.request)
    assert isinstance(opened, Bare)
    assert opened == {"a": 1}
