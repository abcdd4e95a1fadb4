"""Sessions that lie in a store, with a reference in their cookie. Neither Flask's request nor a
client library is imported here. From the bottom up:

``records`` seals and opens what the store holds, ``state`` is what a request knows of a stored
session, ``ghost`` the session that is not there yet. ``merging`` joins the changes of two requests,
``exchange`` says what is asked of the store in which order, ``changes`` how a session is put into
it and changed, and ``outage`` what happens while it is away. ``owners`` and ``feed`` find and end
the sessions of a user.
"""
