"""run_pretrain.py: s3prl's script with the tasks of this package, missing flags filled in and all input checked."""

from __future__ import annotations

import argparse
import atexit
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from s3prl_gendistiller.cli import arguments, launch, torchrun
from s3prl_gendistiller.cli.ending import last_lines
from s3prl_gendistiller.cli.launch import HostCall
from s3prl_gendistiller.cli.pretrain_data import check_data
from s3prl_gendistiller.cli.resume import finished, refuse_other_than_begun, resume_overrides
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.distill.objectives import check_files
from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.feature_store import LIMIT_FLAG
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.host.overrides import MODEL_SECTIONS, Overrides
from s3prl_gendistiller.host.paths import from_here, with_absolute_files
from s3prl_gendistiller.host.pretrain_config import runner_for_host
from s3prl_gendistiller.host.resume import check_changes
from s3prl_gendistiller.host.stored_run import check_stored_pretrain
from s3prl_gendistiller.host.target_cache import TEACHER_FLAG
from s3prl_gendistiller.host.teacher_sizes import check_teacher
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from s3prl_gendistiller.shipped import existing_or_shipped, shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config

RESULTS = Path("result/pretrain")
_EXAMPLE = (
    "config.runner.total_steps=1000,,config.optimizer.lr=1.e-3,,config.pretrain_expert.datarc.valid_sets=['dev-clean']"
)
_MODEL_KEYS = (
    "Keys of the model YAML (teacher, student, distill, ...) go into a file for -g, which begins with `base:`."
)
_CACHE_HELP = """\
--cache-teacher DIR keeps the teacher's layers of each batch in DIR, so that further trainings with the same teacher,
speech and seed compute each batch once; --cache-limit SIZE (such as 50G) bounds DIR. The two stand for the keys
cache_teacher and cache_limit of config.pretrain_expert.datarc. Results are the same with and without."""
_DATARC = ("pretrain_expert", "datarc")
_KEPT = "a run that goes on keeps its model; begin another run with -n and a model YAML for -g"


def main(argv: Sequence[str] | None = None, host: launch.Host = mount.run_pretrain) -> int:
    """Runs the command; the exit status is 2 for a mistake in the command, a file or the data."""
    return launch.run(argv, host, _parser(), RESULTS, _complete, ranks=True)


def _parser() -> argparse.ArgumentParser:
    parser = launch.host_flags("run_pretrain.py")
    overrides = launch.OVERRIDES_HELP.format(example=_EXAMPLE, name="runner")
    parser.epilog = f"{overrides}\n{_MODEL_KEYS}\n{_CACHE_HELP}\n-v, --verbose: {arguments.VERBOSE_HELP}."
    parser.add_argument("-g", "--upstream_config", type=arguments.text)
    parser.add_argument("--multi_gpu", action="store_true")
    parser.add_argument(TEACHER_FLAG, metavar="DIR", type=arguments.path)
    parser.add_argument(LIMIT_FLAG, metavar="SIZE", type=arguments.text)
    parser.add_argument("-v", "--verbose", action="store_true")  # of this launcher alone
    return parser


def _complete(args: argparse.Namespace, device: str, checkpoint: Path | None, filled: dict[str, str]) -> HostCall:
    return _start(args, device, filled) if checkpoint is None else _resume(checkpoint, args, device, filled)


def _resume(checkpoint: Path, args: argparse.Namespace, device: str, filled: dict[str, str]) -> HostCall:
    """The call that goes on with a checkpoint, from which everything but device and folder comes."""
    states = read_checkpoint(checkpoint, mmap=True)
    begun = states["Args"]
    folder, ending = checkpoint.resolve().parent, partial(last_lines, device=device)
    refuse_other_than_begun(args, {"upstream": "-u", "seed": "--seed", "multi_gpu": "--multi_gpu"}, begun, checkpoint)
    if done := finished(states, checkpoint, args.overrides, "run_pretrain.py"):
        return HostCall([], folder, finished=done, ending=ending)
    args.overrides = _with_cache(args, begun.upstream)
    stored = {"-c": args.config, "-g": args.upstream_config}
    filled.update({flag: "from the checkpoint" for flag, value in stored.items() if value is not None})
    args.overrides.refuse_model_keys(_KEPT)
    sections = check_stored_pretrain(states, checkpoint, args.overrides, mount.pretrain_tasks())
    known = begun.upstream in STUDENT_KINDS
    torchrun.check_ranks(begun.upstream, known)
    if known and sections.keys() >= {"runner", "optimizer", "pretrain_expert"}:
        runner = from_dict(RunnerConfig, sections, f"{checkpoint}: Config")
        torchrun.check_ranks(begun.upstream, known, runner.pretrain_expert.datarc.train_batch_size)
        check_data(runner)
    check_changes(states, checkpoint, args.overrides)
    overrides = args.overrides.as_spelt_in(states["Config"])  # s3prl knows one name of each key
    overrides = torchrun.without_data_parallel(begun, overrides)
    command = ["-e", str(checkpoint), "-o", resume_overrides(begun, checkpoint, overrides, device)]
    agreed = {"-e": checkpoint.name, "step": states["Step"], "-c": sections}
    return HostCall(command, folder, read_by=states["Config"], ending=ending, agreed=agreed)


def _start(args: argparse.Namespace, device: str, filled: dict[str, str]) -> HostCall:
    tasks = mount.pretrain_tasks()
    if args.upstream not in tasks:
        found = "nothing" if args.upstream is None else args.upstream
        raise UserError(f"-u: found {found}, expected one of {', '.join(tasks)}")
    if args.multi_gpu and device == "cpu":
        raise UserError("--multi_gpu: found with --device cpu; leave it out, or choose cuda where there are GPUs")
    known = args.upstream in STUDENT_KINDS
    torchrun.check_ranks(args.upstream, known)
    args.overrides = _with_cache(args, args.upstream)
    folder, command = launch.new_run(args, device, filled, RESULTS, args.upstream)
    agreed: dict[str, Any] = {}
    if known:
        shipped = shipped_folder("pretrain_configs") / args.upstream
        args.config = args.config or _fill(filled, "-c", shipped / "config_runner.yaml")
        args.upstream_config = args.upstream_config or _fill(filled, "-g", shipped / "config_model.yaml")
        args.config, args.upstream_config = (str(existing_or_shipped(p)) for p in (args.config, args.upstream_config))
        args.overrides.refuse_model_keys(_advice(args.overrides, args.upstream_config))
        content = _check(args.upstream, args.upstream_config, args.config, args.overrides)
        model = read_layered_yaml(args.upstream_config)
        agreed = {"-u": args.upstream, "--seed": args.seed, "-c": content, "-g": model}
        args.upstream_config = _for_host(model, args.upstream_config)
    else:
        content = _check_stock(args)
    args.config = args.config and _for_host(content, args.config)
    override = args.overrides.text() if args.config is None else Overrides(args.overrides.flags).text()
    given = {"--multi_gpu": args.multi_gpu, "-o": override, "-c": args.config, "-g": args.upstream_config}
    command += launch.given_flags(given)
    return HostCall(command, folder, read_by=content, ending=partial(last_lines, device=device), agreed=agreed)


def _with_cache(args: argparse.Namespace, task: str) -> Overrides:
    """The overrides, with the keys of the runner YAML for which the flags of the teacher's cache stand."""
    folder = None if args.cache_teacher is None else str(args.cache_teacher.expanduser().absolute())
    given = {TEACHER_FLAG: ("cache_teacher", folder), LIMIT_FLAG: ("cache_limit", args.cache_limit)}
    keys = {flag: (*_DATARC, name) for flag, (name, value) in given.items() if value is not None}
    for flag, path in keys.items():
        if task not in STUDENT_KINDS:
            raise UserError(f"{flag}: found with -u {task}, a task of s3prl's own, which has no teacher; leave it out")
        if path in args.overrides.keys:
            raise UserError(f"{flag}: found together with -o config.{'.'.join(path)}; leave one of them out")
    values = {path: given[flag][1] for flag, path in keys.items()}
    return replace(args.overrides, keys={**args.overrides.keys, **values})


def _check_stock(args: argparse.Namespace) -> dict[str, Any]:
    """The checked runner configuration of a task of s3prl's own; s3prl itself reads the model YAML.

    s3prl from the registry lacks the YAMLs of its tasks, so the user has to give them.
    """
    for flag, value, name in (("-c", args.config, "runner"), ("-g", args.upstream_config, "model")):
        path = existing_or_shipped(value or f"pretrain/{args.upstream}/config_{name}.yaml")
        if not path.is_file():
            raise UserError(f"{flag}: found no file {path}, expected the {name} configuration of {args.upstream}")
    if args.upstream_config is not None:
        args.upstream_config = str(existing_or_shipped(args.upstream_config))
        read_yaml(args.upstream_config)
    if args.config is None:  # a checkout of s3prl holds one
        shipped = find_host().package / "pretrain" / args.upstream / "config_runner.yaml"
        content = read_layered_yaml(shipped) if args.overrides.keys and shipped.is_file() else {}
        return runner_for_host(args.upstream, args.overrides.apply(content), "-o") if content else {}
    source = args.config = str(existing_or_shipped(args.config))
    return args.overrides.check(read_layered_yaml(source), lambda found: runner_for_host(args.upstream, found, source))


def _advice(overrides: Overrides, model: str) -> str:
    """How to change the keys of a model YAML that are among the overrides."""
    sections = {path: value for path, value in overrides.keys.items() if path[0] in MODEL_SECTIONS}
    shipped = shipped_folder("pretrain_configs")
    base = str(Path(model).relative_to(shipped.parent)) if Path(model).is_relative_to(shipped) else model
    content = {"base": base, **Overrides(keys=sections).apply({})}
    lines = yaml.safe_dump(content, sort_keys=False, default_flow_style=None).splitlines()
    return "\n  ".join(["write the keys into a file for -g:", *lines])


def _check(task: str, model_path: str, runner_path: str, overrides: Overrides) -> dict[str, Any]:
    """The runner configuration for the host; problems of both files and of the teacher are reported together."""
    problems: list[str] = []
    model: ModelConfig | None = None
    content: dict[str, Any] = {}
    try:
        model = read_model_config(task, model_path)
    except UserError as error:
        problems.append(str(error))
    try:
        given = read_layered_yaml(runner_path)
        content = overrides.check(given, lambda found: runner_for_host(task, found, runner_path))
    except UserError as error:
        problems.append(str(error))
    runner = from_dict(RunnerConfig, content, runner_path) if content else None
    if model is not None and runner is not None:
        lowered = "-o config.runner.total_steps with " if ("runner", "total_steps") in overrides.keys else ""
        problems += _front_end_problems(model, runner, f"{lowered}{model_path}")
    if model is not None:
        try:
            check_teacher(model, model_path)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    assert model is not None and runner is not None
    torchrun.check_ranks(task, True, runner.pretrain_expert.datarc.train_batch_size)
    check_files([with_absolute_files(objective) for objective in model.objectives])
    check_data(runner, new_run_of=task)
    return content


def _front_end_problems(model: ModelConfig, runner: RunnerConfig, source: str) -> Iterator[str]:
    """A training of the front end alone that leaves no step for the student; `source` gave the numbers."""
    alone, total = model.distill.front_end_steps, runner.runner.total_steps
    if runner.runner.n_epochs <= 0 and alone >= total:
        yield (
            f"{source}: distill.front_end_steps: found {alone}, expected less than runner.total_steps {total}; after "
            "these steps, the whole student is trained"
        )


def _fill(filled: dict[str, str], flag: str, path: Path) -> str:
    filled[flag] = from_here(path)
    return str(path)


def _for_host(content: dict[str, Any], path: str) -> str:
    """A file that holds `content` without a `base`, because the host reads and copies the file as it is."""
    if content == read_yaml(path):
        return path
    scratch = tempfile.TemporaryDirectory(prefix="gendistiller-")
    atexit.register(scratch.cleanup)
    return str(launch.write_yaml(content, Path(scratch.name, Path(path).name)))


if __name__ == "__main__":
    raise SystemExit(main())
