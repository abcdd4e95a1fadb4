"""What was tried, how much of it, and what happened: ``make evidence``."""
