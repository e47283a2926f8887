"""SUPERB's ten tasks as one table, their runs through run_downstream.py, their scores, and the table of all."""
