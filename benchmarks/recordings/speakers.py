"""Spoken digits in VoxCeleb1's layout, for identification (SID) and verification (ASV).

The speakers are in two groups, in the order of their names: verification trains on the first half, in `dev/`, and
tests on the other half, in `test/`. Identification reads single digits of all speakers from both folders. Utterances
of verification are `_COUNT` digits in a row by one speaker. A trial compares an utterance of the first half of the
words with an utterance of the other half, so that the words say nothing about the speaker.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recordings.clips import Copied, Joined, series
from recordings.tables import summary
from s3prl_gendistiller.corpora import voxceleb
from s3prl_gendistiller.corpora.clips import Clip
from s3prl_gendistiller.corpora.folder import CorpusPlan
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.tasks.sid import SPEAKERS

_COUNT = 3
_HALVES = ("words_a", "words_b")  # of the words, in alphabetical order
_PURPOSES = {"train": 1, "dev": 2, "test": 3}
_TRIALS = {"dev": {"dev"}, "test": {"dev", "test"}}
"""The splits of the recordings in trials. The head hears no recording of a test speaker, so two splits are free."""


class Verification(NamedTuple):
    """Audio files of verification, and its lists of trials and speakers by path."""

    clips: list[Clip]
    texts: dict[str, str]


def speakers(digits: Sequence[Mapping[str, str]], verification: bool) -> CorpusPlan:
    """The corpus of both tasks; of identification only if the recordings do not suffice for trials.

    Raises:
        UserError: more speakers than s3prl's identification has, or too few recordings, and `verification` is asked.
    """
    names = {name: f"id{SPEAKERS[0] + i}" for i, name in enumerate(sorted({row["speaker"] for row in digits}))}
    if len(names) > len(SPEAKERS):
        raise UserError(
            f"--real: digits.csv: found {len(names)} speakers, expected at most {len(SPEAKERS)}, as s3prl's SID"
        )
    words = sorted({row["word"] for row in digits})
    parts = _parts(names)
    verified = _verification(digits, names, words, parts)
    if verified is None and verification:
        raise UserError(
            f"--real: digits.csv: found {len(names)} speakers and {len(words)} words, expected at least 4 speakers, "
            f"each with {2 * _COUNT} words in dev, for verification; add recordings or leave out asv"
        )
    if verified is None:
        parts = dict.fromkeys(names, "dev")
    clips: list[Clip] = []
    listed = ""
    for row in digits:
        path = f"{names[row['speaker']]}/{row['word']}/{row['name']}.wav"
        clips.append(Copied(f"{parts[row['speaker']]}/wav/{path}", row["file"]))
        listed += f"{_PURPOSES[row['split']]} {path}\n"
    texts = {
        "veri_test_class.txt": listed,
        "speakers.txt": "".join(f"{number} {name} {parts[name]}\n" for name, number in names.items()),
    }
    about = (
        "Spoken digits (recordings of people) in VoxCeleb1's layout.\n\n"
        f"{len(names)} speakers, whose names are in `speakers.txt`. Identification reads single digits: a folder below "
        "a speaker is the word that is said, and the splits are by take."
    )
    if verified is None:
        about += " The recordings do not suffice for verification, so there are no trials."
    else:
        clips += verified.clips
        texts |= verified.texts
        about += (
            f"\n\nVerification reads utterances of {_COUNT} digits: recordings of one speaker, joined by this package "
            f"with pauses of faint noise, in the folders `train`, `{_HALVES[0]}` and `{_HALVES[1]}` below a speaker. "
            f"The head trains on the speakers of dev/ only. A trial compares {', '.join(words[: len(words) // 2])} "
            f"with {', '.join(words[len(words) // 2 :])}; the two utterances of a trial have no word in common. No "
            "recording is in two utterances. The small preset trains on them; s3prl's own settings leave out "
            "utterances under two seconds. Trials share utterances and the speakers are few, so an interval over "
            "trials says nothing about other speakers."
        )
    recipe = {"corpus": voxceleb.FOLDER, "real": summary(digits), "verification": verified is not None}
    return CorpusPlan(voxceleb.FOLDER, recipe, clips, lambda root: texts, about)


def _parts(names: Mapping[str, str]) -> dict[str, str]:
    """The folder of each speaker: dev/ for the first half, test/ for the other."""
    return {name: "dev" if place < len(names) // 2 else "test" for place, name in enumerate(names)}


def _verification(
    digits: Sequence[Mapping[str, str]], names: Mapping[str, str], words: Sequence[str], parts: Mapping[str, str]
) -> Verification | None:
    """Utterances and trials; None if a list of trials lacks pairs of one speaker or of two."""
    halves = dict(zip(_HALVES, (set(words[: len(words) // 2]), set(words[len(words) // 2 :])), strict=True))
    clips: list[Clip] = []
    tested: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for speaker, part in parts.items():
        own = [row for row in digits if row["speaker"] == speaker]
        sessions = {
            half: [r for r in own if r["split"] in _TRIALS[part] and r["word"] in halves[half]] for half in _HALVES
        }
        if part == "dev":
            sessions["train"] = [row for row in own if row["split"] == "train"]
        for session, rows in sessions.items():
            for number, group in enumerate(series(rows, _COUNT, f"{speaker}/{session}"), start=1):
                path = f"{names[speaker]}/{session}/{number:05d}.wav"
                clips.append(Joined(f"{part}/wav/{path}", tuple(row["file"] for row in group)))
                tested.setdefault((part, session), []).append((speaker, path))
    lists = {part: _pairs(*(tested.get((part, half), []) for half in _HALVES)) for part in _TRIALS}
    if any({trial[0] for trial in trials} != {"0", "1"} for trials in lists.values()):
        return None
    training = "".join(f"{names[speaker]}\n" for speaker, part in parts.items() if part == "dev")
    texts = {
        "voxceleb1_test_v2.txt": "".join(lists["test"]),
        "dev_meta_data/dev_meta_data.txt": "".join(lists["dev"]),
        "dev_meta_data/dev_speaker_ids.txt": training,
    }
    return Verification(clips, texts)


def _pairs(enrolled: Sequence[tuple[str, str]], tested: Sequence[tuple[str, str]]) -> list[str]:
    """Every utterance of the first list with every one of the second: 1 for one speaker, 0 for two."""
    pairs = itertools.product(enrolled, tested)
    return [f"{int(first == second)} {one} {other}\n" for (first, one), (second, other) in pairs]
