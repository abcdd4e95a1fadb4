"""Implementations other than ours, and tokens made or read as the documentation specifies."""

from __future__ import annotations

import base64
import hashlib
import hmac
from importlib.metadata import version

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet as OracleFernet
from cryptography.fernet import InvalidToken as OracleInvalidToken
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flask_fernet import KeyRing

__all__ = ["OracleFernet", "OracleInvalidToken"]


def hkdf(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """Derives a key with HKDF-SHA256 (RFC 5869) without a salt."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


def derived_key(secret: bytes, salt: str = "cookie-session") -> bytes:
    """Derives the key of an app from its secret, as the README documents it."""
    return base64.urlsafe_b64encode(hkdf(secret, b"flask-fernet:fernet:" + salt.encode()))


def fernet_token(key: bytes, body: bytes) -> bytes:
    """Makes a token with an authentic MAC over any body, valid or not."""
    signing = base64.urlsafe_b64decode(key)[:16]
    return base64.urlsafe_b64encode(body + hmac.digest(signing, body, hashlib.sha256))


def fernet_token_of_blocks(key: bytes, blocks: bytes, moment: int = 0) -> bytes:
    """Makes a token with an authentic MAC over whole blocks of text, the last of which is padding,
    valid or not. Its IV is zero.

    :param moment: when it is issued, in seconds since the epoch.
    """
    iv = bytes(16)
    encryptor = Cipher(
        algorithms.AES(base64.urlsafe_b64decode(key)[16:]), modes.CBC(iv)
    ).encryptor()
    return fernet_token(key, b"\x80" + moment.to_bytes(8, "big") + iv + encryptor.update(blocks))


def read_xaes(key: str | bytes, salt: str, cookie: str, token: str) -> tuple[bytes, int]:
    """Returns the payload and the issue time of an ``xaes-256-gcm`` token, see docs/formats.md.

    :raises InvalidTag: if the token is not authentic.
    """
    raw = base64.urlsafe_b64decode(token)
    bound = hkdf(base64.urlsafe_b64decode(key), b"flask-fernet:xaes-256-gcm:" + salt.encode())
    assert raw[:1] == b"\xa1"
    if raw[1:5] != hkdf(bound, b"flask-fernet:xaes-256-gcm:hint", 4):
        raise InvalidTag
    nonce = raw[13:37]
    header, body = raw[:37], raw[37:]
    associated = header + len(salt.encode()).to_bytes(4, "big") + salt.encode() + cookie.encode()
    payload = AESGCM(_xaes_message_key(bound, nonce[:12])).decrypt(nonce[12:], body, associated)
    return payload, int.from_bytes(raw[5:13], "big")


def _xaes_message_key(key: bytes, nonce: bytes) -> bytes:
    """Derives the key of one message, see https://c2sp.org/XAES-256-GCM."""
    # The specification builds CMAC from the ECB encryption of single blocks.
    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
    doubled = int.from_bytes(encrypt(bytes(16)), "big") << 1
    subkey = (doubled ^ (0b1000_0111 if doubled >> 128 else 0)) & (2**128 - 1)
    halves = [bytes([0, number]) + b"X\0" + nonce for number in (1, 2)]
    return b"".join(
        encrypt((int.from_bytes(half, "big") ^ subkey).to_bytes(16, "big")) for half in halves
    )


def read_wrapped_ring(secret: str, wrapped: str) -> bytes:
    """Decrypts the document in a wrapped key ring, see docs/formats.md."""
    raw = base64.urlsafe_b64decode(wrapped)
    key = hkdf(secret.encode(), b"flask-fernet:ring")
    assert raw[:1] == b"\xa2"
    assert raw[1:5] == hkdf(key, b"flask-fernet:ring:hint", 4)
    return AESGCM(key).decrypt(raw[5:17], raw[17:], raw[:17])


def maker_of(token: str, ring: KeyRing) -> str:
    """Returns the id of the key in a ring that encrypted a token."""
    for key in ring.load().keys:
        try:
            OracleFernet(key.key).extract_timestamp(token)
        except OracleInvalidToken:
            continue
        return key.id
    raise AssertionError("no key of the ring made it")


def release(package: str) -> tuple[int, ...]:
    """The version of an installed package, for what its versions do differently."""
    return tuple(int(part) for part in version(package).split(".")[:3])
