"""`gendistiller macs`: multiply-adds as the SUPERB leaderboard counts them, of any model at any number of steps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.distill.manifest import replacing
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import check_writable

if TYPE_CHECKING:
    from s3prl_gendistiller.superb.protocol import ProtocolCount
    from s3prl_gendistiller.superb.subjects import Source, Subject

_DESCRIPTION = """\
Multiply-adds by the SUPERB leaderboard's protocol: 32 utterances of LibriSpeech test-clean (224.86 s, 1.28 to 20.38 s),
one at a time, summed; counted on the operations that run, for any upstream of s3prl. No corpus is needed."""

_EXAMPLE = """\
examples:
  gendistiller macs --student mine=result/pretrain/my_student --student fbank
  gendistiller macs --config pretrain_configs/gendistiller/config_model.yaml --steps all --out macs.png
  gendistiller macs --config small=my_model.yaml --student teacher=path/to/hubert --steps all --out macs.png

A student is what `gendistiller superb` takes: NAME=CHECKPOINT (or CHECKPOINT@2, two layers of it), NAME=FOLDER of a run
or of a transformers model, or the name of an s3prl upstream. A model YAML is counted before anything is trained.
Matrix products and convolutions count. The leaderboard's profiler also counts softmax, mask, dropout and biases of
attention: 0.2 % more for HuBERT Base. Published rows are the leaderboard's own numbers."""


def add_parser(subparsers: Any) -> None:
    """Add the command to `gendistiller`."""
    parser = subparsers.add_parser(
        "macs",
        help="multiply-adds as the SUPERB leaderboard counts them",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--student", metavar="NAME=PATH", action="append", default=[], help="one or several")
    parser.add_argument(
        "--config", metavar="NAME=YAML", action="append", default=[], help="an untrained student of a model YAML"
    )
    parser.add_argument(
        "--steps",
        metavar="K",
        nargs="+",
        type=_step,
        default=[],
        help="generate so many layers; all: each number from 1; default: what the student generates",
    )
    parser.add_argument("--out", type=arguments.path, metavar="PNG", help="draw multiply-adds against steps")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def _step(text: str) -> int | str:
    if text == "all":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1, or all")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    from s3prl_gendistiller.host.runner_checks import check_upstream
    from s3prl_gendistiller.host.upstreams import STUDENT
    from s3prl_gendistiller.superb.students import find_students
    from s3prl_gendistiller.superb.subjects import sources

    if not args.student and not args.config:
        raise UserError("found neither --student nor --config, expected at least one model")
    if args.out is not None:
        check_writable(args.out, "--out", folder=False)
    students = find_students(args.student)
    found = sources(students, args.config, args.steps)
    if args.steps and not any(source.steps for source in found):
        raise UserError("--steps: found without a student that generates its layers one by one; leave it out")
    for student in students:
        if student.checkpoint is None:
            check_upstream(student.upstream, None, door=STUDENT)
    counts = count(found, progress=not args.no_progress)
    print(table(counts))
    for subject, counted in counts:
        if counted.uncounted:
            print(f"{subject.name}: not counted: {', '.join(sorted(counted.uncounted))}")
    if args.out is not None:
        draw(counts, args.out)
        print(f"{args.out}: multiply-adds against steps")
    return 0


def count(found: Sequence[Source], *, progress: bool) -> list[tuple[Subject, ProtocolCount]]:
    """Each row of each model."""
    from s3prl_gendistiller.superb.protocol import LENGTHS, count_protocol
    from s3prl_gendistiller.superb.subjects import subjects

    counts = []
    with tqdm(unit="utterance", disable=not progress) as bar:
        for source in found:
            for subject in subjects(source):
                bar.reset(len(LENGTHS))
                bar.set_description(subject.name if subject.steps is None else f"{subject.name}, {subject.steps} steps")
                counts.append((subject, count_protocol(subject.expert, bar.update)))
    return counts


def table(counts: Sequence[tuple[Subject, ProtocolCount]]) -> str:
    """One row a model and number of steps, then published models; billions of multiply-adds."""
    from s3prl_gendistiller.superb.anchors import ANCHORS
    from s3prl_gendistiller.superb.protocol import SECONDS, bucket_ranges
    from s3prl_gendistiller.superb.table import markdown

    header = ["model", "steps", "parameters", f"G multiply-adds, {SECONDS:.2f} s", "G per second", *bucket_ranges()]
    rows = [header]
    for subject, counted in counts:
        steps = "" if subject.steps is None else str(subject.steps)
        totals = [f"{counted.total / 1e9:.2f}", f"{counted.per_second / 1e9:.3f}"]
        buckets = [f"{bucket / 1e9:.2f}" for bucket in counted.buckets]
        rows.append([subject.name, steps, f"{subject.parameters:,}", *totals, *buckets])
    for anchor in ANCHORS:
        if anchor.gmacs is not None:
            published = [f"{anchor.gmacs:g}", f"{anchor.gmacs / SECONDS:.3f}"]
            millions = f"{anchor.million_parameters:.2f} M"
            rows.append([f"{anchor.name} (published)", "", millions, *published, *[""] * len(bucket_ranges())])
    return markdown(rows)


def draw(counts: Sequence[tuple[Subject, ProtocolCount]], out: Path) -> None:
    """A line for each student that generates, a level for each model that does not."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axis = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for index, name in enumerate(dict.fromkeys(subject.name for subject, _ in counts)):
        rows = [(subject.steps or 0, counted.total / 1e9) for subject, counted in counts if subject.name == name]
        steps, totals = zip(*rows, strict=True)
        colour = f"C{index % 10}"
        if steps == (0,):
            axis.axhline(totals[0], color=colour, linestyle="--", label=name)
        else:
            axis.plot(steps, totals, "o-", color=colour, label=name)
    axis.set(xlabel="generated layers", ylabel="G multiply-adds, 32 utterances", ylim=(0, None))
    axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    with replacing(out) as part:
        figure.savefig(part, dpi=120, format="png")
    pyplot.close(figure)
