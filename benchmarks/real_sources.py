"""Real speech from packages and from the training rows of two tables, as small Opus files for training.

    mkdir packages && cd packages
    apt-get download klettres-data ktuberling-data tuxpaint-stamps-default pocketsphinx-testdata \
        asterisk-core-sounds-{en,es,fr,it,ru}-g722
    for file in *.deb; do dpkg-deb --extract $file ${file%%_*}; done
    tar xzf pyannote_audio-4.0.7.tar.gz  # from PyPI
    python benchmarks/real_sources.py --packages packages --real PATH/TO/real_speech --out real

Nothing of a test or development split is read. Clips of one speaker or of one language of a package are joined to
pieces of 2 to 16 s, of --group-minutes at most, English four times that. Where the pieces exceed --megabytes, every
speaker or language is cut to the same length. The rows of pieces.csv are in that order: its first rows are a smaller
set of the same kind. OUT receives the pieces, real.csv (a manifest), pieces.csv and sources.md (what
comes from where, and its licence). G.722 files need the package `av`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recordings.pieces import joined, trimmed
from recordings.tables import read_table
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, Measured, measured, read_audio
from s3prl_gendistiller.distill.listing import Recording
from s3prl_gendistiller.distill.manifest import write_lists
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import atomic_folder

_ENGLISH = re.compile(r"en([_-]|$)")
_ENGLISH_SHARE = 4.0
_WORKERS = 2


@dataclass(frozen=True)
class Source:
    """A package with speech.

    Attributes:
        files: pattern of the paths below the folder of packages; its group `group` is the speaker or the language.
    """

    name: str
    licence: str
    package: str
    files: str


SOURCES = (
    Source("klettres", "GPL-2+", "Debian klettres-data", r"(?:.*/)?klettres/(?P<group>[\w@]+)/(?:alpha|syllab)/[^/]+"),
    Source("ktuberling", "GPL-2+", "Debian ktuberling-data", r"(?:.*/)?ktuberling/sounds/(?P<group>[\w@]+)/[^/]+"),
    Source(
        "tuxpaint",
        "GPL-2",
        "Debian tuxpaint-stamps-default",
        r"(?:.*/)?tuxpaint/stamps/.*_desc(?:_(?P<group>\w+))?\.ogg",
    ),
    Source(
        "asterisk",
        "CC-BY-SA-3.0 (ru: CC-BY-3.0)",
        "Debian asterisk-core-sounds-*-g722",
        r"(?:.*/)?asterisk/sounds/(?P<group>\w+)/(?!silence/)(?:\w+/)?(?!beep)[^/]+\.g722",
    ),
    Source(
        "pocketsphinx",
        "BSD-2",
        "Debian pocketsphinx-testdata",
        r"(?:.*/)?pocketsphinx/test/data/(?P<group>librivox|cards)/[^/]+\.wav",
    ),
    Source("ami", "CC-BY-4.0", "PyPI pyannote-audio 4.0.7 (sdist)", r"pyannote.*/tests/data/(?P<group>tr[^/]+)\.wav"),
)
DIGITS = Source("digits", "CC BY-SA 4.0", "Free Spoken Digit Dataset, training rows", "")
ORDERS = Source("orders", "Apache-2.0", "Picovoice speech-to-intent benchmark, training rows", "")
_AUDIO = (".ogg", ".wav", ".g722")


@dataclass
class Group:
    """Files of one speaker, or of one language of a package."""

    source: Source
    name: str
    files: list[Path] = field(default_factory=list)

    @property
    def share(self) -> float:
        return _ENGLISH_SHARE if _ENGLISH.match(self.name) else 1.0


@dataclass(frozen=True)
class Piece:
    """A waveform (S,) at 16 kHz, and the length of its group up to its end, over the group's share."""

    source: Source
    name: str
    wav: np.ndarray
    turn: float


def package_groups(packages: Path) -> list[Group]:
    """Groups of the files that `SOURCES` describe; of files of equal content, the first.

    Raises:
        UserError: the folder or every source is missing.
    """
    if not packages.is_dir():
        raise UserError(f"--packages {packages}: no such folder; expected one with unpacked packages")
    groups: dict[tuple[str, str], Group] = {}
    seen: set[bytes] = set()
    for path in sorted(path for path in packages.rglob("*") if path.suffix in _AUDIO and path.is_file()):
        relative = path.relative_to(packages).as_posix()
        for source in SOURCES:
            match = re.fullmatch(source.files, relative)
            if match is None:
                continue
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest not in seen:
                name = match["group"] or "en"  # Tux Paint marks all languages but English
                groups.setdefault((source.name, name), Group(source, name)).files.append(path)
            seen.add(digest)
            break
    if not groups:
        raise UserError(
            f"--packages {packages}: found no recordings of {', '.join(source.name for source in SOURCES)}; "
            "unpack the packages there"
        )
    return list(groups.values())


def table_groups(real: Path) -> list[Group]:
    """Digits of each speaker, and each order alone, since the speakers of orders are unknown."""
    speakers: defaultdict[str, list[Path]] = defaultdict(list)
    for row in read_table(real, "digits.csv", ("speaker",)):
        if row["split"] == "train":
            speakers[row["speaker"]].append(Path(row["file"]))
    orders = [Path(row["file"]) for row in read_table(real, "orders.csv", ()) if row["split"] == "train"]
    alone = [Group(ORDERS, path.stem, [path]) for path in orders]
    return [*(Group(DIGITS, name, files) for name, files in speakers.items()), *alone]


def pieces_of(group: Group, minutes: float, seed: int, left_out: Counter[str]) -> Iterator[Piece]:
    """Pieces of a group, of its clips in random order.

    Args:
        minutes: of the group at most, times its share.
        left_out: counts the files of each source that cannot be used.
    """
    rng = np.random.default_rng([seed, *f"{group.source.name}/{group.name}".encode()])

    def clips() -> Iterator[np.ndarray]:
        for number in rng.permutation(len(group.files)):
            try:
                yield trimmed(read_clip(group.files[number]))
            except UserError:
                left_out[group.source.name] += 1

    length = 0
    plain = re.sub(r"[^\w-]", "_", group.name)
    for number, wav in enumerate(joined(clips(), rng)):
        length += len(wav)
        yield Piece(group.source, f"{plain}-{number:03}", wav, length / group.share)
        if length >= minutes * 60 * SAMPLE_RATE * group.share:
            break


def read_clip(path: Path) -> np.ndarray:
    """A recording (S,) at 16 kHz, float32.

    Raises:
        UserError: the file cannot be read, or is G.722 and the package `av` is missing.
    """
    if path.suffix != ".g722":
        return np.asarray(read_audio(path))
    import av

    try:
        with av.open(str(path), format="g722") as content:
            frames = [frame.to_ndarray()[0] for frame in content.decode(audio=0)]
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    return np.concatenate(frames).astype(np.float32) / 32768 if frames else np.zeros(0, np.float32)


def write_pieces(pieces: Sequence[Piece], out: Path, kbit: float, megabytes: float) -> list[tuple[Piece, Path]]:
    """Encodes pieces by their turns until `megabytes` are full; returns the written pieces with their files."""
    import soundfile

    level = 1 - (kbit - 6) / 250  # libsndfile: 6 kbit/s at 1, 256 kbit/s at 0

    def encode(piece: Piece) -> Path:
        path = out / piece.source.name / f"{piece.name}.ogg"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, piece.wav, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level)
        return path

    in_turn = sorted(pieces, key=lambda piece: (piece.turn, piece.source.name, piece.name))
    written, room = [], megabytes * 1e6
    with ThreadPoolExecutor(_WORKERS) as pool:
        for piece, path in zip(in_turn, pool.map(encode, in_turn), strict=True):
            size = path.stat().st_size
            if size > room:
                path.unlink()
                room = 0  # for all later pieces as well
            else:
                written.append((piece, path))
                room -= size
    return written


def table(written: Sequence[tuple[Piece, Path]], lengths: Sequence[int]) -> str:
    """Minutes of each source with its licence, in Markdown."""
    lines = [
        "| source | licence | from | speakers or languages | pieces | minutes | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    sums: defaultdict[Source, list[float]] = defaultdict(lambda: [0, 0, 0])
    groups: defaultdict[Source, set[str]] = defaultdict(set)
    for (piece, path), samples in zip(written, lengths, strict=True):
        for place, value in enumerate((1, samples / SAMPLE_RATE / 60, path.stat().st_size / 1e6)):
            sums[piece.source][place] += value
        groups[piece.source].add(piece.name.rpartition("-")[0])
    for source in sorted(sums, key=lambda source: source.name):
        pieces, minutes, size = sums[source]
        count = "not known" if source is ORDERS else str(len(groups[source]))
        lines.append(
            f"| {source.name} | {source.licence} | {source.package} | {count} | {pieces} | {minutes:.1f} | {size:.1f} |"
        )
    pieces, minutes, size = (sum(column) for column in zip(*sums.values(), strict=True))
    return "\n".join([*lines, f"| all | | | | {pieces} | {minutes:.1f} | {size:.1f} |\n"])


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder of the unpacked packages")
    parser.add_argument("--real", type=Path, help="folder with digits.csv and orders.csv")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the pieces")
    parser.add_argument("--kbit", type=float, default=16.0, help="bit rate in kbit/s, 6 to 256")
    parser.add_argument("--group-minutes", type=float, default=3.0, help="of one speaker or language; English: 4 times")
    parser.add_argument("--megabytes", type=float, default=20.0, help="of all pieces at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if not 6 <= args.kbit <= 256:
        raise UserError(f"--kbit {args.kbit:g}: expected 6 to 256")
    groups = [*package_groups(args.packages), *(table_groups(args.real) if args.real else [])]
    if any(path.suffix == ".g722" for group in groups for path in group.files):
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise UserError("the G.722 files need the package av: pip install av") from error
    left_out: Counter[str] = Counter()
    with ThreadPoolExecutor(_WORKERS) as pool:
        found = pool.map(lambda group: list(pieces_of(group, args.group_minutes, args.seed, left_out)), groups)
        pieces = [piece for part in tqdm(found, total=len(groups), unit="group") for piece in part]
    with atomic_folder(args.out, "the pieces") as partial:
        written = write_pieces(pieces, partial, args.kbit, args.megabytes)
        if not written:
            raise UserError(f"--megabytes {args.megabytes:g}: no piece fits; give more")
        lengths = [measured(path).samples for _, path in written]
        names = [path.relative_to(partial).as_posix() for _, path in written]
        write_lists(
            partial,
            {
                "real": [
                    Recording(name, Measured(length, SAMPLE_RATE, 1, False))
                    for name, length in zip(names, lengths, strict=True)
                ]
            },
        )
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        writer.writerow(("file", "num_samples", "source", "licence"))
        for name, length, (piece, _) in zip(names, lengths, written, strict=True):
            writer.writerow((name, length, piece.source.name, piece.source.licence))
        (partial / "pieces.csv").write_text(rows.getvalue(), encoding="utf-8")
        text = table(written, lengths)
        (partial / "sources.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"left out: {len(pieces) - len(written)} pieces for size; files not usable: {dict(left_out) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
