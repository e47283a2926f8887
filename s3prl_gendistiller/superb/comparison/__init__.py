"""Two students of a suite compared, task by task, with intervals and p values."""
