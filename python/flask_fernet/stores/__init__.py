"""Where the records of stored sessions lie. ``protocol`` says what a store must do; each other
module is one kind of store. They know neither Flask nor the contents of a record.
"""
