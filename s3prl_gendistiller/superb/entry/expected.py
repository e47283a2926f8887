"""What each task is tested on, in which order, read from the corpus that an experiment's configuration names.

s3prl's experts write one line per utterance in the order of their loaders. Where a loader takes files in the file
system's order (the phoneme and slot transcripts of one length, keyword spotting), only what it decides itself is
expected: the same ids, longest first or class by class.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.audio import SUFFIXES
from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.host.paths import RESOLVED_CONFIG

Config = Mapping[str, Any]


class NotAtHand(Exception):
    """The corpus, or the part of it that names its utterances, is not there; the message says what was looked for."""


@dataclass(frozen=True)
class Expected:
    """What a task's predictions must be about.

    Attributes:
        source: file or folder that says so.
        ids: of the utterances (of pairs, separated by _ or a space); in order if there are no ranks.
        ranks: of each id: lower ones come first, equal ones in any order. None: exactly the order of `ids`.
        in_blocks: equal ranks stand together, the blocks themselves in any order.
        samples: of recordings, where predictions come frame by frame.
    """

    source: Path
    ids: Sequence[str]
    ranks: Sequence[int] | None = None
    in_blocks: bool = False
    samples: Mapping[str, int] = field(default_factory=dict)


def expected(flag: str, config: Config) -> Expected:
    """
    Args:
        flag: of s3prl's submit.py: pr, sid, ks, ic, er_fold1, asr_no_lm, asr_with_lm, qbe, sf, sv, sd.
        config: of the experiment, as `config_resolved.yaml` in its folder.

    Raises:
        NotAtHand: the corpus is somewhere else, or nothing is known about this task's.
    """
    if flag.startswith("er_fold"):
        return _read(_emotion, config, flag.removeprefix("er_fold"))
    if flag not in _READERS:
        raise NotAtHand("nothing here reads this task's corpus")
    return _read(_READERS[flag], config)


def _read(reader: Callable[..., Expected], config: Config, *arguments: str) -> Expected:
    try:
        found = reader(config["downstream_expert"], *arguments)
    except OSError as error:
        raise NotAtHand(f"no {error.filename}") from error
    except KeyError as error:
        raise NotAtHand(f"{error} is neither in the experiment's configuration nor in its corpus") from error
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise NotAtHand(f"its corpus is not as s3prl reads it: {error}") from error
    if not found.ids:
        raise NotAtHand(f"{found.source} names no utterance of the test set")
    return found


def _phonemes(expert: Config) -> Expected:
    """The test folders' .flac files, most phonemes first; the first pronunciation of a word counts."""
    corpus = expert["corpus"]
    root = Path(corpus["path"])
    sounds = _pronunciations([Path(file) for file in corpus["lexicon"]])
    ids, ranks = [], []
    for split in corpus["test"]:
        spoken = {}
        for transcript in _found(root / split, ".trans.txt"):
            spoken.update({name: text for name, _, text in (line.partition(" ") for line in _lines(transcript))})
        for file in _found(root / split, ".flac"):
            ids.append(file.stem)
            ranks.append(-sum(sounds[word] for word in spoken[file.stem].split()) if sounds else 0)
    return Expected(root, ids, ranks)


def _pronunciations(files: Sequence[Path]) -> dict[str, int]:
    """Word -> phonemes; nothing if a lexicon is not there, as s3prl names its own relative to its folder."""
    found: dict[str, int] = {}
    if all(file.is_file() for file in files):
        for line in (line for file in files for line in _lines(file)):
            word, *phonemes = line.split()
            found.setdefault(word, len(phonemes))
    return found


def _sentences(expert: Config) -> Expected:
    """The rows of the test sets' length tables, longest first."""
    datarc = expert["datarc"]
    tables = [Path(datarc["bucket_file"]) / f"{name}.csv" for name in datarc["test-clean"]]
    rows = [row for table in tables for row in _table(table)]
    return Expected(tables[0], [Path(row["file_path"]).stem for row in rows], [-int(row["length"]) for row in rows])


def _slots(expert: Config) -> Expected:
    """The test folders' files that have a transcript and a test speaker, most tokens first."""
    corpus = expert["corpus"]
    root, speakers = Path(corpus["path"]), tuple(corpus["test_speakers"])
    spoken = {name: text for name, _, text in (line.partition(" ") for line in _lines(root / "all.iob.snips.txt"))}
    files = [file.stem for split in corpus["test"] for file in _found(root / split, ".wav")]
    ids = [name for name in files if name in spoken and name.startswith(speakers)]
    return Expected(root, ids, [-_slot_tokens(spoken[name]) for name in ids])


def _slot_tokens(text: str) -> int:
    """How many tokens s3prl's letters-and-slots encoder makes of ``BOS WORDS EOS<tab>O SLOTS INTENT``."""
    words, slots = (part.split(" ")[1:-1] for part in text.strip("\r\n ").split("\t"))
    count = 0
    for index, (word, slot) in enumerate(zip(words, slots, strict=False)):
        if word in "?!.,;-":
            continue
        count += len("AND" if word == "&" else word) + 1  # and the space behind it, or the end
        if slot != "O":
            count += (index == 0 or slots[index - 1] != slot) + (index == len(words) - 1 or slots[index + 1] != slot)
    return count


def _keywords(expert: Config) -> Expected:
    """All files of the test folder, one class after another."""
    root = Path(expert["datarc"]["speech_commands_test_root"])
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [
        (rank, file) for rank, folder in enumerate(folders) for file in _found(folder, ".wav") if file.parent == folder
    ]
    ids = [f"{file.parent.name}-{file.name}" for _, file in files]
    return Expected(root, ids, [rank for rank, _ in files], in_blocks=True)


def _intents(expert: Config) -> Expected:
    table = Path(expert["datarc"]["file_path"]) / "data" / "test_data.csv"
    return Expected(table, [Path(row["path"]).stem for row in _table(table)])


def _emotion(expert: Config, fold: str) -> Expected:
    path = Path(expert["datarc"]["meta_data"]) / f"Session{fold}" / "test_meta_data.json"
    entries = json.loads(path.read_text(encoding="utf-8-sig"))["meta_data"]
    return Expected(path, [Path(entry["path"]).stem for entry in entries])


def _speakers(expert: Config) -> Expected:
    path = Path(expert["datarc"]["meta_data"])
    rows = [line.split() for line in _lines(path)]
    names = [name for split, name in rows if int(split) == 3]
    return Expected(path, [Path("-".join(Path(name).parts[-3:])).stem for name in names])


def _trials(expert: Config) -> Expected:
    path = Path(expert["datarc"]["test_meta_data"])
    rows = [line.split() for line in _lines(path)]
    return Expected(path, [f"{_before_dot(first)}_{_before_dot(second)}" for _, first, second in rows])


def _before_dot(name: str) -> str:
    return "-".join(name.split("/")[-3:]).split(".")[0]  # s3prl cuts at the first dot, wherever it is


def _queries(expert: Config) -> Expected:
    """Every English query of the evaluation set with every English document; in any order."""
    scoring = Path(expert["datarc"]["dataset_root"]) / "scoring"
    queries, documents = (
        [Path(path).stem for path, language in map(str.split, _lines(scoring / name)) if language == "nnenglish"]
        for name in ("language_key_eval.lst", "language_key_utterances.lst")
    )
    ids = [f"{query} {document}" for query in queries for document in documents]
    return Expected(scoring, ids, [0] * len(ids))


def _recordings(expert: Config) -> Expected:
    """The test folder's recordings, a file each; their durations give the least number of frames."""
    root = Path(expert["loaderrc"]["test_dir"])
    seconds = {name: float(value) for name, value in (line.split() for line in _lines(root / "reco2dur"))}
    listed = root / "wav.scp"
    names = [line.split()[0] for line in _lines(listed)] if listed.is_file() else _stems(root / "wav")
    rate = int(expert["datarc"]["rate"]) // int(expert["datarc"].get("subsampling", 1))
    samples = {name: int(seconds[name] * rate) for name in names}
    return Expected(root, names, [0] * len(names), samples=samples)


def _stems(folder: Path) -> list[str]:
    return sorted(file.stem for file in _found(folder, SUFFIXES))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _found(folder: Path, suffix: str | tuple[str, ...]) -> Iterable[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    return files_below(folder, suffix)


_READERS: dict[str, Callable[[Config], Expected]] = {
    "pr": _phonemes,
    "sid": _speakers,
    "ks": _keywords,
    "ic": _intents,
    "asr_no_lm": _sentences,
    "asr_with_lm": _sentences,
    "qbe": _queries,
    "sf": _slots,
    "sv": _trials,
    "sd": _recordings,
}


def config_files(folder: Path) -> list[Path]:
    """The configurations in an experiment folder: our launcher's, then s3prl's own, the newest first."""
    ours = folder / RESOLVED_CONFIG
    hosts = [path for path in folder.glob("config_*.yaml") if re.fullmatch(r"config_[\d-]+\.yaml", path.name)]
    hosts.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [*([ours] if ours.is_file() else []), *hosts]
