"""``python -m s3prl_gendistiller run_pretrain.py ...``: the script of a linked s3prl checkout, helped by our launcher.

The script that runs is the checkout's own, on supplied libraries; what the command leaves out is filled in and its
input is checked first, as by our launchers. Any other script runs as ``python -m s3prl_gendistiller.host.compat`` does.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from s3prl_gendistiller.cli import downstream, pretrain
from s3prl_gendistiller.host import compat, mount

LAUNCHERS = {"run_pretrain.py": pretrain.main, "run_downstream.py": downstream.main}
HOSTS = {"run_pretrain.py": mount.run_pretrain_script, "run_downstream.py": mount.run_downstream_script}


def main(argv: Sequence[str]) -> int:
    name = Path(argv[0]).name if argv else ""
    launcher = LAUNCHERS.get(name)
    if launcher is None or not Path(argv[0]).is_file():
        return compat.main(argv)
    compat.put_on_path(Path(argv[0]))  # before anything imports another s3prl
    return launcher(argv[1:], functools.partial(HOSTS[name], argv[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
