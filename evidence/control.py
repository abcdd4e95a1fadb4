"""Makes the extension read what is not its own: ``python -m evidence.control``.

AddressSanitizer and memcheck must report it; otherwise it would mean nothing that they report
nothing in the tests. The search for a cookie believes the length of a ``str``, as all of CPython
does, and this one lies.
"""

from __future__ import annotations

import ctypes

from flask_fernet._core import find_cookie

#: Letters of the text, and those that it claims: a few more.
LENGTH, CLAIMED = 4000, 4100


def main() -> None:
    # The extension's own code reads all of it, and no function of C.
    header = "x" * LENGTH
    # The length comes after the head that all objects have.
    length = ctypes.c_ssize_t.from_address(id(header) + object.__basicsize__)
    assert length.value == LENGTH
    length.value = CLAIMED
    try:
        find_cookie(header, "session")
    finally:
        length.value = LENGTH


if __name__ == "__main__":
    main()
