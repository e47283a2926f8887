"""The imports of a run in a worker of Ray, for the process from which the worker forks its runs.

A forked process executes the imports of its parent's main script, and that of a worker imports Ray.
"""

import importlib

from s3prl_gendistiller.superb.suite import process_imports

importlib.import_module("ray")
__all__ = ["process_imports"]
