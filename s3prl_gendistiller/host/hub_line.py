"""The import line that s3prl's guide requires in `hub.py`: added, and removed without a trace.

Both functions work on bytes, so that line endings, encoding and a missing last newline stay as they were.
"""

from __future__ import annotations

import re
from pathlib import Path

from s3prl_gendistiller.errors import UserError

UPSTREAM = "gendistiller"
HUB_LINE = b"from s3prl.upstream.gendistiller.hubconf import *"
_HUB_IMPORT = re.compile(rb"from s3prl\.upstream\.(\w+)\.hubconf import \*")
_OUR_NAMES = re.compile(rb"\bgendistiller(_local|_url)?\b")


def with_hub_line(text: bytes, hub: Path) -> bytes:
    """The content of `hub.py` with our import line in its alphabetical place among those of the upstreams.

    UserError: another line imports the names of this package, or no line imports an upstream.
    """
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        bare = line.strip()
        if bare != HUB_LINE and not bare.startswith(b"#") and _OUR_NAMES.search(bare):
            raise UserError(
                f"{hub}, line {number}: found '{bare.decode(errors='replace')}', expected no line about "
                f"{UPSTREAM} that link did not write; remove it, then link again"
            )
    if any(line.strip() == HUB_LINE for line in lines):
        return text
    imports = [(index, found[1]) for index, line in enumerate(lines) if (found := _HUB_IMPORT.match(line))]
    if not imports:
        raise UserError(
            f"{hub}: found no line 'from s3prl.upstream.<name>.hubconf import *', expected one per upstream; "
            "restore that file from git, then link again"
        )
    later = [index for index, name in imports if name > UPSTREAM.encode()]
    place = later[0] if later else imports[-1][0] + 1
    ending = _ending(lines[place - 1]) or _ending(lines[0]) or b"\n"
    if place == len(lines) and not _ending(lines[-1]):
        return text + ending + HUB_LINE
    return b"".join([*lines[:place], HUB_LINE + ending, *lines[place:]])


def without_hub_line(text: bytes) -> bytes:
    """The content of `hub.py` before `with_hub_line` added our line."""
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if line.strip() == HUB_LINE:
            if index and not _ending(line):  # the line before had no ending when this one was added
                lines[index - 1] = lines[index - 1].removesuffix(_ending(lines[index - 1]))
            return b"".join([*lines[:index], *lines[index + 1 :]])
    return text


def _ending(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]
