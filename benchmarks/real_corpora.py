"""Corpora of real recordings in the layouts of KS, SID, ASV, QbE and IC, for `gendistiller superb`.

    python benchmarks/real_corpora.py --real PATH/TO/real_speech --out real_data
    SUPERB_DATA=real_data gendistiller superb --tasks ks sid asv qbe ic ...

PATH holds digits.csv and orders.csv (file, split, num_samples; speaker and word, or drink, size and roast) with the
recordings in folders beside them. SID and ASV share a folder. ASV and the documents of QbE are recordings of one
speaker in a row; the README.md of each folder says which speakers and words are where. SF needs transcripts, which the
orders lack. A repeated command continues an interrupted one. `gendistiller corpus OUT --check` compares the written
files with their checksums.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recordings.corpora import REAL_TASKS, write_real
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.outputs import check_writable


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder of the recordings, which is only read")
    parser.add_argument("--out", type=Path, default=Path("real_data"), help="the folder that SUPERB_DATA is to name")
    parser.add_argument("--tasks", nargs="+", default=list(REAL_TASKS), help="only the corpora of these tasks")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic background noise")
    args = parser.parse_args(argv)
    check_writable(args.out, "--out", folder=True)
    for root in write_real(args.out, args.real, tasks=args.tasks, seed=args.seed):
        print(root)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(run, None))
