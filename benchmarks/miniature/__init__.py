"""Measurements in miniature: short distillations from the shipped teacher, evaluated on small tasks."""
