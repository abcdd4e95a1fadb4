"""Key rings: the keys of one purpose over years, where they are kept, and who follows them."""
