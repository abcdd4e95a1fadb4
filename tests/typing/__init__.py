"""Code that type checkers read. ``make lint`` checks it with mypy and pyright, both strict."""
