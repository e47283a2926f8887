"""Runs of a suite on other hosts: what such a host needs, what happens on it, and the engines that reach it."""
