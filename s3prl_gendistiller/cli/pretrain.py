"""run_pretrain.py: s3prl's script with the tasks of this package, missing flags filled in and all input checked."""

from __future__ import annotations

import argparse
import atexit
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments, launch
from s3prl_gendistiller.cli.launch import HostCall
from s3prl_gendistiller.cli.resume import refuse_other_than_begun, resume_overrides
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.distill.objectives import check_files
from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.host.paths import speech_folders, with_absolute_files
from s3prl_gendistiller.host.pretrain_config import runner_for_host
from s3prl_gendistiller.host.resume import check_changes
from s3prl_gendistiller.host.stored_run import check_stored_pretrain
from s3prl_gendistiller.host.teacher_sizes import check_teacher
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from s3prl_gendistiller.shipped import existing_or_shipped, shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS, read_model_config

RESULTS = Path("result/pretrain")


def main(argv: Sequence[str] | None = None, host: launch.Host = mount.run_pretrain) -> int:
    """Runs the command; the exit status is 2 for a mistake in the command, a file or the data."""
    return launch.run(argv, host, _parser(), RESULTS, _complete)


def _parser() -> argparse.ArgumentParser:
    parser = launch.host_flags("run_pretrain.py")
    parser.add_argument("-g", "--upstream_config", type=arguments.text)
    parser.add_argument("--multi_gpu", action="store_true")
    return parser


def _complete(args: argparse.Namespace, device: str, checkpoint: Path | None, filled: dict[str, str]) -> HostCall:
    return _start(args, device, filled) if checkpoint is None else _resume(checkpoint, args, device, filled)


def _resume(checkpoint: Path, args: argparse.Namespace, device: str, filled: dict[str, str]) -> HostCall:
    """The call that goes on with a checkpoint, from which everything but device and folder comes."""
    states = read_checkpoint(checkpoint, mmap=True)
    begun = states["Args"]
    refuse_other_than_begun(args, {"upstream": "-u", "seed": "--seed", "multi_gpu": "--multi_gpu"}, begun, checkpoint)
    stored = {"-c": args.config, "-g": args.upstream_config}
    filled.update({flag: "from the checkpoint" for flag, value in stored.items() if value is not None})
    sections = check_stored_pretrain(states, checkpoint, args.overrides, mount.pretrain_tasks())
    if begun.upstream in STUDENT_KINDS and sections.keys() >= {"runner", "optimizer", "pretrain_expert"}:
        _check_data(from_dict(RunnerConfig, sections, f"{checkpoint}: Config"))
    check_changes(states, checkpoint, args.overrides)
    command = ["-e", str(checkpoint), "-o", resume_overrides(begun, checkpoint, args.overrides, device)]
    return HostCall(command, checkpoint.resolve().parent, read_by=states["Config"])


def _start(args: argparse.Namespace, device: str, filled: dict[str, str]) -> HostCall:
    tasks = mount.pretrain_tasks()
    if args.upstream not in tasks:
        found = "nothing" if args.upstream is None else args.upstream
        raise UserError(f"-u: found {found}, expected one of {', '.join(tasks)}")
    if args.multi_gpu and device == "cpu":
        raise UserError("--multi_gpu: found with --device cpu; leave it out, or choose cuda where there are GPUs")
    folder, command = launch.new_run(args, device, filled, RESULTS, args.upstream)
    if args.upstream in STUDENT_KINDS:
        shipped = shipped_folder("pretrain_configs") / args.upstream
        args.config = args.config or _fill(filled, "-c", shipped / "config_runner.yaml")
        args.upstream_config = args.upstream_config or _fill(filled, "-g", shipped / "config_model.yaml")
        args.config, args.upstream_config = (str(existing_or_shipped(p)) for p in (args.config, args.upstream_config))
        content = _check(args.upstream, args.upstream_config, args.config, args.overrides)
        args.upstream_config = _for_host(read_layered_yaml(args.upstream_config), args.upstream_config)
    else:
        content = _check_stock(args)
    args.config = args.config and _for_host(content, args.config)
    override = args.overrides.text() if args.config is None else Overrides(args.overrides.flags).text()
    given = {"--multi_gpu": args.multi_gpu, "-o": override, "-c": args.config, "-g": args.upstream_config}
    command += launch.given_flags(given)
    return HostCall(command, folder, read_by=content)


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
    args.config = str(existing_or_shipped(args.config))
    return runner_for_host(args.upstream, args.overrides.apply(read_layered_yaml(args.config)), args.config)


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
        content = runner_for_host(task, overrides.apply(read_layered_yaml(runner_path)), runner_path)
    except UserError as error:
        problems.append(str(error))
    runner = from_dict(RunnerConfig, content, runner_path) if content else None
    if model is not None and runner is not None:
        problems += _front_end_problems(model, runner, model_path)
    if model is not None:
        try:
            check_teacher(model, model_path)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    assert model is not None and runner is not None
    check_files([with_absolute_files(objective) for objective in model.objectives])
    _check_data(runner)
    return content


def _front_end_problems(model: ModelConfig, runner: RunnerConfig, path: str) -> Iterator[str]:
    alone, total = model.distill.front_end_steps, runner.runner.total_steps
    if runner.runner.n_epochs <= 0 and alone >= total:
        yield (
            f"{path}: distill.front_end_steps: found {alone}, expected less than runner.total_steps {total}; after "
            "these steps, the whole student is trained"
        )


def _check_data(runner: RunnerConfig) -> None:
    data = runner.pretrain_expert.datarc
    root, manifests = speech_folders(data.libri_root, data.file_path)
    missing = [name for name in (*data.sets, *data.valid_sets) if not (manifests / f"{name}.csv").is_file()]
    if missing:
        there = ", ".join(sorted(path.stem for path in manifests.glob("*.csv"))) or "no manifest"
        raise UserError(
            f"pretrain_expert.datarc.sets: {', '.join(missing)} not found in {manifests} (found {there}); "
            f"write manifests with `gendistiller manifest {root} --out {manifests}`"
        )
    if runner.runner.n_epochs > 0:
        _check_epochs(runner, root, manifests)


def _check_epochs(runner: RunnerConfig, root: str, manifests: Path) -> None:
    """Refuses log_step and save_step that a run of epochs never reaches; s3prl asserts the same after loading."""
    section, data = runner.runner, runner.pretrain_expert.datarc
    paths = [manifests / f"{name}.csv" for name in data.sets]
    utterances = len(read_manifest(paths, root, skip_bad=data.skip_bad))
    batches = math.ceil(utterances / data.train_batch_size)
    steps = section.n_epochs * batches // section.gradient_accumulate_steps
    for name in ("log_step", "save_step"):
        if getattr(section, name) >= steps:
            raise UserError(
                f"runner.{name}: found {getattr(section, name)}, expected less than {steps}, the steps of n_epochs "
                f"{section.n_epochs} over {utterances} utterances; lower it, or set n_epochs to -1 for total_steps"
            )


def _fill(filled: dict[str, str], flag: str, path: Path) -> str:
    filled[flag] = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
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
