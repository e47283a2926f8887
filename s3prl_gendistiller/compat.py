"""``import s3prl_gendistiller.compat`` makes s3prl, torchaudio and transformers importable in a script of your own.

The import stands before those of the three libraries. docs/python.md lists what it changes; no file is changed, and a
name that works is never replaced.

Attributes:
    SUPPLIED: one line for each thing that this import supplied; empty if nothing was missing.
"""

from __future__ import annotations

from s3prl_gendistiller.host import compat, mount

SUPPLIED: tuple[str, ...] = tuple(compat.apply())
mount.mount_hub()
