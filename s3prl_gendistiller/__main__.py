"""``python -m s3prl_gendistiller run_pretrain.py ...`` runs a script of a linked checkout behind our launcher's checks.

The script is the checkout's own. This module supplies missing library names, fills in missing flags, and checks the
input first. Any other script runs as with ``python -m s3prl_gendistiller.host.compat``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from s3prl_gendistiller.cli import downstream, pretrain
from s3prl_gendistiller.host import compat, mount

LAUNCHERS = {
    "run_pretrain.py": (pretrain.main, mount.run_pretrain_script),
    "run_downstream.py": (downstream.main, mount.run_downstream_script),
}


def main(argv: Sequence[str]) -> int:
    script = Path(argv[0] if argv else "")
    if script.name not in LAUNCHERS or not script.is_file():
        return compat.main(argv)
    compat.put_on_path(script)  # before anything imports another s3prl
    launcher, host = LAUNCHERS[script.name]
    return launcher(argv[1:], functools.partial(host, argv[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
