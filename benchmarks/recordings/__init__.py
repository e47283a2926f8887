"""Recordings of people: their tables, and corpora that are made of them."""
