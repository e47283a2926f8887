"""Tests of `superb/cluster`."""
