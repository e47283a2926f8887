"""`gendistiller manifest`: from a folder of audio to the lists and the runner YAML that training reads."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.speech_runner import (
    FEW_HOURS,
    HELD_OUT,
    TRAIN,
    librispeech_commands,
    own_command,
    runner_text,
)
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, SUFFIXES, decoders_silenced
from s3prl_gendistiller.distill.hold_out import HoldOut, files_wanted, folders_of, split
from s3prl_gendistiller.distill.listing import Recording, counted, librispeech_splits, list_recordings
from s3prl_gendistiller.distill.manifest import DEFAULT_FOLDER, ManifestFile, write_lists
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.outputs import check_writable

LONG_S = 600
"""Seconds from which a file that has to be decoded whole for every crop slows training down."""

_DESCRIPTION = f"""\
List a folder of wav, flac, ogg, opus or mp3 files, at any depth, for training.

The lists go into the folder NAME in the working folder, NAME/train.csv and NAME/held_out.csv, and NAME.yaml trains on
them: run_pretrain.py -u gendistiller -c NAME.yaml. NAME is the name of FOLDER. With less than {FEW_HOURS:.0f} h of
speech, NAME.yaml takes the mini recipe.

A folder that holds LibriSpeech's split folders (train-clean-100, dev-clean, ...) yields one list for each split, in
FOLDER/{DEFAULT_FOLDER}, where s3prl reads them.

The audio stays as it is. Training resamples it to 16 kHz and averages its channels when it reads it."""

_EXAMPLE = """\
example:
  gendistiller manifest ~/data/calls --hold-out 5%
  gendistiller manifest ~/data/calls --hold-out 5% --hold-out-by folder
  gendistiller manifest ~/data/LibriSpeech"""


class Place(NamedTuple):
    """Where the outputs go."""

    name: str
    lists: Path
    runner: Path | None  # None for LibriSpeech, whose recipes are shipped


def add_parser(subparsers: Any) -> None:
    about = "list a folder of audio, and write the YAML that trains on it"
    add = arguments.add_command(subparsers, "manifest", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("audio_dir", metavar="FOLDER", type=arguments.path, help="folder of audio files, at any depth")
    amount = "what to hold out of training, to score the student on: a share of the files (5%%) or their number (40)"
    add("--hold-out", type=_amount, metavar="N", help=amount)
    by = "file: hold out single files (the default); folder: hold out whole folders of FOLDER, such as one speaker's"
    add("--hold-out-by", choices=("file", "folder"), help=by)
    add("--seed", type=arguments.seed, help="another seed holds out other files (0)")
    add("--name", type=arguments.name, help="name of the outputs; LibriSpeech's splits are then listed as one folder")
    add("--out", metavar="DIR", type=arguments.path, help="folder of all outputs, in place of the working folder")
    add("--overwrite", action="store_true", help="replace the outputs of an earlier call")
    add("--workers", type=arguments.count(), metavar="N", help="threads that read headers (4 per core)")
    add("--skip-bad", action="store_true", help="leave out unusable files and name them")
    add("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    root = Path(os.path.abspath(args.audio_dir))
    splits = librispeech_splits(root) if args.name is None else []
    hold_out = _hold_out(args, splits)
    place = _place_of_librispeech(args, root) if splits else _own_place(args, root)
    folders = {name: root / name for name in splits} or {TRAIN: root}
    if root.is_dir():
        check_writable(place.lists, "--out", folder=True)
        _refuse_taken(args, place, folders)
    left_out: Counter[str] = Counter()
    options = {"workers": args.workers, "progress": not args.no_progress, "skip_bad": args.skip_bad}
    with decoders_silenced():
        listed = list_recordings(root, folders, **options, left_out=left_out)
    recordings = [recording for part in listed.values() for recording in part]
    if hold_out is not None:
        listed[TRAIN], listed[HELD_OUT] = split(recordings, hold_out)
    commands, needs = _write(place, root, listed, hold_out)
    for line in _facts(recordings, left_out):
        print(line)
    if hold_out is None and not splits:
        print("nothing is held out; with --hold-out 5%, training also scores the student on other speech")
    print(f"{needs}\nnext:")
    for command in commands:
        print(f"  {command}")
    return 0


def _amount(given: str) -> tuple[str, float | int]:
    """The text of --hold-out, and its share (a float) or number of files (a whole number)."""
    text = given.strip()
    if text.endswith("%"):
        share = arguments.number(above=0.0)(text.removesuffix("%")) / 100
        if share < 1.0:
            return text, share
    elif text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0:
        return text, int(text)
    raise argparse.ArgumentTypeError(
        f"found {given[:40]!r}; expected a share above 0% and below 100%, such as 5%, or a number of files, such as 40"
    )


def _hold_out(args: argparse.Namespace, splits: Sequence[str]) -> HoldOut | None:
    if args.hold_out is None:
        for flag, value in (("--hold-out-by", args.hold_out_by), ("--seed", args.seed)):
            if value is not None:
                raise UserError(f"{flag} {value}: found without --hold-out; add --hold-out 5%, or leave {flag} out")
        return None
    given, amount = args.hold_out
    if splits:
        raise UserError(
            f"--hold-out {given}: found with LibriSpeech's split folders ({few(splits)}), of which the dev folders are "
            "held out; leave --hold-out out, or add --name NAME to list the folder as any other"
        )
    return HoldOut(given, amount, args.hold_out_by or "file", args.seed or 0)


def _place_of_librispeech(args: argparse.Namespace, root: Path) -> Place:
    out = root / DEFAULT_FOLDER if args.out is None else Path(os.path.abspath(args.out))
    return Place(root.name, out, None)


def _own_place(args: argparse.Namespace, root: Path) -> Place:
    try:
        name = args.name or arguments.name(root.name or "speech")
    except argparse.ArgumentTypeError as error:
        raise UserError(f"{root}: its name cannot name the outputs ({error}); give --name") from None
    if args.out is not None:
        return Place(name, args.out, args.out / f"{name}.yaml")
    audio, here = root.resolve(), Path.cwd()
    if here.is_relative_to(audio):
        raise UserError(
            f"{root}: the lists would be written among the recordings, because the command runs in their folder; run "
            "it in another folder, or give --out"
        )
    lists = Path(name)
    if lists.resolve().is_relative_to(audio):  # the recordings are in the working folder
        lists = Path(f"{name}-lists")
    return Place(name, lists, Path(f"{name}.yaml"))


def _refuse_taken(args: argparse.Namespace, place: Place, sets: Iterable[str]) -> None:
    """Refuses to replace files of an earlier call without --overwrite, before hours of audio are read."""
    names = [*sets, *([] if place.runner is None else [HELD_OUT])]
    paths = [place.lists / f"{name}.csv" for name in names] + ([] if place.runner is None else [place.runner])
    taken = [path for path in paths if os.path.lexists(path)]
    if taken and not args.overwrite:
        raise UserError(f"{few(taken)}: already there; add --overwrite to replace the outputs, or choose another --out")


def _write(
    place: Place, root: Path, listed: dict[str, list[Recording]], hold_out: HoldOut | None
) -> tuple[list[str], str]:
    """Writes and prints the outputs; the next commands, and what the commands need."""
    if place.runner is None:
        for manifest in write_lists(place.lists, listed):
            print(_line(manifest))
        return librispeech_commands(root, place.lists, [name for name, found in listed.items() if found])
    hours = _seconds(recording for part in listed.values() for recording in part) / 3600
    command, needs = own_command(place.runner, place.name, hours)
    parts = [f"{_files(len(found))} ({_duration(_seconds(found))}) in {name}" for name, found in listed.items()]
    how = "" if hold_out is None else f", held out by {hold_out.by} with seed {hold_out.seed}"
    about = f"Written by `gendistiller manifest`: {' and '.join(parts)}{how}."
    text = runner_text(root, place.lists, HELD_OUT in listed, hours, about, command)
    for manifest in write_lists(place.lists, listed, {place.runner: text}):
        print(_line(manifest))
    if HELD_OUT not in listed:
        (place.lists / f"{HELD_OUT}.csv").unlink(missing_ok=True)  # of an earlier call: its files are trained on now
    elif hold_out is not None and hold_out.by == "folder":
        held, every = folders_of(listed[HELD_OUT]), folders_of(listed[HELD_OUT] + listed[TRAIN])
        number, total = len(listed[HELD_OUT]), sum(map(len, listed.values()))
        more = "; no folder is smaller" if number > files_wanted(total, hold_out) else ""
        named = few(sorted(name or "." for name in held))
        print(f"held out: {len(held)} of {len(every)} folders ({named}), {number / total:.0%} of the files{more}")
    print(f"{place.runner}: the runner YAML that trains on these lists")
    return [command], needs


def _line(manifest: ManifestFile) -> str:
    return f"{manifest.path}: {_files(manifest.utterances)}, {_duration(manifest.seconds)}"


def _facts(recordings: Sequence[Recording], left_out: Counter[str]) -> Iterator[str]:
    """Lines about all speech: its hours, what training changes when it reads it, and files that are no audio."""
    yield f"{_duration(_seconds(recordings))} of speech in {_files(len(recordings))}"
    rates = Counter(f"at {recording.audio.rate_hz} Hz" for recording in recordings)
    channels = Counter(f"of {recording.audio.channels} channels" for recording in recordings)
    for action, found, usual in (
        ("resampled to 16000 Hz", rates, f"at {SAMPLE_RATE} Hz"),
        ("averaged to one channel", channels, "of 1 channels"),
    ):
        others = [f"{_files(count)} {what}" for what, count in found.most_common() if what != usual]
        if others:
            yield f"{action} when training reads them: {', '.join(others)}"
    long = sum(not recording.audio.seeks and recording.samples > LONG_S * SAMPLE_RATE for recording in recordings)
    if long:
        yield (
            f"{_files(long)} longer than {LONG_S // 60} minutes: training decodes each of them whole for every crop; "
            "convert them to wav or flac at 16 kHz, or cut them"
        )
    if left_out:
        yield f"left out, as no {', '.join(SUFFIXES)}: {counted(left_out)}"


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def _seconds(recordings: Iterable[Recording]) -> float:
    return sum(recording.samples for recording in recordings) / SAMPLE_RATE


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
