"""The Kaldi tables of Libri2Mix that s3prl's diarization reads.

A mixture's name holds the two utterances that sound in it from its first second on, `<speaker>-<chapter>-<number>_...`.
Who speaks when is in LibriMix's metadata (metadata/LibriSpeech/*.rttm, alignments of LibriSpeech).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
from tqdm import tqdm

from s3prl_gendistiller.distill.audio import unreadable
from s3prl_gendistiller.distill.files import files_below, read_text
from s3prl_gendistiller.errors import UserError

ALIGNMENTS = {"train": "train_clean_100.rttm", "dev": "dev_clean.rttm", "test": "test_clean.rttm"}
_LISTED = 3


class Turn(NamedTuple):
    """When an utterance is speech, in seconds."""

    start_s: float
    end_s: float


def kaldi_tables(
    audio: Path, split: str, root: Path, librimix: Path | None, *, progress: bool = True
) -> dict[str, str]:
    """Of all mixtures of a split: the name of each table and its content.

    Args:
        audio: folder of <mixture>.wav.
        split: "train", "dev" or "test".
        root: of Libri2Mix; where LibriMix is looked for without `librimix`: in it and beside it.
        librimix: a git checkout of LibriMix.

    Raises:
        UserError: no audio, no alignments, a mixture without them, or one that is not named after two utterances.
    """
    files = list(files_below(audio, ".wav"))
    if not files:
        raise UserError(f"{audio}: found no mixtures, expected those of LibriMix's generate_librimix_sd.sh (mix_both)")
    spoken = _read_alignments(_alignments(split, root, librimix))
    lacking = [file.stem for file in files if any(source not in spoken for source in file.stem.split("_"))]
    if lacking:
        listed = ", ".join(lacking[:_LISTED])
        raise UserError(
            f"{audio}: {len(lacking):,} of {len(files):,} names are not two utterances joined by _ that the alignments "
            f"know: {listed}; expected mixtures of LibriSpeech"
        )
    tables: dict[str, list[str]] = defaultdict(list)
    said: dict[str, list[str]] = defaultdict(list)
    for file in tqdm(files, desc=f"Libri2Mix {split}", unit="file", disable=not progress):
        mixture = file.stem
        try:
            info = soundfile.info(str(file))
        except soundfile.LibsndfileError as error:
            raise unreadable(file, error) from error
        tables["wav.scp"].append(f"{mixture} {file.absolute()}")
        tables["reco2dur"].append(f"{mixture} {info.frames / info.samplerate:.4f}")
        for source in mixture.split("_"):
            speaker = source.partition("-")[0]
            for turn in spoken[source]:
                name = f"{speaker}_{mixture}_{turn.start_s * 1000:06.0f}_{turn.end_s * 1000:06.0f}"
                tables["segments"].append(f"{name} {mixture} {turn.start_s:.3f} {turn.end_s:.3f}")
                tables["utt2spk"].append(f"{name} {speaker}")
                length = turn.end_s - turn.start_s
                tables["rttm"].append(
                    f"SPEAKER {mixture} 1 {turn.start_s:.3f} {length:.3f} <NA> <NA> {speaker} <NA> <NA>"
                )
                said[speaker].append(name)
    tables["spk2utt"] = [f"{speaker} {' '.join(sorted(names))}" for speaker, names in said.items()]
    return {name: _text(sorted(lines) if name != "rttm" else lines) for name, lines in tables.items()}


def _alignments(split: str, root: Path, librimix: Path | None) -> Path:
    homes = [librimix] if librimix is not None else [root, root.parent / "LibriMix"]
    candidates = [home / "metadata" / "LibriSpeech" / ALIGNMENTS[split] for home in homes]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"Libri2Mix {split}: found no {' and no '.join(map(str, candidates))}; give --librimix CHECKOUT of s3prl's "
        "LibriMix"
    )


def _read_alignments(path: Path) -> Mapping[str, Sequence[Turn]]:
    """Utterance (<speaker>-<chapter>-<number>) -> turns; the file names an utterance without its speaker."""
    turns: dict[str, list[Turn]] = defaultdict(list)
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        try:
            kind, utterance, start_s, length_s, speaker = (fields[i] for i in (0, 1, 3, 4, 7))
            turn = Turn(float(start_s), float(start_s) + float(length_s))
        except (IndexError, ValueError) as error:
            raise UserError(f"{path} line {number}: found {line!r}, expected a line of RTTM") from error
        if kind == "SPEAKER":
            turns[f"{speaker}-{utterance}"].append(turn)
    return turns


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
