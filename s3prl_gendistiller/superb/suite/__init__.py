"""A suite: its runs, the search for learning rates, processes, the plan of a dry run, and results."""
