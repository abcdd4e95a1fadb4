"""Makes the extension read what is not its own: ``python -m evidence.control``.

AddressSanitizer and memcheck must report it; otherwise it would mean nothing that they report
nothing in the tests. The extension believes the length of a ``bytes`` object, as all of CPython
does, and this one lies.
"""

from __future__ import annotations

import ctypes

from flask_fernet import Fernet

#: Bytes of the object, and those that it claims: a few more, so that nothing else is destroyed.
LENGTH, CLAIMED = 4000, 4100


def main() -> None:
    data = bytes(LENGTH)
    # The second of the three words of its head is the length: after the count of references and
    # the type.
    length = ctypes.c_ssize_t.from_address(id(data) + 2 * ctypes.sizeof(ctypes.c_ssize_t))
    length.value = CLAIMED
    try:
        Fernet(Fernet.generate_key()).encrypt(data)
    finally:
        length.value = LENGTH


if __name__ == "__main__":
    main()
