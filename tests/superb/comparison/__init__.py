"""Tests of `superb/comparison`."""
