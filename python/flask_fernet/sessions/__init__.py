"""Sessions in cookies. Imports point one way:

``interface`` is on top, then ``fallback``, then ``opening`` and ``saving``, then ``payload``. The
interface resolves its policy with ``policy`` and ``key_sources``, which has the rings from
``followed_rings`` and binds keys with ``salts``; ``configuration`` says what is wrong with an app.
``signed``, ``serializer``, ``session``, ``lifetimes`` and ``app_memory`` are below. ``inspection``
looks into an interface from outside.
"""
