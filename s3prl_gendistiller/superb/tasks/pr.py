"""Phoneme recognition on LibriSpeech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from s3prl_gendistiller.distill.files import files_below, read_text
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.formats.lexicon import read_lexicons, refuse_unfit_lexicon
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.tasks import librispeech
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.items import Items, errors_and_length, paired_lines
from s3prl_gendistiller.superb.tasks.needs import Config, Files, Listing, Need, Sources, fault
from s3prl_gendistiller.superb.tasks.predictions import Expected, hypotheses, present
from s3prl_gendistiller.superb.tasks.statistics import Ratio

_GUESSED = "downstream/ctc/lexicon/librispeech-lexicon-{}-g2p.txt"
OFFICIAL_LEXICONS = (_GUESSED.format("200k"), _GUESSED.format("allothers"))
"""In s3prl's git checkout: the lexicons of SUPERB, in this order."""
OPEN_SLR_LEXICON = "librispeech-lexicon.txt"


class PhonemeRecognition(Task):
    def is_configured_by(self, config: Config) -> bool:
        return str(config["corpus"]["name"]).lower() == "libriphone"

    def need(self, config: Config) -> Need:
        corpus = config["corpus"]
        root = Path(corpus["path"])
        advice = f"put {OPEN_SLR_LEXICON} of OpenSLR 11 beside it, or give --s3prl CHECKOUT, and use --make"
        lexicons = [Listing(Path(lexicon), made=True, advice=advice) for lexicon in corpus["lexicon"]]
        return Need(self, (root,), librispeech.audio_folders(root, self.splits(corpus)), lexicons, config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        lexicons = [listing.path for listing in need.listings]
        there = [path for path in lexicons if path.exists()]
        vocabulary = Path(need.config.get("text", {}).get("vocab_file", ""))
        known = read_lexicons(there)
        if there and vocabulary.is_file():
            try:
                refuse_unfit_lexicon(known, {*read_text(vocabulary).split("\n")}, there)
            except UserError as error:
                yield str(error)
        for audio in need.audio:
            texts = yield from librispeech.transcript_faults(audio, files(audio))
            unknown = sorted({word for text in texts.values() for word in text.split()} - known.keys())
            yield from fault(audio.name, unknown if known else (), f"words are not in {few(lexicons)}", "; add them")

    def make(self, need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
        (root,) = need.roots
        files = [] if sources.s3prl is None else [sources.s3prl / name for name in OFFICIAL_LEXICONS]
        if not files or not all(file.is_file() for file in files):
            files = [root / OPEN_SLR_LEXICON]
        if not files[0].is_file():
            remedy = f"put {OPEN_SLR_LEXICON} of OpenSLR 11 there, or give --s3prl CHECKOUT"
            raise UserError(f"{wanted[0].path}: found no {files[0]}; {remedy}")
        phonemes = read_lexicons(files)
        refuse_unfit_lexicon(phonemes, read_text(Path(need.config["text"]["vocab_file"])).split(), files)
        spoken = (text for audio in need.audio for _, _, text in librispeech.read_transcripts(audio.folder))
        unknown = sorted({word for text in spoken for word in text.split()} - phonemes.keys())
        origin = "from " + ", ".join(map(str, files))
        if unknown:
            if sources.pronounce is None:
                lacks = f"lacks {len(unknown):,} words of the corpus ({', '.join(unknown[:5])})"
                raise UserError(f"{wanted[0].path}: {files[0]} {lacks}; give --s3prl CHECKOUT, whose lexicon has them")
            phonemes |= {word: said.split() for word, said in sources.pronounce(unknown).items()}
            guessed = f"{len(unknown):,} words that the lexicon lacks have espeak-ng's pronunciation"
            origin += f"; {guessed}, which SUPERB does not use"
        text = "".join(f"{word}\t{' '.join(sounds)}\n" for word, sounds in phonemes.items())
        for listing in wanted:
            write_text(listing.path, text)
            yield f"{listing.path}: {len(phonemes):,} words {origin}"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        """The .flac files of the test folders, most phonemes first; without a lexicon in any order."""
        corpus = config["corpus"]
        root, lexicons = Path(corpus["path"]), [Path(file) for file in corpus["lexicon"]]
        # s3prl's own configuration names its lexicon relative to its folder
        phonemes = read_lexicons(lexicons) if all(file.is_file() for file in lexicons) else {}
        ids, ranks = [], []
        for split in corpus["test"]:
            texts = {utterance: text for _, utterance, text in librispeech.read_transcripts(root / split)}
            for file in files_below(present(root / split), ".flac"):
                ids.append(file.stem)
                ranks.append(-sum(len(phonemes[word]) for word in texts[file.stem].split()) if phonemes else 0)
        return Expected(root, ids, ranks)

    def items(self, folder: Path, config: Config) -> Items:
        """``errors`` and ``length`` in phonemes, which s3prl divides at single spaces."""
        lines = paired_lines(folder / "test-hyp.ark", folder / "test-ref.ark")
        return errors_and_length([(name, found.split(" "), true.split(" ")) for name, found, true in lines])


TASK = PhonemeRecognition(
    name="pr",
    title="phoneme recognition",
    downstream="ctc",
    configs=("libriphone_small.yaml", "libriphone.yaml"),
    mini="libriphone_mini.yaml",
    metrics=(Metric("per", "PER %", False, "per", references=(100 - 17.99, 100 - 96.47)),),
    corpus=librispeech.CORPUS,
    speech=librispeech.SPEECH,
    submissions=(hypotheses("pr", "test"),),
    statistics={"per": Ratio("errors", "length")},
    shared="LibriSpeech",
    cost=3,
)
