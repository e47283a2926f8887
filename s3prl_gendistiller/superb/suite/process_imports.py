"""The imports of every run of run_downstream.py, for the process from which runs are forked (see `processes`).

No line here may start a thread or compute: a forked copy would lack the thread.
"""

import contextlib
import importlib

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat_messages, mount

compat_messages.choose(False)  # verbose all the same, if the suite is
with contextlib.suppress(UserError):  # each run raises the error again
    mount.mount_hub()
    importlib.import_module("s3prl.downstream.runner")
