"""Recordings of people: their tables, and corpora in SUPERB's layouts."""
