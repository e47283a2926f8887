"""Plans of corpus folders, and their writing: clips, text files, README and checksums."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3prl_gendistiller.corpora import folder
from s3prl_gendistiller.corpora.clips import Clip
from s3prl_gendistiller.corpora.recording import Recorder, files_of
from s3prl_gendistiller.outputs import write_text

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2
README = "README.md"


@dataclass(frozen=True)
class CorpusPlan:
    """One folder in the official layout of a corpus.

    Attributes:
        name: of the folder, below the folder that SUPERB_DATA names.
        recipe: everything that decides the content, as JSON.
        clips: the audio.
        texts: makes the text files, path below the folder -> content, from the folder with its audio.
        about: content of the folder and differences to the real corpus, for README.md.
    """

    name: str
    recipe: Mapping[str, Any]
    clips: Sequence[Clip]
    texts: Callable[[Path], Mapping[str, str]]
    about: str


def write_plans(out: Path, plans: Sequence[CorpusPlan], recorder: Recorder) -> list[Path]:
    """Writes corpora, finishes interrupted ones, repairs damaged ones; returns their folders.

    Raises:
        UserError: a folder holds something else (nothing is written then) or is not writable, or espeak-ng is missing.
    """
    for plan in plans:
        folder.refuse_other(out / plan.name, _recipe(plan))
    return [_write(out / plan.name, plan, recorder) for plan in plans]


def _recipe(plan: CorpusPlan) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, **plan.recipe}


def _write(root: Path, plan: CorpusPlan, recorder: Recorder) -> Path:
    folder.claim(root, _recipe(plan))
    for file in folder.mend(root):
        logger.warning("%s: %s; written again", file.path, file.found)
    recorder.record(root, plan.clips)
    texts = {README: f"# {plan.name}\n\n{plan.about.strip()}\n", **plan.texts(root)}
    for name, text in texts.items():
        write_text(root / name, text)
    audio = [file.relative_to(root).as_posix() for clip in plan.clips for file in files_of(root, clip)]
    folder.seal(root, [*audio, *texts])
    return root
