"""The suites of extensions, run with Flask's sessions and with ours: ``make test-ecosystem``.

They are fetched as source distributions and need packages of their own, so they are no part of
``make test``.
"""
