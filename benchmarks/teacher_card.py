"""The measured tables in the card of the embedded teacher, made from the files that the measurements wrote.

    python benchmarks/teacher_quality.py --corpus data/small --out result/quality
    gendistiller superb --out result/suite --student fbank --student hubert_guided=teachers/hubert_guided ...
    python benchmarks/teacher_card.py --quality result/quality/quality.json --tasks result/suite/table.csv

The files are copied to `measured/` in the teacher's folder, and the tables between the two markers of its README.md are
written anew. Without files, the tables are written from those that are there; with --check they are compared alone.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.superb.suite.table import markdown

CARD, MEASURED = "README.md", "measured"
BEGIN, END = "<!-- measured: python benchmarks/teacher_card.py -->", "<!-- end -->"
QUALITY, TASKS, LAST = "quality.json", "tasks.csv", "tasks_last.csv"
REFERENCES = ("fbank", "random")
TITLES = {
    TASKS: "The weighted sum of the layers:",
    LAST: "The last layer alone:",
}


def quality_table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """One row for each measure of `teacher_quality.py`, one column for each layer."""
    trained, random, mfcc = (found[name] for name in ("trained", "random", "mfcc"))
    layers = len(next(iter(trained.values())))
    rows = [["", *(f"layer {number}" for number in range(layers)), "random weights, best layer", "MFCC"]]
    for measure, values in trained.items():
        baseline = f"{mfcc[measure][0]:.1f}" if measure in mfcc else ""
        rows.append([measure, *(f"{value:.1f}" for value in values), f"{max(random[measure]):.1f}", baseline])
    return markdown(rows)


def tasks_table(text: str, name: str) -> str:
    """The scores in a suite's table.csv of the teacher, FBANK and random weights; other models are left out.

    Raises:
        UserError: the teacher has no row.
    """
    table = [row for row in csv.DictReader(io.StringIO(text)) if row["student"] in (*REFERENCES, name)]
    if name not in [row["student"] for row in table]:
        raise UserError(f"{TASKS}: holds no row {name}; expected the table of a suite with --student {name}=FOLDER")
    metrics = [name for name in table[0] if name.endswith(("↓", "↑"))]
    rows = [[row["student"], *(f"{float(row[name]):.1f}" if row[name] else "" for name in metrics)] for row in table]
    return markdown([["", *metrics], *rows])


def tables(measured: Path) -> str:
    """All tables of the files in a folder.

    Raises:
        UserError: there is no quality.json or tasks.csv.
    """
    for name in (QUALITY, TASKS):
        if not (measured / name).is_file():
            raise UserError(f"{measured / name}: not found; expected the file of a measurement, see --help")
    parts = [quality_table(json.loads((measured / QUALITY).read_text(encoding="utf-8")))]
    for name, title in TITLES.items():
        if (measured / name).is_file():
            parts += [f"{title}\n", tasks_table((measured / name).read_text(encoding="utf-8"), measured.parent.name)]
    return "\n".join(parts)


def with_tables(card: str, text: str) -> str:
    """The card with other tables between its markers.

    Raises:
        UserError: the card has no markers.
    """
    if card.count(BEGIN) != 1 or END not in card.partition(BEGIN)[2]:
        raise UserError(f"{CARD}: holds no line {BEGIN} with a line {END} after it; expected both once")
    before, _, rest = card.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}"


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, default=shipped_folder("teachers") / "hubert_guided")
    parser.add_argument("--quality", type=Path, help="quality.json of teacher_quality.py")
    parser.add_argument("--tasks", type=Path, help="table.csv of a suite on the weighted sum")
    parser.add_argument("--last", type=Path, help="table.csv of a suite with --features last")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the card is stale")
    args = parser.parse_args(argv)
    measured = args.teacher / MEASURED
    if not args.check:
        measured.mkdir(exist_ok=True)
        for name, source in ((QUALITY, args.quality), (TASKS, args.tasks), (LAST, args.last)):
            if source is not None:
                shutil.copyfile(source, measured / name)
    path = args.teacher / CARD
    card = path.read_text(encoding="utf-8")
    wanted = with_tables(card, tables(measured))
    if args.check:
        print(f"{path}: {'as measured' if wanted == card else 'its tables are not those of the measured files'}")
        return int(wanted != card)
    write_text(path, wanted)
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
