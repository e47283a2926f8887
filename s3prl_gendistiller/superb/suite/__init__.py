"""A suite: its runs, the search for learning rates, processes, the plan and its estimate, the display, and results."""
