"""The corpora of s3prl's `ctc` task, which s3prl from the registry lacks.

s3prl's loader builds a dataset with keywords from the YAML. An item is (file, tokens), or with a bucket size above 1 a
list of that many utterances of similar length, so that a batch holds utterances of similar length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch.utils.data import Dataset

from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.lexicon import read_lexicons, refuse_unfit_lexicon
from s3prl_gendistiller.formats.lists import read_table

Item = tuple[Path, list[int]]


class Tokenizer(Protocol):
    """The used part of s3prl's text encoders."""

    token_type: str

    def encode(self, text: str) -> list[int]: ...


class BucketedDataset(Dataset):
    """Utterances, with audio file and tokens, sorted by their number of tokens, most first unless `ascending`.

    `bucket_size` is the number of utterances in one item; 1 for single utterances.
    """

    def __init__(self, items: Iterable[Item], bucket_size: int, ascending: bool) -> None:
        self.items = sorted(items, key=lambda item: len(item[1]), reverse=not ascending)
        self.bucket_size = bucket_size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item | list[Item]:
        if self.bucket_size == 1:
            return self.items[index]
        start = max(0, min(index, len(self.items) - self.bucket_size))
        return self.items[start : start + self.bucket_size]


class LibriPhoneDataset(BucketedDataset):
    """LibriSpeech with the phonemes of its words, for phoneme recognition.

    Args:
        split: folders of LibriSpeech.
        path: LibriSpeech's folder.
        lexicon: files of lines ``WORD PH ON EM ES``; the first pronunciation of a word counts.
        unused: other keys of the YAML's corpus section, which s3prl passes too.

    UserError: a split has no audio, a transcript is missing, or a word or phoneme is unknown.
    """

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Tokenizer,
        bucket_size: int,
        path: str,
        lexicon: Sequence[str],
        ascending: bool = False,
        **unused: Any,
    ) -> None:
        phonemes = read_lexicons(lexicon)
        known: Mapping[str, int] = tokenizer._vocab2idx  # type: ignore[attr-defined]  # s3prl has no public name for it
        refuse_unfit_lexicon(phonemes, known, lexicon)
        items = []
        for file, words in _transcribed(Path(path), split):
            unknown = [word for word in words if word not in phonemes]
            if unknown:
                raise UserError(f"{file}: the word {unknown[0]} is in none of {', '.join(map(str, lexicon))}; add it")
            items.append((file, tokenizer.encode(" ".join(sound for word in words for sound in phonemes[word]))))
        super().__init__(items, bucket_size, ascending)


class SnipsDataset(BucketedDataset):
    """Audio SNIPS, for slot filling; a file's name begins with its speaker.

    Args:
        split: folders of SNIPS; its speakers are those of the keyword ``<split>_speakers``.
        path: the folder that holds the splits and the transcripts.
        others: other keys of the YAML's corpus section, among them the speakers.

    UserError: no file of the split has a transcript and a listed speaker.
    """

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Tokenizer,
        bucket_size: int,
        path: str,
        ascending: bool = False,
        **others: Any,
    ) -> None:
        root = Path(path)
        slots = "-slot" in tokenizer.token_type
        transcripts = _read_transcripts(root / ("all.iob.snips.txt" if slots else "all-trans.txt"))
        speakers = tuple(others[f"{split[0]}_speakers"])
        items = []
        for name in split:
            for file in sorted(files_below(root / name, ".wav")):
                if file.stem in transcripts and file.stem.startswith(speakers):
                    items.append((file, tokenizer.encode(transcripts[file.stem])))
        if not items:
            raise UserError(
                f"{root / split[0]}: found no .wav that has a transcript and a speaker of {', '.join(speakers)}; "
                "expected Audio SNIPS as s3prl prepares it"
            )
        super().__init__(items, bucket_size, ascending)


def _transcribed(root: Path, splits: Sequence[str]) -> Iterable[tuple[Path, list[str]]]:
    """Audio files of LibriSpeech and their words; reads each transcript once."""
    for split in splits:
        files = sorted(files_below(root / split, ".flac"))
        if not files:
            raise UserError(f"{root / split}: found no .flac, expected a split of LibriSpeech")
        lines: dict[str, str] = {}
        for transcript in sorted(files_below(root / split, ".trans.txt")):
            lines |= _read_transcripts(transcript)
        for file in files:
            if file.stem not in lines:
                raise UserError(f"{file}: found no line for it in a .trans.txt beside it")
            yield file, lines[file.stem].split()


def _read_transcripts(path: Path) -> dict[str, str]:
    """Lines ``name text``, by name."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected lines of an utterance's name and its text")
    return dict(read_table(path, " "))
