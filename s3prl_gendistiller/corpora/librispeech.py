"""A small corpus in LibriSpeech's layout, for ASR (`asr`), phone recognition (`ctc`, libriphone) and distillation.

    OUT/LibriSpeech/SPEAKERS.TXT
    OUT/LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<nnnn>.flac
    OUT/LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt
    OUT/LibriSpeech/len_for_bucket/<split>.csv
    OUT/LibriSpeech/lexicon.txt, phoneme.txt

No two splits share a speaker (a variant of the synthesiser) or a sentence.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from s3prl_gendistiller.corpora.augment import INDOORS, QUIET, Scene
from s3prl_gendistiller.corpora.clips import Spoken
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan, write_plans
from s3prl_gendistiller.corpora.lexicon import lexicon_text, phones_text
from s3prl_gendistiller.corpora.recording import Recorder
from s3prl_gendistiller.corpora.sentences import PLAIN, RICH, Vocabulary, sentences, words
from s3prl_gendistiller.corpora.voices import AMERICAN, Studio, draw_voices
from s3prl_gendistiller.distill.manifest import DEFAULT_FOLDER, write_manifest

FOLDER = "LibriSpeech"
_FIRST_SPEAKER = 1001
_CHAPTER_UTTERANCES = 10
_ABOUT = """\
Synthetic speech (espeak-ng) in LibriSpeech's layout; no recording of a person.

Speakers are variants of one American voice, sentences come from a small grammar, two to five seconds each; no two
splits share a speaker or a sentence. The real corpus has 251 + 40 + 40 people who read books, in utterances of up
to 35 seconds. `lexicon.txt` gives each word one pronunciation, espeak-ng's own; `phoneme.txt` lists the phones.
"""


@dataclasses.dataclass(frozen=True)
class SplitSize:
    """Size of a split; its speakers have equal shares of the utterances."""

    speakers: int
    utterances: int

    def __post_init__(self) -> None:
        if not 1 <= self.speakers <= self.utterances:
            raise ValueError(f"{self}: expected at least one speaker, and an utterance for each")


def _sizes(train: tuple[int, int], dev: tuple[int, int], test: tuple[int, int]) -> dict[str, SplitSize]:
    """The splits of a corpus, from the numbers of speakers and utterances of each."""
    sizes = {"train-clean-100": train, "dev-clean": dev, "test-clean": test}
    return {split: SplitSize(*size) for split, size in sizes.items()}


TINY = _sizes(train=(12, 240), dev=(4, 24), test=(4, 24))
"""The corpus of `gendistiller demo`: about 13 minutes of speech, written in a few seconds."""

SIZES = {
    "tiny": _sizes(train=(3, 18), dev=(2, 4), test=(2, 4)),
    "small": _sizes(train=(40, 800), dev=(10, 60), test=(10, 100)),
    "medium": _sizes(train=(56, 2800), dev=(12, 120), test=(12, 200)),
    "bench": _sizes(train=(40, 800), dev=(12, 120), test=(30, 600)),
}


def write_librispeech(
    out: str | Path,
    *,
    seed: int = 0,
    splits: Mapping[str, SplitSize] = TINY,
    progress: bool = True,
    workers: int | None = None,
) -> Path:
    """Writes the corpus without room and noise to `out/LibriSpeech`; returns that folder.

    The same arguments give the same bytes. A repeated call keeps existing files and finishes an interrupted one.

    Args:
        splits: folder name -> size.
        workers: processes; None for one per core.

    Raises:
        UserError: espeak-ng is missing, there are more speakers than variants, or the folder holds something else.
    """
    plan = _plan(Espeak(), seed, splits, scene=QUIET, vocabulary=PLAIN)
    with Recorder(workers, progress=progress) as recorder:
        return write_plans(Path(out), [plan], recorder)[0]


def plans(engine: Espeak, size: str, seed: int) -> list[CorpusPlan]:
    """The corpus with a larger vocabulary, in rooms with noise, in one of `SIZES`."""
    return [_plan(engine, seed, SIZES[size], scene=INDOORS, vocabulary=RICH)]


def _plan(
    engine: Espeak, seed: int, splits: Mapping[str, SplitSize], *, scene: Scene, vocabulary: Vocabulary
) -> CorpusPlan:
    studio, texts, ids = Studio(seed, scene), sentences(seed, vocabulary), itertools.count(_FIRST_SPEAKER)
    wanted = sum(size.speakers for size in splits.values())
    voices = iter(draw_voices(engine.variants(), f"speakers/{seed}", wanted, AMERICAN))
    clips: list[Spoken] = []
    transcripts: defaultdict[str, str] = defaultdict(str)
    speakers = "; synthetic speech\n;ID | SUBSET | VOICE\n"
    for split, size in splits.items():
        for place in range(size.speakers):
            speaker, voice = next(ids), next(voices)
            speakers += f"{speaker} | {split} | {voice}\n"
            for i in range(len(range(place, size.utterances, size.speakers))):
                chapter = speaker * 100 + i // _CHAPTER_UTTERANCES
                folder = f"{split}/{speaker}/{chapter}"
                name, text = f"{speaker}-{chapter}-{i % _CHAPTER_UTTERANCES:04d}", next(texts)
                clips.append(studio.line(f"{folder}/{name}.flac", voice, text, key=name))
                transcripts[f"{folder}/{speaker}-{chapter}.trans.txt"] += f"{name} {text}\n"
    recipe = {
        "corpus": FOLDER,
        "seed": seed,
        "accents": list(AMERICAN),
        "splits": {name: dataclasses.asdict(size) for name, size in splits.items()},
        "noise": scene != QUIET,
        "words": len(words(vocabulary)),
    }
    listed = {**transcripts, "SPEAKERS.TXT": speakers, "phoneme.txt": phones_text()}
    listed["lexicon.txt"] = lexicon_text(engine, words(vocabulary))
    return CorpusPlan(FOLDER, recipe, clips, lambda root: {**listed, **_lengths(root, list(splits))}, _ABOUT)


def _lengths(root: Path, splits: list[str]) -> dict[str, str]:
    """s3prl's tables of lengths: path -> content."""
    written = write_manifest(root, root / DEFAULT_FOLDER, splits=splits, progress=False)
    return {f"{DEFAULT_FOLDER}/{file.path.name}": file.path.read_text(encoding="utf-8") for file in written}
