"""run_downstream.py: s3prl's own script with our upstreams, what was left out filled in, and its input checked."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import launch
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import feature_cache, mount, soft_labels
from s3prl_gendistiller.host.checkpoint import newest_student, read_checkpoint, student_kind
from s3prl_gendistiller.host.generation import check_steps, generation_text
from s3prl_gendistiller.host.overrides import apply_overrides
from s3prl_gendistiller.host.paths import expand_tree
from s3prl_gendistiller.models.upstream import read_generation
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from s3prl_gendistiller.shipped import existing_or_shipped, shipped_folder
from s3prl_gendistiller.superb.run_data import refuse_unfit
from s3prl_gendistiller.superb.tasks import TASKS

RESULTS = Path("result/downstream")
STUDENTS = Path("result/pretrain")
LOCAL_STUDENTS = {"gendistiller_local": "gendistiller", "distiller_local": "distilhubert"}


def main(argv: Sequence[str] | None = None, host: launch.Host = mount.run_downstream) -> int:
    """Exit status of the whole run; 2 for a mistake in the command, a file or the data."""
    run = functools.partial(launch.run, host=host, parser=_parser(), results=RESULTS, plan=_plan)
    return launch.guarded(run, argv)


def _plan(args: argparse.Namespace, device: str, checkpoint: Path | None, filled: dict[str, str]) -> launch.Plan:
    if args.mode is None:
        args.mode = filled["-m"] = "train"
    if args.upstream_trainable and args.cache_features is not None:
        raise UserError(feature_cache.TRAINED)
    passed = ["-f"] if args.upstream_trainable else []
    passed += [mount.CACHE_FLAG, str(args.cache_features)] if args.cache_features is not None else []
    planned = _start(args, device, filled) if checkpoint is None else _go_on(args, device, checkpoint)
    if args.mode != "inference":
        _look_at_data(args, planned, checkpoint)
    return replace(planned, command=[*planned.command, *passed])


def _look_at_data(args: argparse.Namespace, planned: launch.Plan, checkpoint: Path | None) -> None:
    downstream, config = args.downstream, planned.config
    if checkpoint is not None:
        begun = read_checkpoint(checkpoint, mmap=True)
        downstream, config = getattr(begun["Args"], "downstream", None), begun["Config"]
    if isinstance(downstream, str) and isinstance(config, dict):
        refuse_unfit(soft_labels.BASES.get(downstream, downstream), config.get("downstream_expert", {}))


def _go_on(args: argparse.Namespace, device: str, checkpoint: Path) -> launch.Plan:
    if args.steps is not None:
        _same_steps(args.steps, checkpoint)
    override = launch.resume_overrides(checkpoint, args.override, device)
    command = ["-m", args.mode, "-e", str(checkpoint), "-o", override, "--device", device]
    return launch.Plan(command, checkpoint.resolve().parent)


def _start(args: argparse.Namespace, device: str, filled: dict[str, str]) -> launch.Plan:
    """A new run, completed and checked."""
    for flag, value in (("-u", args.upstream), ("-d", args.downstream)):
        if value is None:
            raise UserError(f"{flag}: missing; for example run_downstream.py -u gendistiller_local -d asr")
    if args.upstream in LOCAL_STUDENTS:
        _choose_student(args, filled)
    elif args.upstream_ckpt is not None:
        args.upstream_ckpt = str(existing_or_shipped(args.upstream_ckpt))
    if args.steps is not None:
        _check_steps(args)
    if args.expname is None and args.expdir is None:
        args.expname = filled["-n"] = launch.free_name(RESULTS, f"{args.upstream}_{args.downstream}")
    folder = Path(args.expdir or RESULTS / args.expname).absolute()
    if args.mode == "train":
        launch.refuse_to_overwrite(folder)
    source = _config_file(args, filled)
    content = apply_overrides(read_layered_yaml(source), args.override)
    config = expand_tree(content, "", here=source.resolve().parent)
    if args.downstream.startswith(soft_labels.PREFIX):
        _add_teacher(args, config)
    elif args.teacher is not None:
        names = ", ".join(soft_labels.BASES)
        raise UserError(f"--teacher: found with -d {args.downstream}; only {names} learn from one")
    if args.init_ckpt is not None:
        read_checkpoint(args.init_ckpt, mmap=True)
    command = ["-m", args.mode, "-u", args.upstream, "-d", args.downstream, "-n", args.expname or folder.name]
    command += ["-p", str(folder), "--device", device, "--seed", str(args.seed)]
    generation = None if args.steps is None else generation_text(args.steps)
    given = {"-k": args.upstream_ckpt, "-g": generation or args.upstream_model_config, "-i": args.init_ckpt}
    for flag, value in (given | {"-o": args.override}).items():
        command += [flag, value] if value else []
    return launch.Plan(command, folder, config)


def _choose_student(args: argparse.Namespace, filled: dict[str, str]) -> None:
    """Fills in ``-k`` and makes sure, before anything is made, that it is a student of the kind asked for."""
    kind = LOCAL_STUDENTS[args.upstream]
    if args.upstream_ckpt is None:
        newest = newest_student(STUDENTS, kind)
        if newest is None:
            raise UserError(
                f"-k: not given, and no {kind} student is under {STUDENTS.absolute()}; train one with "
                f"`python run_pretrain.py -u {kind}`, or name a checkpoint"
            )
        args.upstream_ckpt = filled["-k"] = str(newest)
    if os.path.isdir(args.upstream_ckpt):
        raise UserError(f"-k {args.upstream_ckpt}: found a folder, expected a checkpoint file in it")
    states = read_checkpoint(args.upstream_ckpt, mmap=True)
    if args.upstream == "gendistiller_local":
        student_kind(states, args.upstream_ckpt)
    args.upstream_ckpt = os.path.abspath(args.upstream_ckpt)


def _check_steps(args: argparse.Namespace) -> None:
    """Of ``--steps``, before anything is made."""
    if args.upstream != "gendistiller_local":
        raise UserError(f"--steps: found {args.steps} with -u {args.upstream}; only gendistiller_local stops early")
    if args.upstream_model_config is not None:
        raise UserError(f"--steps: found together with -g {args.upstream_model_config}; give one of them")
    check_steps(args.steps, args.upstream_ckpt)


def _same_steps(steps: int, checkpoint: Path) -> None:
    """A run that goes on keeps the layers that it began with."""
    begun = read_checkpoint(checkpoint, mmap=True)["Args"]
    stored = read_generation(getattr(begun, "upstream_model_config", None)).steps
    if steps != stored:
        raise UserError(
            f"--steps: found {steps}, but the run of {checkpoint} began with {stored or 'all'}; leave the flag out, or "
            "begin another run with -n"
        )


def _add_teacher(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Of a glmd task: ``--teacher`` goes into the configuration, and is checked against it."""
    section = config["downstream_expert"].setdefault(soft_labels.SECTION, {})
    if args.teacher is not None:
        section["teacher"] = args.teacher
    given = from_dict(soft_labels.SoftLabelConfig, section, f"-d {args.downstream}").teacher
    path = soft_labels.teacher_checkpoint(given or "").absolute()
    soft_labels.check_teacher(read_checkpoint(path, mmap=True), path, args.downstream, config)
    section["teacher"] = str(path)


def _config_file(args: argparse.Namespace, filled: dict[str, str]) -> Path:
    """``-c``, also by its name among the shipped ones from any folder; or the shipped one of the task."""
    shipped = shipped_folder("downstream_runs")
    if args.config is not None:
        return existing_or_shipped(args.config)
    if args.downstream.startswith(soft_labels.PREFIX):
        soft_labels.base_of(args.downstream)
        own = shipped / TASKS[args.downstream.removeprefix(soft_labels.PREFIX)].config("official")
        filled["-c"] = str(own)
        return own
    own, hosts = shipped / args.downstream / "config.yaml", Path("downstream") / args.downstream / "config.yaml"
    for candidate in (own, hosts):
        if candidate.is_file():
            filled["-c"] = str(candidate)
            return candidate
    variants = [task.config("official") for task in TASKS.values() if task.downstream == args.downstream]
    if len(variants) > 1:  # ctc serves two tasks
        choices = " or ".join(f"-c downstream_runs/{name}" for name in sorted(variants))
        raise UserError(f"-d {args.downstream}: serves more than one task; choose with {choices}")
    names = ", ".join(sorted({path.parent.name for path in shipped.glob("*/*.yaml")}))
    raise UserError(f"-d {args.downstream}: no configuration is shipped for it (there are {names}); give one with -c")


def _parser() -> argparse.ArgumentParser:
    parser = launch.host_flags("run_downstream.py", allow_abbrev=False)
    parser.epilog = (
        "Of this launcher alone: --steps K lets gendistiller_local generate only its first K layers; --teacher RUN\n"
        f"names the trained run that -d {' | '.join(soft_labels.BASES)} learns from, without labels;\n"
        f"{mount.CACHE_FLAG} DIR keeps the features of a frozen upstream there and computes none of them twice."
    )
    parser.add_argument("-m", "--mode")
    parser.add_argument("-i", "--init_ckpt")
    parser.add_argument("-d", "--downstream")
    parser.add_argument("-k", "--upstream_ckpt")
    parser.add_argument("-g", "--upstream_model_config")
    parser.add_argument("--steps", type=int)  # ours, and the next
    parser.add_argument("--teacher")
    parser.add_argument(mount.CACHE_FLAG, type=Path)
    parser.add_argument("-f", "--upstream_trainable", action="store_true")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
