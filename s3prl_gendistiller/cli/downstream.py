"""run_downstream.py: s3prl's script with the upstreams of this package, missing flags filled in and input checked."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import downstream_flags, launch, long_training, shell
from s3prl_gendistiller.cli.downstream_flags import parser as _parser
from s3prl_gendistiller.cli.launch import HostCall
from s3prl_gendistiller.cli.record import check_same_source
from s3prl_gendistiller.cli.resume import finished, refuse_other_than_begun, resume_overrides
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import feature_cache, mount, soft_labels
from s3prl_gendistiller.host.checkpoint import newest_student, read_checkpoint
from s3prl_gendistiller.host.downstream_config import check_downstream, tasks
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG, FeatureCache, read_size
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.host.paths import expand_tree
from s3prl_gendistiller.host.resume import check_changes, check_sections
from s3prl_gendistiller.host.runner_checks import check_layer, check_upstream
from s3prl_gendistiller.host.stored_run import check_settings, check_stored_downstream
from s3prl_gendistiller.host.students import check_steps, generation_text, student_place
from s3prl_gendistiller.models.upstream import read_generation
from s3prl_gendistiller.outputs import check_writable
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from s3prl_gendistiller.shipped import existing_or_shipped, shipped_folder
from s3prl_gendistiller.student_kinds import OWN_UPSTREAM, STUDENT_KINDS
from s3prl_gendistiller.superb.corpus.before_run import refuse_unfit
from s3prl_gendistiller.superb.tasks import TASKS, require_packages

RESULTS = Path("result/downstream")
STUDENTS = Path("result/pretrain")
_TRAINED = "a trained student keeps its model; train another one with run_pretrain.py -g"


def main(argv: Sequence[str] | None = None, host: launch.Host = mount.run_downstream) -> int:
    """Runs the command; the exit status is 2 for a mistake in the command, a file or the data."""
    return launch.run(argv, host, _parser(), RESULTS, _complete)


def _complete(args: argparse.Namespace, device: str, checkpoint: Path | None, filled: dict[str, str]) -> HostCall:
    if args.mode is None:
        args.mode = filled["-m"] = "train"
    downstream_flags.check_pairs(args, goes_on=checkpoint is not None)
    if args.upstream_trainable and args.cache_features is not None:
        raise UserError(feature_cache.TRAINED)
    passed = [*downstream_flags.passed_on(args, goes_on=checkpoint is not None), *_cache(args)]
    call = _start(args, device, filled) if checkpoint is None else _go_on(args, device, checkpoint, filled)
    if args.mode != "inference":
        config = call.config or call.read_by
        if isinstance(args.downstream, str) and isinstance(config, dict):
            base = soft_labels.stock_task(args.downstream)
            refuse_unfit(base, config.get("downstream_expert", {}))
            if args.mode == "train" and device == "cpu" and not call.finished:
                _announce(args, config, checkpoint)
    return replace(call, command=[*call.command, *passed], trains=args.mode == "train")


def _announce(args: argparse.Namespace, config: dict[str, Any], checkpoint: Path | None) -> None:
    """Says how long a training on a CPU takes, if that is long."""
    begun, done = args, 0
    if checkpoint is not None:
        states = read_checkpoint(checkpoint, mmap=True)
        begun, done, config = states["Args"], states["Step"], args.overrides.apply(config)
    total = config.get("runner", {}).get("total_steps")
    if isinstance(total, int) and isinstance(getattr(begun, "downstream", None), str):
        long_training.announce(begun, config, total - done, cached=args.cache_features is not None)


def _cache(args: argparse.Namespace) -> list[str]:
    """The flags of the cache of features, whose folder is checked."""
    folder, limit = args.cache_features, args.cache_limit
    if folder is not None:
        check_writable(folder, CACHE_FLAG, folder=True)
        FeatureCache(folder, None if limit is None else read_size(limit))
    elif limit is not None:
        raise UserError(f"{LIMIT_FLAG}: found without {CACHE_FLAG}, which it bounds; leave it out")
    return launch.given_flags({CACHE_FLAG: folder, LIMIT_FLAG: limit})


def _go_on(args: argparse.Namespace, device: str, checkpoint: Path, filled: dict[str, str]) -> HostCall:
    states = read_checkpoint(checkpoint, mmap=True)
    begun = states["Args"]
    if args.steps is not None:
        _same_steps(args.steps, begun, checkpoint)
    refuse_other_than_begun(args, downstream_flags.BEGUN, begun, checkpoint)
    folder, done = checkpoint.resolve().parent, ""
    if args.mode == "train" and not getattr(begun, "push_to_hf_hub", None):  # s3prl uploads a finished run again
        done = finished(states, checkpoint, args.overrides, "run_downstream.py")
    if done:
        return HostCall([], folder, finished=done)
    stored = {"-c": args.config, "--teacher": args.teacher}
    filled.update({flag: "from the checkpoint" for flag, value in stored.items() if value is not None})
    args.overrides.refuse_model_keys(_TRAINED)
    check_stored_downstream(states, checkpoint, args.overrides)
    if args.mode == "train":
        check_changes(states, checkpoint, args.overrides)
    else:
        check_sections(states, checkpoint)
    _check_begun(begun, args.overrides, checkpoint)
    args.downstream = getattr(begun, "downstream", "")
    command = ["-m", args.mode, "-e", str(checkpoint), "--device", device]
    if args.mode != "train":
        command += ["-t", downstream_flags.check_split(args, args.downstream, states["Config"])]
    command += ["-o", resume_overrides(begun, checkpoint, args.overrides, device)]
    return HostCall(command, folder, read_by=states["Config"])


def _check_begun(begun: argparse.Namespace, overrides: Overrides, checkpoint: Path) -> None:
    """Checks that the upstream that the run began with can still be loaded."""
    if getattr(begun, "hub", "torch") == downstream_flags.HUGGINGFACE or not hasattr(begun, "upstream"):
        return
    path = overrides.flags.get("upstream_ckpt", getattr(begun, "upstream_ckpt", None))
    try:
        check_upstream(begun.upstream, path, goes_on=True)
    except UserError as error:
        moved = "; if the file has moved, give -o args.upstream_ckpt=PATH" if path is not None else ""
        raise UserError(
            f"{checkpoint}: the upstream that it was trained on has changed or is gone: {error}{moved}"
        ) from error
    if path is not None and Path(path).exists():
        check_same_source(checkpoint.resolve().parent, Path(path))


def _start(args: argparse.Namespace, device: str, filled: dict[str, str]) -> HostCall:
    for flag, value in (("-u", args.upstream), ("-d", args.downstream)):
        if value is None:
            raise UserError(f"{flag}: missing; for example run_downstream.py -u {OWN_UPSTREAM} -d asr")
    _check_downstream(args)
    if args.hub != downstream_flags.HUGGINGFACE:
        _check_upstream(args, filled)
    name = f"{Path(args.upstream).name}_{args.downstream}"
    folder, command = launch.new_run(args, device, filled, RESULTS, name, trains=args.mode == "train")
    source = _config_file(args, filled)
    args.overrides.refuse_model_keys(_TRAINED)
    config = args.overrides.check(read_layered_yaml(source), lambda content: _checked(args, content, source))
    check_settings(args.upstream, args.upstream_model_config)
    if args.init_ckpt is not None:
        _check_weights(args.init_ckpt, args.downstream)
    given = {"-d": args.downstream, "-f": args.upstream_trainable, "-k": args.upstream_ckpt}
    given["-t"] = None if args.mode == "train" else downstream_flags.check_split(args, args.downstream, config)
    given["-g"] = args.upstream_model_config if args.steps is None else generation_text(args.steps)
    given |= {"-i": args.init_ckpt, "-o": Overrides(args.overrides.flags).text()}
    command = ["-m", args.mode, *command, *launch.given_flags(given)]
    local = args.upstream_ckpt is not None and Path(args.upstream_ckpt).exists()
    return HostCall(command, folder, config, source=Path(args.upstream_ckpt) if local else None)


def _checked(args: argparse.Namespace, content: dict[str, Any], source: Path) -> dict[str, Any]:
    """The checked configuration `content` of the file `source`, with its places filled in."""
    config = expand_tree(content, "", here=source.resolve().parent)
    downstream_flags.check_variant(args.downstream_variant, args.downstream, config)
    if args.downstream.startswith(soft_labels.PREFIX):
        _add_teacher(args, config)
    elif args.teacher is not None:
        names = f"{', '.join(soft_labels.BASES)}, whose heads are trained on a teacher's outputs"
        raise UserError(f"--teacher: found with -d {args.downstream}; expected -d {names}")
    return check_downstream(args.downstream, config, str(source))


def _check_downstream(args: argparse.Namespace) -> None:
    """Checks ``-d``: its name, and the packages that the task's expert imports."""
    if not re.fullmatch(r"\w[\w-]*", args.downstream):
        raise UserError(f"-d: found {args.downstream!r}, expected the name of a task, such as asr")
    if args.downstream.startswith(soft_labels.PREFIX):
        soft_labels.base_of(args.downstream)
    base = soft_labels.stock_task(args.downstream)
    if args.config is not None and base not in tasks():
        known = [*tasks(), *soft_labels.BASES]
        close = ", ".join(difflib.get_close_matches(args.downstream, known, n=3)) or ", ".join(sorted(known))
        raise UserError(f"-d {args.downstream}: no such task in s3prl.downstream; expected one such as {close}")
    if args.mode == "inference" and base != "asr":
        raise UserError(f"-m inference: found with -d {args.downstream}; only asr can transcribe a file")
    require_packages([task for task in TASKS.values() if task.downstream == base][:1])


def _check_upstream(args: argparse.Namespace, filled: dict[str, str]) -> None:
    """Checks ``-u``, ``-k``, ``-g``, ``--steps`` and ``-l``; fills in the newest student and makes paths absolute."""
    kinds = [kind.name for kind in STUDENT_KINDS.values() if kind.upstream == args.upstream]
    if kinds and args.upstream_ckpt is None:
        _choose_student(args, filled, kinds)
    elif args.upstream_ckpt is not None and "://" not in args.upstream_ckpt:
        given = existing_or_shipped(args.upstream_ckpt)
        args.upstream_ckpt = str(student_place(given) if kinds else given)
        if args.upstream_ckpt != str(given):
            filled["-k"] = args.upstream_ckpt
    if args.steps is not None and args.upstream != OWN_UPSTREAM:
        raise UserError(f"--steps: found {args.steps} with -u {args.upstream}; only {OWN_UPSTREAM} stops early")
    check_upstream(args.upstream, args.upstream_ckpt, args.upstream_model_config)
    downstream_flags.check_refresh(args.upstream_refresh, args.upstream, args.upstream_ckpt)
    if args.steps is not None and args.upstream_model_config is not None:
        raise UserError(f"--steps: found together with -g {args.upstream_model_config}; give one of them")
    if args.upstream_ckpt is not None and os.path.exists(args.upstream_ckpt):
        args.upstream_ckpt = os.path.abspath(args.upstream_ckpt)
    steps = args.steps
    if args.upstream == OWN_UPSTREAM:
        steps = read_generation(args.upstream_model_config).steps if steps is None else steps
        check_steps(steps, str(args.upstream_ckpt))
    if args.upstream_feature_selection in (None, "hidden_states"):
        check_layer(args.upstream, args.upstream_ckpt, steps, args.upstream_layer_selection)


def _check_weights(path: str, downstream: str) -> None:
    """Checks ``-i``: from a checkpoint of another task s3prl would load nothing, without a message."""
    states = read_checkpoint(path, mmap=True)
    found = getattr(states.get("Args"), "downstream", None)
    if "Downstream" not in states or found != downstream:
        raise UserError(
            f"-i {path}: found a checkpoint of {found or 'no task'}, expected one of run_downstream.py -d {downstream}"
        )


def _choose_student(args: argparse.Namespace, filled: dict[str, str], kinds: Sequence[str]) -> None:
    """Fills in ``-k`` with the newest student of one of `kinds`."""
    newest = newest_student(STUDENTS, *kinds)
    if newest is None:
        raise UserError(
            f"-k: not given, and no {' or '.join(kinds)} student is under {STUDENTS.absolute()}; train one with "
            f"{shell.line([*shell.launcher('run_pretrain.py'), '-u', kinds[0]])}, or name a checkpoint"
        )
    args.upstream_ckpt = filled["-k"] = str(newest)


def _same_steps(steps: int, begun: argparse.Namespace, checkpoint: Path) -> None:
    stored = read_generation(getattr(begun, "upstream_model_config", None)).steps
    if steps != stored:
        raise UserError(
            f"--steps: found {steps}, but the run of {checkpoint} began with {stored or 'all'}; leave the flag out, or "
            "begin another run with -n"
        )


def _add_teacher(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Puts ``--teacher`` of a glmd task into the configuration, and checks the teacher against it."""
    section = config["downstream_expert"].setdefault(soft_labels.SECTION, {})
    if args.teacher is not None:
        section["teacher"] = args.teacher
    given = from_dict(soft_labels.SoftLabelConfig, section, f"-d {args.downstream}").teacher
    path = soft_labels.teacher_checkpoint(given or "").absolute()
    states = read_checkpoint(path, mmap=True)
    check_stored_downstream(states, path, Overrides())
    soft_labels.check_teacher(states, path, args.downstream, config)
    section["teacher"] = str(path)


def _config_file(args: argparse.Namespace, filled: dict[str, str]) -> Path:
    """The file of ``-c``, which may be a shipped one; without ``-c`` the shipped file of the task."""
    shipped = shipped_folder("downstream_runs")
    if args.config is not None:
        return existing_or_shipped(args.config)
    candidates = [folder / args.downstream / "config.yaml" for folder in (shipped, Path("downstream"))]
    if args.downstream.startswith(soft_labels.PREFIX):
        candidates = [shipped / TASKS[args.downstream.removeprefix(soft_labels.PREFIX)].config("official")]
    for candidate in candidates:
        if candidate.is_file():
            filled["-c"] = str(candidate)
            return candidate
    variants = [task.config("official") for task in TASKS.values() if task.downstream == args.downstream]
    if len(variants) > 1:  # s3prl's ctc has two tasks
        choices = " or ".join(f"-c downstream_runs/{name}" for name in sorted(variants))
        raise UserError(f"-d {args.downstream}: serves more than one task; choose with {choices}")
    names = ", ".join(sorted({path.parent.name for path in shipped.glob("*/*.yaml")}))
    raise UserError(f"-d {args.downstream}: no configuration is shipped for it (there are {names}); give one with -c")


if __name__ == "__main__":
    raise SystemExit(main())
