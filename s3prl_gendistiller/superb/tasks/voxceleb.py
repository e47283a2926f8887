"""VoxCeleb1, which speaker identification and verification read: its size and its folders."""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks.needs import EXACT, AudioFolder

CORPUS = Corpus(
    "VoxCeleb1",
    origins.VOXCELEB,
    # the VoxCeleb home's table, as PaddleSpeech's examples/voxceleb/README.md quotes it
    {"dev": Amount(148_642, 340.4), "test": Amount(4_874, 11.2)},
)
UTTERANCES = sum(part.files for part in CORPUS.parts.values())
_WHOLE_S = sum(part.seconds for part in CORPUS.parts.values())


def speech(dev: int, test: int) -> Speech:
    """The amount of a task that evaluates on so many utterances of dev and test."""
    mean_s = _WHOLE_S / UTTERANCES
    return Speech(mean_s, dev * mean_s, test * mean_s, _WHOLE_S)


def audio_folders(root: Path, form: str = EXACT) -> list[AudioFolder]:
    """The folders of both parts; `form` is that of `AudioFolder`."""
    return [AudioFolder(name, root / name / "wav", amount, form=form) for name, amount in CORPUS.parts.items()]
