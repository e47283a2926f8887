"""run_downstream.py: s3prl's own script with our upstreams, what was left out filled in, and its input checked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from s3prl_gendistiller.cli import launch
from s3prl_gendistiller.config import read_layered_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.checkpoint import newest_student, read_checkpoint, student_kind
from s3prl_gendistiller.host.paths import expand_tree
from s3prl_gendistiller.shipped import shipped_folder

RESULTS = Path("result/downstream")
STUDENTS = Path("result/pretrain")
LOCAL_STUDENTS = {"gendistiller_local": "gendistiller", "distiller_local": "distilhubert"}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status of the whole run; 2 for a mistake in the command, a file or the data."""
    return launch.guarded(_run, argv)


def _run(argv: Sequence[str]) -> None:
    if {"-h", "--help"} & set(argv):
        mount.run_downstream(["--help"])
    args, others = _parser().parse_known_args(argv)
    filled: dict[str, str] = {}
    if args.mode is None:
        args.mode = filled["-m"] = "train"
    device = launch.choose_device(args.device, filled)
    folder = Path(args.expdir) if args.expdir else RESULTS / args.expname if args.expname else None
    checkpoint = launch.checkpoint_to_resume(args.past_exp, args.auto_resume, folder)
    if checkpoint is not None:
        filled["-e"] = str(checkpoint)
        launch.say_filled_in(filled)
        override = launch.resume_overrides(checkpoint, args.override, device)
        launch.record_run(checkpoint.parent, argv, args.seed)
        mount.run_downstream(["-m", args.mode, "-e", str(checkpoint), "-o", override, "--device", device, *others])
    else:
        _start(args, others, device, filled, argv)


def _start(
    args: argparse.Namespace, others: list[str], device: str, filled: dict[str, str], argv: Sequence[str]
) -> None:
    for flag, value in (("-u", args.upstream), ("-d", args.downstream)):
        if value is None:
            raise UserError(f"{flag}: missing; for example run_downstream.py -u gendistiller_local -d asr")
    if args.upstream in LOCAL_STUDENTS:
        _choose_student(args, filled)
    if args.expname is None and args.expdir is None:
        args.expname = filled["-n"] = launch.free_name(RESULTS, f"{args.upstream}_{args.downstream}")
    folder = Path(args.expdir or RESULTS / args.expname).absolute()
    if args.mode == "train":
        launch.refuse_to_overwrite(folder)
    source = _config_file(args, filled)
    config = read_layered_yaml(source)
    resolved = expand_tree(launch.apply_overrides(config, args.override), "", here=source.resolve().parent)
    if args.init_ckpt is not None:
        read_checkpoint(args.init_ckpt, mmap=True)

    launch.say_filled_in(filled)
    with launch.new_folder(folder):
        launch.record_run(folder, argv, args.seed)
        written = launch.write_yaml(resolved, folder / "config_resolved.yaml")
        command = ["-m", args.mode, "-u", args.upstream, "-d", args.downstream, "-c", str(written)]
        command += ["-n", args.expname or folder.name, "-p", str(folder), "--device", device, "--seed", str(args.seed)]
        command += ["-k", args.upstream_ckpt] if args.upstream_ckpt else []
        command += ["-i", args.init_ckpt] if args.init_ckpt else []
        command += ["-o", args.override] if args.override else []
        mount.run_downstream([*command, *others])


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


def _config_file(args: argparse.Namespace, filled: dict[str, str]) -> Path:
    """``-c``, also by its name among the shipped ones from any folder; or the shipped one of the task."""
    shipped = shipped_folder("downstream_runs")
    if args.config is not None:
        given = Path(args.config)
        inside = shipped.parent / given  # downstream_runs/asr/small.yaml, typed in another folder
        return inside if not given.exists() and inside.is_file() else given
    own, hosts = shipped / args.downstream / "config.yaml", Path("downstream") / args.downstream / "config.yaml"
    for candidate in (own, hosts):
        if candidate.is_file():
            filled["-c"] = str(candidate)
            return candidate
    names = ", ".join(sorted(path.parent.name for path in shipped.glob("*/config.yaml")))
    raise UserError(f"-d {args.downstream}: no configuration is shipped for it (there are {names}); give one with -c")


def _parser() -> argparse.ArgumentParser:
    """The host's flags that are completed here; all others pass through as they are."""
    parser = argparse.ArgumentParser(prog="run_downstream.py", add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--mode")
    parser.add_argument("-o", "--override")
    parser.add_argument("-e", "--past_exp")
    parser.add_argument("-i", "--init_ckpt")
    parser.add_argument("-c", "--config")
    parser.add_argument("-d", "--downstream")
    parser.add_argument("-u", "--upstream")
    parser.add_argument("-k", "--upstream_ckpt")
    parser.add_argument("-n", "--expname")
    parser.add_argument("-p", "--expdir")
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("--seed", default=1337, type=int)
    parser.add_argument("--device")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
