"""Trained students in forms that run without this package."""
