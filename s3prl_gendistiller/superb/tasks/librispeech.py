"""LibriSpeech, which phoneme and speech recognition read: its size, its folders and its transcripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.formats.lists import read_table
from s3prl_gendistiller.superb.corpus import origins
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.tasks.needs import LEFT_OUT, AudioFolder, fault

# hours: Panayotov et al., ICASSP 2015, table 1; utterances: the data card of s3prl/superb, task asr
_PARTS = {
    "train-clean-100": Amount(28_539, 100.6),
    "dev-clean": Amount(2_703, 5.4),
    "test-clean": Amount(2_620, 5.4),
}
CORPUS = Corpus("LibriSpeech", origins.LIBRISPEECH, _PARTS)
SPEECH = (Speech(2.8, 168, 283, 2708), Speech.of(*_PARTS.values()))


def audio_folders(root: Path, splits: Sequence[str]) -> list[AudioFolder]:
    return [AudioFolder(split, root / split, CORPUS.parts.get(split), ".flac") for split in splits]


def read_transcripts(folder: Path) -> list[tuple[Path, str, str]]:
    """File, utterance and text of each line of the transcripts below a folder."""
    files = files_below(folder, ".trans.txt")
    return [(file, utterance, text) for file in files for utterance, text in read_table(file, " ")]


def transcript_faults(audio: AudioFolder, files: Sequence[Path]) -> Generator[str, None, dict[str, str]]:
    """Problems of the transcripts of a split, one line each; returns the text of each utterance with audio."""
    texts: dict[str, str] = {}
    for transcript, utterance, text in read_transcripts(audio.folder):
        if utterance in texts:
            yield f"{transcript}: has more than one line for {utterance}; keep one"
        texts[utterance] = text
    empty = [file for file in files if not texts.get(file.stem, "?")]
    lacking = [file for file in files if file.stem not in texts]
    without_audio = sorted({*texts} - {file.stem for file in files}) if files else []
    twice = [name for name, count in Counter(file.stem for file in files).items() if count > 1]
    yield from fault(audio.name, lacking, "utterances have no line in a .trans.txt", "; add them")
    yield from fault(audio.name, empty, "utterances have an empty transcript", "; remove both")
    yield from fault(audio.name, without_audio, f"transcripts have no {audio.suffix} file and {LEFT_OUT}")
    yield from fault(audio.name, twice, "names of utterances occur more than once", "; keep one of each")
    return {file.stem: texts[file.stem] for file in files if file.stem in texts}
