"""Commands for the user's shell, as they work in the working folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from s3prl_gendistiller.host.locate import is_host_package


def launcher(script: str) -> list[str]:
    """The first words of a command of run_pretrain.py or run_downstream.py.

    Both scripts lie in the folder of this repository and in that of s3prl. pip also puts ours on the PATH.
    """
    if not Path(script).is_file():
        return [script]
    return ["python", *(["-m", "s3prl_gendistiller"] if is_host_package(Path.cwd()) else []), script]


def line(words: Iterable[str]) -> str:
    """Words as one line for the shell."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """A word for the shell; in double quotes where single quotes stand in it and nothing else needs care."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)
