"""Runs of a suite on hosts of a cluster: the order of a run, its ticket and ending, and the engines that start it."""
