"""One suite: its runs, their search, their processes, their results."""
