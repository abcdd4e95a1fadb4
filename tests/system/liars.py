"""Proxies in front of the servers of stores that answer as they like once they are told to."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import ClassVar

from tests.servers import MariaServer, PostgresServer, Proxy, RedisServer

#: Makes a lie from the true answer.
Lie = Callable[[bytes], bytes]

#: What every kind of server may say.
EVERYWHERE: dict[str, Lie] = {
    "bytes at random": lambda _: random.Random(1).randbytes(4000),
    "nothing, and the end": lambda _: b"",
    "half an answer": lambda answer: answer[: len(answer) // 2],
}


class Liar(Proxy):
    """Tells the truth until :attr:`lie` is set."""

    #: The lies about the records, by their names.
    LIES: ClassVar[dict[str, Lie]]

    lie: str | None = None
    #: How many lies were told.
    told = 0
    #: Seconds before each byte of an answer.
    drip = 0.0

    def __init__(self, server: RedisServer | PostgresServer | MariaServer) -> None:
        super().__init__(server.port, server.url)

    def concerns_records(self, asked: bytes) -> bool:
        """Whether a command reads or writes sessions, rather than opens a connection."""
        raise NotImplementedError

    def answer(self, client: socket.socket, asked: bytes, answer: bytes) -> bool:
        """See :class:`Proxy`. The connection ends with a lie."""
        if self.drip:
            for byte in answer:
                time.sleep(self.drip)
                client.sendall(bytes([byte]))
            return True
        if self.lie and self.concerns_records(asked):
            self.told += 1
            client.sendall(self.LIES[self.lie](answer))
            return False
        return super().answer(client, asked, answer)


class RedisLiar(Liar):
    """It speaks RESP (<https://redis.io/docs/latest/develop/reference/protocol-spec/>)."""

    LIES: ClassVar[dict[str, Lie]] = {
        **EVERYWHERE,
        "a length that is too large": lambda _: b"$2000000000\r\n",
        "a negative length": lambda _: b"$-7\r\n",
        "many elements": lambda _: b"*1000000\r\n",
        "deeply nested": lambda _: b"*1\r\n" * 100_000,
        "another type": lambda _: b":42\r\n",
        "a record of 4 MiB": lambda _: b"$4194304\r\n" + bytes(1 << 22) + b"\r\n",
        "a changed record": lambda answer: answer[:-9] + bytes([answer[-9] ^ 1]) + answer[-8:],
    }

    def concerns_records(self, asked: bytes) -> bool:
        """See :class:`Liar`."""
        return b"CLIENT" not in asked and b"HELLO" not in asked


class PostgresLiar(Liar):
    """It speaks PostgreSQL's protocol 3.0
    (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
    """

    @staticmethod
    def message(kind: bytes, body: bytes) -> bytes:
        """A message of the server's."""
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    @classmethod
    def row(cls, type_of_value: int, value: bytes) -> bytes:
        """The answer to a query: one row of one value.

        :param type_of_value: its OID in ``pg_type``.
        :param value: its text.
        """
        column = b"record\0" + bytes(6) + type_of_value.to_bytes(4, "big")
        column += b"\xff\xff" + b"\xff\xff\xff\xff" + bytes(2)
        return b"".join([
            cls.message(b"1", b""),
            cls.message(b"2", b""),
            cls.message(b"T", b"\0\1" + column),
            cls.message(b"D", b"\0\1" + len(value).to_bytes(4, "big") + value),
            cls.message(b"C", b"SELECT 1\0"),
            cls.message(b"Z", b"I"),
        ])  # fmt: skip

    @staticmethod
    def changed(answer: bytes) -> bytes:
        """An answer with another digit in the middle of a value, which is hexadecimal."""
        at = answer.index(b"\\x") + 40
        return answer[:at] + (b"1" if answer[at : at + 1] == b"0" else b"0") + answer[at + 1 :]

    LIES: ClassVar[dict[str, Lie]] = {
        **EVERYWHERE,
        "a length that is too large": lambda _: b"D\x7f\xff\xff\xff",
        "a negative length": lambda _: b"D\xff\xff\xff\xf0",
        "many columns": lambda _: PostgresLiar.message(b"T", b"\x7f\xff"),
        "an integer": lambda _: PostgresLiar.row(23, b"2000000000"),
        "a text": lambda _: PostgresLiar.row(25, b"text"),
        "an array": lambda _: PostgresLiar.row(1007, b"{1,2,3}"),
        "no bytes": lambda _: PostgresLiar.row(17, b"\\xno"),
        "a record of 4 MiB": lambda _: PostgresLiar.row(17, b"\\x" + b"00" * (1 << 22)),
        "a changed record": lambda answer: PostgresLiar.changed(answer),
    }

    def concerns_records(self, asked: bytes) -> bool:
        """See :class:`Liar`. Such a command begins with Parse, or later with Bind alone."""
        return asked[:1] == b"B" or (asked[:1] == b"P" and b"flask_fernet" in asked)


class MariaLiar(Liar):
    """It speaks MariaDB's protocol
    (<https://mariadb.com/docs/server/reference/clientserver-protocol>).
    """

    @staticmethod
    def packets(*bodies: bytes) -> bytes:
        """The packets of an answer."""
        return b"".join(
            len(body).to_bytes(3, "little") + bytes([number]) + body
            for number, body in enumerate(bodies, 1)
        )

    @classmethod
    def row(cls, type_of_value: int, value: bytes) -> bytes:
        """The answer to a query: one row of one value.

        :param type_of_value: a field type of the protocol.
        :param value: its text, of 250 bytes at most.
        """
        column = b"\3def" + bytes(3) + b"\6record\0\x0c" + (63).to_bytes(2, "little")
        column += bytes(4) + bytes([type_of_value]) + bytes(5)
        end = b"\xfe\0\0\2\0"
        return cls.packets(b"\1", column, end, bytes([len(value)]) + value, end)

    LIES: ClassVar[dict[str, Lie]] = {
        **EVERYWHERE,
        "a length that is too large": lambda _: b"\xff\xff\xff\1",
        "many columns": lambda _: MariaLiar.packets(b"\xfd\xff\xff\xff"),
        "an integer": lambda _: MariaLiar.row(3, b"2000000000"),
        "no integer": lambda _: MariaLiar.row(3, b"text"),
        "a date": lambda _: MariaLiar.row(10, b"2026-11-28"),
        "no packet": lambda _: MariaLiar.packets(b"\xfb"),
        "packets out of order": lambda answer: answer[:3] + b"\x09" + answer[4:],
        "a changed record": lambda answer: answer[:-20] + bytes([answer[-20] ^ 1]) + answer[-19:],
    }

    def concerns_records(self, asked: bytes) -> bool:
        """See :class:`Liar`. Such a command is COM_QUERY with a statement about the tables."""
        return asked[4:5] == b"\3" and b"flask_fernet" in asked
