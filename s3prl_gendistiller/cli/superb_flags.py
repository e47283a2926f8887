"""The flags of `gendistiller superb`: their help, their checks, and the suite that they describe."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.superb_cluster import add_cluster_flags, check_cluster_flags
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.devices import NAME
from s3prl_gendistiller.host.downstream_config import check_downstream
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG, read_size
from s3prl_gendistiller.host.runner_checks import check_upstream
from s3prl_gendistiller.host.upstreams import STUDENT
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.superb.models import FEATURES, find_models, with_head_seeds
from s3prl_gendistiller.superb.suite.language_model import find_model, require_decoder
from s3prl_gendistiller.superb.suite.learning_rate_search import budgets
from s3prl_gendistiller.superb.suite.report import FILES
from s3prl_gendistiller.superb.suite.results import seed_of_folder
from s3prl_gendistiller.superb.suite.suite import HARDWARE, Suite
from s3prl_gendistiller.superb.tasks import PRESETS, PUBLISHED_CORPORA, TASKS, Task, choose_tasks, require_packages

EXAMPLE = """\
example, on a corpus of `gendistiller corpus data`:
  SUPERB_DATA=data gendistiller superb --student mine=result/pretrain/my_student --student fbank --tasks ks ic er

example, SUPERB's own settings on two GPUs; the plan with its hours comes first, --dry-run prints nothing else:
  SUPERB_DATA=/data gendistiller superb --preset official --devices cuda:0 cuda:1 --student result/pretrain/my_student

example, a student and its references on four tasks of the real corpora, in about a day on one GPU:
  SUPERB_DATA=/data gendistiller superb --preset mini --student mine=my_student fbank teacher=hubert_base

A student is NAME=CHECKPOINT of run_pretrain.py, NAME=FOLDER of a run, of an exported student or of a transformers
model, or the name of an s3prl upstream; NAME=CHECKPOINT@2 generates only the student's first two layers. The same
command again goes on where it was stopped and repeats no finished run.

Seeds: one NAME with several checkpoints (--student mine=run1 mine=run2) is one student with several distillations.
Names that differ only in a number after the last dot (mine.1, mine.2) are one student too. --seeds 1 2 3 trains each
head three times. A student has one row, mean ± standard deviation over all its runs, and one search of learning rates.
--seeds 1 2 3 goes on with a suite that --seed 1 began.

--cache-features: the command first prints how much disk the features may take. Crops drawn at random are not kept, and
1 GB of the disk stays free; features without room are computed in each epoch. At --cache-limit, features of models that
no run uses make room, the oldest first.

example, each command a job of SLURM on one GPU:
  gendistiller superb --preset official --student mine=run --cluster slurm --partition gpu --gpus-per-run 1 --max-jobs 8

example, two students of the suite in result/superb:
  gendistiller superb --compare mine fbank

The presets official and mini search each learning rate on dev: decades for a twentieth of the steps, the better half
for a fifth, then three times and a third of the best, and the winner to the end.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    several = "one or more models; one NAME with several checkpoints is one student with several distillations"
    add("--student", metavar="NAME=CHECKPOINT", nargs="+", action="extend", default=[], help=several)
    pair = "run nothing; compare two students of the results in --out, with 95 %% intervals and p values, on --tasks"
    add("--compare", metavar=("A", "B"), nargs=2, help=pair)
    add(
        "--tasks",
        metavar="TASK",
        nargs="+",
        default=["all"],
        help=f"any of {', '.join(TASKS)}; default: all of the preset",
    )
    preset = "small (a laptop), official (SUPERB's settings), or mini (four tasks on SUPERB's corpora, a tenth of the "
    preset += "steps, about a day on one GPU with references)"
    add("--preset", choices=PRESETS, default="small", help=preset)
    out = "folder of the runs and the table"
    add("--out", metavar="DIR", type=arguments.path, default=Path("result/superb"), help=out)
    search = "choose each task's learning rate on dev, once per group of seeds; default: not with --preset small"
    add("--lr-search", action=argparse.BooleanOptionalAction, help=search)
    halving = "let a search drop the worse rates early, not train all to the end; default: not with --preset small"
    add("--halving", action=argparse.BooleanOptionalAction, help=halving)
    rates = "learning rate of a task, or several that a search tries"
    add("--lr", metavar="TASK=RATE[,RATE...]", nargs="+", action="extend", default=[], help=rates)
    features = "weighted sum of the hidden states, or the last of them"
    add("--features", choices=FEATURES, default=FEATURES[0], help=features)
    cache = "folder in which features are kept, so that they are computed once; an hour of speech takes 7 GB for a "
    cache += "HuBERT Base, a third of that for its student"
    add(CACHE_FLAG, metavar="DIR", type=arguments.path, help=cache)
    add(
        LIMIT_FLAG,
        metavar="SIZE",
        help="largest size of that folder, such as 50G; unused features make room; default: all of its disk",
    )
    devices = "GPUs such as cuda:0 cuda:1; each runs one training at a time (two, if the GPU is named twice)"
    add("--devices", metavar="DEVICE", nargs="+", default=[], help=devices)
    add("--hardware", choices=HARDWARE, help="size of the GPU; official batches that need 16 GB are computed in parts")
    model = "decode ASR a second time, with the 4-gram.arpa.gz and the lexicon of this folder"
    add("--lm", metavar="DIR", type=arguments.path, help=model)
    speed = "speed of a device in 10^12 operations per second, for the estimate of hours"
    add("--tflops", metavar="X", type=arguments.number(above=0), help=speed)
    jobs = "runs at a time; default: as many as cores and memory allow"
    add("--jobs", metavar="N", type=arguments.count(), help=jobs)
    seed = parser.add_mutually_exclusive_group().add_argument
    seed("--seed", type=arguments.seed, default=1337, help="seed of the heads; default: s3prl's 1337")
    seed("--seeds", metavar="N", type=arguments.seed, nargs="+", help="several seeds: each head is trained with each")
    add("-o", "--override", default="", help="run_downstream.py's -o for every training")
    add("--score-from", metavar="NAME", default="fbank", help="name of the model whose score is 0 (fbank)")
    add("--score-to", metavar="NAME", default="teacher", help="name of the model whose score is 1000 (teacher)")
    add("--dry-run", action="store_true", help="print the plan and its commands, and run nothing")
    add_cluster_flags(parser)


def read_suite(args: argparse.Namespace) -> Suite:
    """The suite that the flags describe, after every check that is possible before the first run.

    A dry run needs no corpora, packages or places to write.
    """
    if not args.student:
        raise UserError("--student: found none, expected NAME=CHECKPOINT of a student, or the name of an upstream")
    tasks = choose_tasks(args.tasks, args.preset)
    searched = args.preset in PUBLISHED_CORPORA
    seed, seeds = _seeds(args)
    suite = Suite(
        models=with_head_seeds(find_models(args.student), seeds, seed),
        tasks=tasks,
        preset=args.preset,
        out=args.out,
        search=searched if args.lr_search is None else args.lr_search,
        rates=_rates(args.lr, tasks),
        features=args.features,
        seed=seed,
        overrides=args.override,
        cache=args.cache_features,
        cache_limit=None if args.cache_limit is None else read_size(args.cache_limit),
        halving=searched if args.halving is None else args.halving,
        hardware=args.hardware,
        lm=args.lm,
    )
    _check_pairs(args, suite)
    _check_search(suite, args.halving)
    if suite.lm is not None:
        if not any(suite.with_lm(task) for task in tasks):
            named = " or ".join(name for name, task in TASKS.items() if task.lm_metric is not None)
            raise UserError(f"--lm: only {named} uses a language model; leave --lm out, or add {named} to --tasks")
        find_model(suite.lm)
    for model in suite.models:
        if model.checkpoint is None:
            check_upstream(model.upstream, None, door=STUDENT)
    if not args.dry_run:
        _check_what_runs_need(suite)
    return suite


def _check_pairs(args: argparse.Namespace, suite: Suite) -> None:
    """Refuses a flag that has no effect beside the others, or names an unknown device, key or student."""
    if args.hardware is not None and suite.preset not in PUBLISHED_CORPORA:
        raise UserError(f"--hardware: found {args.hardware} with --preset small, which fits everywhere; leave it out")
    if args.cache_limit is not None and args.cache_features is None:
        raise UserError(f"{LIMIT_FLAG}: found without {CACHE_FLAG}, whose size it limits; leave it out")
    check_cluster_flags(args)
    for device in args.devices:  # a plan may be for another machine, so that only the form of the name is checked
        if not NAME.fullmatch(device):
            raise UserError(f"--devices: found {device}, expected cpu, cuda or a GPU such as cuda:0")
    for task in suite.tasks if args.override else ():
        if task.trained:
            check_downstream(task.downstream, suite.content(task), f"{suite.config_file(task)} with -o {args.override}")
    names = {name for model in suite.models for name in (model.name, model.distillation, model.group)}
    for flag, name, usual in (("--score-from", args.score_from, "fbank"), ("--score-to", args.score_to, "teacher")):
        if name != usual and name not in names:
            raise UserError(f"{flag}: found {name}, expected a student of this suite: {', '.join(sorted(names))}")


def _seeds(args: argparse.Namespace) -> tuple[int, list[int]]:
    """The seed of the suite and all seeds of heads; a folder with results keeps its seed beside new ones."""
    if args.seeds is None:
        return args.seed, [args.seed]
    before = seed_of_folder(args.out)
    return args.seeds[0] if before is None else before, args.seeds


def _rates(given: Sequence[str], asked: Sequence[Task]) -> dict[str, tuple[float, ...]]:
    """The learning rates of ``--lr`` by task."""
    rates: dict[str, tuple[float, ...]] = {}
    for text in given:
        name, _, values = text.partition("=")
        task = choose_tasks([name])[0]
        try:
            found = tuple(float(value) for value in values.split(","))
        except ValueError as error:
            raise UserError(f"--lr {text}: expected TASK=RATE or TASK=RATE,RATE, such as ks=1e-3") from error
        if not all(math.isfinite(rate) and rate > 0 for rate in found):
            raise UserError(f"--lr {text}: expected rates above 0, such as ks=1e-3")
        if task.name in rates or len(set(found)) < len(found):
            raise UserError(f"--lr {text}: found twice; give each task once, as TASK=RATE,RATE, and each rate once")
        if task not in asked:
            raise UserError(f"--lr {text}: found without {task.name} among the tasks; leave it out, or add --tasks")
        if not task.trained:
            raise UserError(f"--lr {text}: found for a task that trains nothing; leave it out")
        rates[task.name] = found
    return rates


def _check_search(suite: Suite, asked: bool | None) -> None:
    """Refuses ``--halving`` without a search, and a search that cannot compare parts of trainings."""
    searched = [task for task in suite.tasks if len(suite.candidates(task)) > 1]
    if asked and not searched:
        raise UserError("--halving: found without a search; add --lr-search, or several rates of a task with --lr")
    for task in searched if suite.halving else ():
        budgets(suite.content(task), task.name)


def _check_what_runs_need(suite: Suite) -> None:
    """Checks corpora, packages and places to write, which a dry run does not need."""
    for name in FILES:
        check_writable(suite.out / name, "--out", folder=False)
    if suite.cache is not None:
        check_writable(suite.cache, CACHE_FLAG, folder=True)
    problems = []
    for task in suite.tasks:
        try:
            suite.config(task)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    require_packages(suite.tasks)
    if suite.lm is not None:
        require_decoder()
