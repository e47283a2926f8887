"""Distillation without a host: teacher, objectives, the task that joins them, warm start, data."""
