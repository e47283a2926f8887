"""Writes the comments behind the keys of the YAML files in pretrain_configs/ from the declarations of the keys.

python docs/comments.py            # writes the comments into the files
python docs/comments.py --check    # ends with status 1 if a comment there is not that of its key

A comment on a line of its own belongs to its file and stays.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.cli.config import CONFIGURATIONS
from s3prl_gendistiller.cli.keys import meanings
from s3prl_gendistiller.schema import read_layered_yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path for kind in ("gendistiller", "distilhubert") for path in ROOT.glob(f"pretrain_configs/{kind}/*.yaml")
)
COLUMN, WIDTH = 31, 128
_KEY = re.compile(r"(?P<indent> *)(?P<dash>- )?(?P<key>\w+):(?P<value>(?: +(?:\"[^\"]*\"|[^#\s]\S*))*)(?: +# .*)?")


def commented(path: Path) -> str:
    """The text that a file should have."""
    kind = "runner" if path.stem.startswith("config_runner") else path.parent.name
    known = dict(meanings(CONFIGURATIONS[kind], read_layered_yaml(path)))
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(_commented(lines, known)) + "\n"


def _commented(lines: Sequence[str], known: Mapping[str, str]) -> list[str]:
    written: list[str] = []
    above: list[tuple[int, str]] = []  # sections around the present line: their indentation and full key
    entries = 0
    for line in lines:
        found = _KEY.fullmatch(line)
        if found is None:  # an empty line, a comment, or a value below its key
            written.append(line)
            continue
        indent = len(found["indent"]) + len(found["dash"] or "")
        above = [section for section in above if section[0] < indent - len(found["dash"] or "")]
        parent = above[-1][1] if above else ""
        if found["dash"]:
            above.append((indent - 1, parent := f"{parent}[{entries}]"))
            entries += 1
        full = f"{parent}.{found['key']}" if parent else found["key"]
        above.append((indent, full))
        if not indent:
            entries = 0
        written += _line(found, known[full]) if known.get(full) else [line]
    return written


def _line(found: re.Match[str], meaning: str) -> list[str]:
    """The line of a key with its meaning; a long value goes to a line of its own."""
    start = f"{found['indent']}{found['dash'] or ''}{found['key']}:"
    line = f"{start}{found['value']}".ljust(COLUMN - 2) + f"  # {meaning}"
    if len(line) <= WIDTH:
        return [line]
    return [start.ljust(COLUMN - 2) + f"  # {meaning}", f"{found['indent']}  {found['value'].strip()}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the comments, or with ``--check`` compares them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(argv).check
    stale = [path for path in FILES if path.read_text(encoding="utf-8") != commented(path)]
    for path in stale:
        print(f"{path}: {'its comments are not those of its keys' if check else 'written'}")
        if not check:
            path.write_text(commented(path), encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
