"""Remembers what an installation was told, so that it is told once.

The notes are in the user's cache folder, one for each environment of Python (`sys.prefix`), and hold what was said. A
note that cannot be written costs nothing but a repeated line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text


def is_new(topic: str, text: str) -> bool:
    """Whether `text` differs from the last one about this topic; remembers it. True where nothing can be remembered."""
    note = _folder() / f"{topic}-{hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]}.txt"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if note.read_text(encoding="utf-8") == text:
            return False
    with contextlib.suppress(UserError):
        write_text(note, text)
    return True


def _folder() -> Path:
    """The folder of the notes: in the user's cache, as the XDG specification names it."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return Path(cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")) / "s3prl-gendistiller"
