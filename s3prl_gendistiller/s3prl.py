"""``import s3prl_gendistiller.s3prl`` adds the students to s3prl's own interface, `s3prl.nn.S3PRLUpstream`.

After this line, ``from s3prl.nn import S3PRLUpstream, Featurizer`` works on today's libraries, and
``S3PRLUpstream("gendistiller_local", path_or_url=PLACE)`` is a student. The line may stand after an import of s3prl,
also after one that failed. docs/integrations.md describes the settings, and ESPnet, which reads students in this way.

A program of others runs with this line before it by

    python -m s3prl_gendistiller.s3prl -m espnet2.bin.asr_train --config train.yaml ...
    python -m s3prl_gendistiller.s3prl script.py ...
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat, mount

mount.mount_hub()


def main(argv: Sequence[str]) -> int:
    """Runs ``-m MODULE [ARGS...]`` or ``SCRIPT [ARGS...]`` as Python itself would; returns the exit status.

    With ``-m``, `sys.modules["__main__"]` stays this module, so that processes that the program spawns import it, too.
    A script becomes that module; such processes import the script alone.
    """
    module = argv[0] == "-m" if argv else False
    target = argv[1:] if module else argv
    try:
        if not target or target[0].startswith("-"):
            raise UserError(
                f"found {' '.join(argv) or 'no program'}, expected -m MODULE [ARGS...] or SCRIPT [ARGS...], such as "
                "-m espnet2.bin.asr_train --config train.yaml"
            )
        if module:
            sys.argv = list(target)
            runpy.run_module(target[0], run_name="__main__")
        else:
            compat.run_script(target[0], target[1:])
    except UserError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
