"""Writes what s3prl needs beside the audio and what follows from a corpus; nothing that is there is written again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s3prl_gendistiller.distill.files import files_below, read_text
from s3prl_gendistiller.distill.manifest import write_manifest
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import replacing
from s3prl_gendistiller.superb.corpus.kaldi import kaldi_tables
from s3prl_gendistiller.superb.corpus.needs import FOLDS, KALDI, LENGTHS, LEXICON, Listing, Need

Pronounce = Callable[[Iterable[str]], Mapping[str, str]]
"""Words to their phones in ARPAbet with stress, separated by spaces."""

OFFICIAL_LEXICONS = tuple(
    f"downstream/ctc/lexicon/librispeech-lexicon-{part}-g2p.txt" for part in ("200k", "allothers")
)
"""In s3prl's git checkout: what SUPERB's PR reads, in this order."""
OPEN_SLR_LEXICON = "librispeech-lexicon.txt"
EMOTIONS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
_SAME_EMOTION = {"exc": "hap"}
_TURN = re.compile(r"^\[[^\]]*\]\t(\S+)\t(\S+)\t", re.MULTILINE)


@dataclass(frozen=True)
class Sources:
    """Where more than the corpora is to be found.

    Attributes:
        s3prl: the package folder of a git checkout.
        librimix: a git checkout of s3prl's LibriMix.
        pronounce: for words that no lexicon has; None leaves them missing.
    """

    s3prl: Path | None = None
    librimix: Path | None = None
    pronounce: Pronounce | None = None


def find_sources(s3prl: Path | None, librimix: Path | None, pronounce: Pronounce | None = None) -> Sources:
    """
    Raises:
        UserError: a folder is not the checkout that it is said to be.
    """
    package = None
    if s3prl is not None:
        package = next(
            (folder for folder in (s3prl / "s3prl", s3prl) if (folder / "downstream" / "ctc").is_dir()), None
        )
        if package is None:
            raise UserError(f"--s3prl {s3prl}: found no downstream/ctc, expected a git checkout of s3prl")
    if librimix is not None and not (librimix / "metadata" / "LibriSpeech").is_dir():
        raise UserError(f"--librimix {librimix}: found no metadata/LibriSpeech, expected a git checkout of LibriMix")
    return Sources(package, librimix, pronounce)


def make(need: Need, sources: Sources, *, progress: bool = True) -> Iterator[str]:
    """Writes the listings of a task that are missing and can be made; one line for each that was written or was not."""
    if not any(root.is_dir() for root in need.roots):
        return
    missing = [listing for listing in need.listings if not listing.path.exists()]
    for listing in missing:
        if sources.s3prl is not None and listing.in_s3prl and (sources.s3prl / listing.in_s3prl).is_file():
            text = (sources.s3prl / listing.in_s3prl).read_text(encoding="utf-8")
            yield _written(listing.path, text, f"from {sources.s3prl / listing.in_s3prl}")
    together: dict[tuple[str, Path], list[Listing]] = {}
    for listing in missing:
        if listing.recipe and not listing.path.exists():
            # a split or session that cannot be done keeps the others from nothing
            key = listing.path if listing.recipe == LENGTHS else listing.path.parent
            together.setdefault((listing.recipe, key), []).append(listing)
    for (recipe, _), wanted in together.items():
        try:
            yield from _MAKERS[recipe](need, wanted, sources, progress)
        except UserError as error:
            yield f"not written: {error}"


def _lengths(need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
    (root,) = need.roots
    for listing in wanted:
        split, folder = listing.path.stem, listing.path.parent
        for file in write_manifest(root, folder, splits=[split], progress=progress):
            yield f"{file.path}: {file.utterances:,} files, {file.seconds / 3600:.2f} h"


def _lexicon(need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
    (root,) = need.roots
    files = [] if sources.s3prl is None else [sources.s3prl / name for name in OFFICIAL_LEXICONS]
    if not files or not all(file.is_file() for file in files):
        files = [root / OPEN_SLR_LEXICON]
    if not files[0].is_file():
        raise UserError(
            f"{wanted[0].path}: found no {files[0]}; put {OPEN_SLR_LEXICON} of OpenSLR 11 there, or give --s3prl "
            "CHECKOUT"
        )
    phones: dict[str, str] = {}
    for file in files:
        for line in read_text(file).splitlines():
            word, *sounds = line.split() or [""]
            if word:
                phones.setdefault(word, " ".join(sounds))
    known = set(Path(need.config["text"]["vocab_file"]).read_text(encoding="utf-8").split())
    strange = {sound for sounds in phones.values() for sound in sounds.split()} - known
    if strange:
        raise UserError(f"{files[0]}: found the phones {', '.join(sorted(strange)[:5])}, expected ARPAbet with stress")
    unknown = sorted({word for word in _words(part.folder for part in need.parts) if word not in phones})
    said = "from " + ", ".join(map(str, files))
    if unknown:
        if sources.pronounce is None:
            listed = ", ".join(unknown[:5])
            raise UserError(
                f"{wanted[0].path}: {files[0]} lacks {len(unknown):,} words of the corpus ({listed}); give --s3prl "
                "CHECKOUT, whose lexicon has them"
            )
        phones |= sources.pronounce(unknown)
        said += f"; {len(unknown):,} words that are not in it as espeak-ng says them, unlike SUPERB"
    text = "".join(f"{word}\t{sounds}\n" for word, sounds in phones.items())
    for listing in wanted:
        yield _written(listing.path, text, f"{len(phones):,} words {said}")


def _words(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for transcript in files_below(folder, ".trans.txt"):
            for line in read_text(transcript).splitlines():
                yield from line.split()[1:]


def _kaldi(need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
    folder = wanted[0].path.parent
    (part,) = (part for part in need.parts if part.name == folder.name)
    tables = kaldi_tables(part.folder, part.name, need.roots[0], sources.librimix, progress=progress)
    for listing in wanted:
        text = tables[listing.path.name]
        yield _written(listing.path, text, f"{len(text.splitlines()):,} lines")


def _folds(need: Need, wanted: Sequence[Listing], sources: Sources, progress: bool) -> Iterator[str]:
    """As s3prl's IEMOCAP_preprocess.py, but in a fixed order: its own follows the file system's."""
    (root,) = need.roots
    turns = {part.name: list(_turns(root / part.name)) for part in need.parts}
    empty = [name for name, found in turns.items() if not found]
    if empty:
        raise UserError(
            f"{root}: found no labelled turns in {', '.join(empty)}, expected <session>/dialog/EmoEvaluation"
        )
    for listing in wanted:
        session, purpose = listing.path.parent.name, listing.path.name.partition("_")[0]
        chosen = [turn for name, found in turns.items() if (name == session) == (purpose == "test") for turn in found]
        text = json.dumps({"labels": EMOTIONS, "meta_data": chosen}, indent=1) + "\n"
        yield _written(listing.path, text, f"{len(chosen):,} utterances, in another order than s3prl's own list")


def _turns(session: Path) -> Iterator[dict[str, str]]:
    """The turns of SUPERB's four classes that have audio."""
    audio = {path.stem: path for path in files_below(session / "sentences" / "wav", ".wav")}
    for file in sorted((session / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
        for name, emotion in _TURN.findall(file.read_text(encoding="utf-8", errors="replace")):
            label = _SAME_EMOTION.get(emotion, emotion)
            if label in EMOTIONS and name in audio:
                path = audio[name].relative_to(session.parent).as_posix()
                yield {"path": path, "label": label, "speaker": name.partition("_")[0]}


_MAKERS = {LENGTHS: _lengths, LEXICON: _lexicon, KALDI: _kaldi, FOLDS: _folds}


def _written(path: Path, text: str, what: str) -> str:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return f"{path}: {what}"
