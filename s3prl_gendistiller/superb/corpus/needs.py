"""What each SUPERB task reads from disk, according to its configuration in downstream_runs/ and s3prl's loaders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3prl_gendistiller.distill.files import csv_reader
from s3prl_gendistiller.host.paths import expand_tree
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.corpus import published
from s3prl_gendistiller.superb.corpus.published import Amount, Home
from s3prl_gendistiller.superb.tasks import TASKS, Task

EXACT, ALIKE, ANY = "exact", "alike", "any"
"""What s3prl takes audio for: mono at 16 kHz; mono of one rate, resampled; or each file is mixed down and resampled."""
LENGTHS, LEXICON, KALDI, FOLDS = "lengths", "lexicon", "kaldi", "folds"
"""How a list is made (`data_make`)."""
KALDI_TABLES = ("segments", "utt2spk", "spk2utt", "reco2dur", "rttm")
MIXTURES = {"train": "train-100", "dev": "dev", "test": "test"}


@dataclass(frozen=True)
class Part:
    """A folder of audio files.

    Attributes:
        name: in messages.
        folder: they lie at any depth below it.
        amount: as published, or None.
        suffix: of their names.
        beginnings: only names that begin so count; none for all.
        form: what its audio is taken for.
    """

    name: str
    folder: Path
    amount: Amount | None = None
    suffix: str = ".wav"
    beginnings: tuple[str, ...] = ()
    form: str = EXACT


@dataclass(frozen=True)
class Listing:
    """Something beside the audio: mostly a file of labels.

    Attributes:
        path: of it.
        recipe: how it can be made from the corpus; empty if it cannot.
        in_s3prl: where a git checkout of s3prl has it, below its package; empty if it has not.
        advice: where else to get it.
        named: the audio files that it names, relative to one of `folders`.
        folders: see `named`.
        rows: how many of them, as published.
        once: whether it names each of them once.
    """

    path: Path
    recipe: str = ""
    in_s3prl: str = ""
    advice: str = ""
    named: Callable[[Path], Iterator[str]] | None = None
    folders: tuple[Path, ...] = ()
    rows: int | None = None
    once: bool = True


@dataclass(frozen=True)
class Need:
    """Of one task.

    Attributes:
        roots: folders of the corpus.
        config: the task's `downstream_expert`, its paths filled in.
    """

    task: Task
    home: Home
    roots: tuple[Path, ...]
    parts: Sequence[Part]
    listings: Sequence[Listing]
    config: Mapping[str, Any] = field(default_factory=dict)


def need(task: Task) -> Need:
    """
    Raises:
        UserError: SUPERB_DATA is not set.
    """
    file = shipped_folder("downstream_runs") / task.config("official")
    content = expand_tree(read_layered_yaml(file), "", here=file.parent, must_exist=False)
    return _BUILDERS[task.name](task, content["downstream_expert"])


def need_of(downstream: str, expert: Mapping[str, Any]) -> Need | None:
    """What a run reads.

    Args:
        downstream: s3prl's name of the task.
        expert: its `downstream_expert`.

    Returns: None for a task that is not SUPERB's, or a configuration that lacks what SUPERB's has.
    """
    tasks = [task for task in TASKS.values() if task.downstream == downstream]
    try:
        if len(tasks) > 1:  # ctc
            name = {"libriphone": "pr", "snips": "sf"}.get(str(expert["corpus"]["name"]).lower())
            tasks = [task for task in tasks if task.name == name]
        return _BUILDERS[tasks[0].name](tasks[0], expert) if tasks else None
    except (KeyError, TypeError, AttributeError):
        return None


def _phonemes(task: Task, config: Mapping[str, Any]) -> Need:
    corpus = config["corpus"]
    root = Path(corpus["path"])
    listings = [
        Listing(
            Path(lexicon),
            recipe=LEXICON,
            advice="put librispeech-lexicon.txt of OpenSLR 11 beside it, or give --s3prl CHECKOUT, and use --make",
        )
        for lexicon in corpus["lexicon"]
    ]
    return Need(task, published.LIBRISPEECH, (root,), _books(root, _splits(task, corpus)), listings, config)


def _letters(task: Task, config: Mapping[str, Any]) -> Need:
    datarc = config["datarc"]
    root, lengths = Path(datarc["libri_root"]), Path(datarc["bucket_file"])
    splits = _splits(task, datarc)
    listings = [
        Listing(lengths / f"{split}.csv", recipe=LENGTHS, named=_csv_column("file_path"), folders=(root,))
        for split in splits
    ]
    return Need(task, published.LIBRISPEECH, (root,), _books(root, splits), listings, config)


def _keywords(task: Task, config: Mapping[str, Any]) -> Need:
    home, datarc = published.SPEECH_COMMANDS, config["datarc"]
    roots = (Path(datarc["speech_commands_root"]), Path(datarc["speech_commands_test_root"]))
    parts = [Part(n, root, home.parts[n], form=ANY) for n, root in zip(("training", "test"), roots, strict=True)]
    return Need(task, home, roots, parts, [Listing(roots[0] / "_background_noise_")], config)


def _queries(task: Task, config: Mapping[str, Any]) -> Need:
    home, root = published.QUESST, Path(config["datarc"]["dataset_root"])
    scoring = root / "scoring"
    listings = [
        Listing(scoring / f"language_key_{name}.lst", named=_english, folders=(root,))
        for name in ("utterances", "dev", "eval")
    ]
    listings += [
        Listing(scoring / f"groundtruth_quesst14_{name}" / f"quesst14_{name}.rttm") for name in ("dev", "eval")
    ]
    return Need(task, home, (root,), [Part(n, root / n, home.parts[n], form=ANY) for n in home.parts], listings, config)


def _speakers(task: Task, config: Mapping[str, Any]) -> Need:
    root = Path(config["datarc"]["file_path"])
    listing = Listing(
        Path(config["datarc"]["meta_data"]),
        in_s3prl="downstream/voxceleb1/veri_test_class.txt",
        named=_column(1),
        folders=(root / "dev" / "wav", root / "test" / "wav"),
        rows=published.VOXCELEB_LISTED,
    )
    return Need(task, published.VOXCELEB, (root,), _celebrities(root), [listing], config)


def _trials(task: Task, config: Mapping[str, Any]) -> Need:
    datarc = config["datarc"]
    root, checkout = Path(datarc["file_path"]), "downstream/sv_voxceleb1"
    listings = [Listing(Path(datarc["train_meta_data"]), in_s3prl=f"{checkout}/dev_meta_data/dev_speaker_ids.txt")]
    for key, name, part in (
        ("dev_meta_data", "dev_meta_data/dev_meta_data.txt", "dev"),
        ("test_meta_data", "voxceleb1_test_v2.txt", "test"),
    ):
        folders = (root / part / "wav",)
        listings.append(
            Listing(Path(datarc[key]), "", f"{checkout}/{name}", named=_column(1, 2), folders=folders, once=False)
        )
    return Need(task, published.VOXCELEB, (root,), _celebrities(root, ANY), listings, config)


def _conversations(task: Task, config: Mapping[str, Any]) -> Need:
    home, folders = published.LIBRI2MIX, {split: Path(config["loaderrc"][f"{split}_dir"]) for split in MIXTURES}
    advice = "give --librimix CHECKOUT of s3prl's LibriMix, whose metadata says who speaks when, and use --make"
    parts, listings = [], []
    for split, folder in folders.items():
        audio = mixtures(folder, split)
        parts.append(Part(split, audio, home.parts[split]))
        listings += [Listing(folder / name, recipe=KALDI, advice=advice) for name in KALDI_TABLES]
        if audio != folder / "wav":  # where s3prl looks without a wav.scp
            scp = folder / "wav.scp"
            listings.append(Listing(scp, recipe=KALDI, advice=advice, named=_paths, folders=(folder,)))
    return Need(task, home, (folders["train"].parent,), parts, listings, config)


def mixtures(folder: Path, split: str) -> Path:
    """Where the audio of a Kaldi folder is: in it, or where LibriMix put it."""
    own = folder / "wav"
    return own if own.is_dir() else folder.parent / "wav16k" / "max" / MIXTURES[split] / "mix_both"


def _commands(task: Task, config: Mapping[str, Any]) -> Need:
    root = Path(config["datarc"]["file_path"])
    listings = [
        Listing(root / "data" / f"{split}_data.csv", named=_csv_column("path"), folders=(root,), rows=rows)
        for split, rows in published.FLUENT_LISTED.items()
    ]
    return Need(task, published.FLUENT, (root,), [Part("wavs", root / "wavs" / "speakers")], listings, config)


def _slots(task: Task, config: Mapping[str, Any]) -> Need:
    home, corpus = published.SNIPS, config["corpus"]
    root = Path(corpus["path"])
    parts = [
        Part(split, root / split, home.parts.get(split), beginnings=tuple(corpus[f"{split}_speakers"]))
        for split in _splits(task, corpus)
    ]
    listings = [Listing(root / "all.iob.snips.txt"), Listing(Path(config["text"]["slots_file"]))]
    return Need(task, home, (root,), parts, listings, config)


def _emotions(task: Task, config: Mapping[str, Any]) -> Need:
    root, lists = Path(config["datarc"]["root"]), Path(config["datarc"]["meta_data"])
    parts, listings = [], []
    for session, rows in published.IEMOCAP_LISTED.items():
        parts.append(Part(f"Session{session}", root / f"Session{session}" / "sentences" / "wav", form=ALIKE))
        for purpose in ("train", "test"):
            name = f"Session{session}/{purpose}_meta_data.json"
            count = rows if purpose == "test" else sum(published.IEMOCAP_LISTED.values()) - rows
            where = f"downstream/emotion/meta_data/{name}"
            listings.append(Listing(lists / name, FOLDS, where, named=_json_paths, folders=(root,), rows=count))
    return Need(task, published.IEMOCAP, (root,), parts, listings, config)


_BUILDERS: dict[str, Callable[[Task, Mapping[str, Any]], Need]] = {
    **{"pr": _phonemes, "asr": _letters, "ks": _keywords, "qbe": _queries, "sid": _speakers},
    **{"asv": _trials, "sd": _conversations, "ic": _commands, "sf": _slots, "er": _emotions},
}


def _splits(task: Task, section: Mapping[str, Any]) -> list[str]:
    return [split for key in ("train", task.dev, task.test) for split in section[key]]


def _books(root: Path, splits: Sequence[str]) -> list[Part]:
    return [Part(split, root / split, published.LIBRISPEECH.parts.get(split), ".flac") for split in splits]


def _celebrities(root: Path, form: str = EXACT) -> list[Part]:
    return [Part(name, root / name / "wav", amount, form=form) for name, amount in published.VOXCELEB.parts.items()]


def _column(*columns: int) -> Callable[[Path], Iterator[str]]:
    def named(path: Path) -> Iterator[str]:
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            fields = line.split()
            yield from (fields[column] for column in columns if column < len(fields))

    return named


def _paths(path: Path) -> Iterator[str]:
    """Of Kaldi's wav.scp: all that follows the first word."""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        yield from (rest.strip() for rest in line.split(None, 1)[1:])


def _csv_column(name: str) -> Callable[[Path], Iterator[str]]:
    def named(path: Path) -> Iterator[str]:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv_reader(path, file)
            for row in reader:
                if not row.get(name):
                    raise ValueError(f"no {name} in line {reader.line_num}")
                yield row[name]

    return named


def _json_paths(path: Path) -> Iterator[str]:
    yield from (row["path"] for row in json.loads(path.read_text(encoding="utf-8-sig"))["meta_data"])


def _english(path: Path) -> Iterator[str]:
    """s3prl takes the English ones, and the path behind its first folder."""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        fields = line.split()
        if fields[1:] == ["nnenglish"]:
            yield fields[0].split("/", 1)[-1]
