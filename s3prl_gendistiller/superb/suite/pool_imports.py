"""What every run of run_downstream.py imports, for the process from which they are forked (see `launcher`).

Nothing here may start a thread or compute: a forked copy would lack the thread.
"""

import contextlib
import importlib

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount

with contextlib.suppress(UserError):  # the run itself says what is wrong
    mount.mount_hub()
    importlib.import_module("s3prl.downstream.runner")
