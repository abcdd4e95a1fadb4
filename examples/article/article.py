"""The article's code as it stands. One import is changed.

The article has ``from cryptography.fernet import Fernet``.
"""

from flask import session

from flask_fernet import Fernet

SESSION_ID_KEY = "session_id"

key = Fernet.generate_key()
fernet = Fernet(key)


def encrypt_data(data):
    return fernet.encrypt(data.encode())


def decrypt_data(token):
    return fernet.decrypt(token).decode()


def update_session(uid, username, expire_time):
    session[SESSION_ID_KEY] = encrypt_data(f'{uid}_{username}_{expire_time}')
