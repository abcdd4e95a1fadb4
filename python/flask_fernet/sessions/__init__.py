"""Sessions in cookies. Imports point one way:

``interface`` is on top, then ``fallback``, then ``policy`` and ``key_sources``, then ``signed``,
``serializer``, ``session`` and ``lifetimes``. ``inspection`` looks into an interface from outside.
"""
