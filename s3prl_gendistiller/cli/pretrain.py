"""run_pretrain.py: s3prl's own script with our tasks, what was left out filled in, and its input checked first."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import launch
from s3prl_gendistiller.config import MODEL_CONFIGS, ModelConfig, RunnerConfig, read_model_config
from s3prl_gendistiller.config_objectives import GlmdConfig
from s3prl_gendistiller.distill.task import check_layers
from s3prl_gendistiller.distill.transformers_teacher import read_teacher_shape
from s3prl_gendistiller.distill.units import Units
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.host.overrides import apply_overrides
from s3prl_gendistiller.host.paths import expand, teacher_folder
from s3prl_gendistiller.host.resume import check_changes
from s3prl_gendistiller.schema import from_dict, read_layered_yaml
from s3prl_gendistiller.shipped import existing_or_shipped, shipped_folder

RESULTS = Path("result/pretrain")


def main(argv: Sequence[str] | None = None, host: launch.Host = mount.run_pretrain) -> int:
    """Exit status of the whole run; 2 for a mistake in the command, a file or the data."""
    run = functools.partial(launch.run, host=host, parser=_parser(), results=RESULTS, plan=_plan)
    return launch.guarded(run, argv)


def _plan(args: argparse.Namespace, device: str, checkpoint: Path | None, filled: dict[str, str]) -> launch.Plan:
    return _start(args, device, filled) if checkpoint is None else _resume(checkpoint, args, device, filled)


def _resume(checkpoint: Path, args: argparse.Namespace, device: str, filled: dict[str, str]) -> launch.Plan:
    """Going on with a checkpoint; everything but device and folder comes from it."""
    for flag, value in (("-c", args.config), ("-g", args.upstream_config), ("-u", args.upstream)):
        if value is not None:
            filled[flag] = "from the checkpoint"
    check_changes(checkpoint, args.override)
    command = ["-e", str(checkpoint), "-o", launch.resume_overrides(checkpoint, args.override, device)]
    return launch.Plan(command, checkpoint.resolve().parent)


def _start(args: argparse.Namespace, device: str, filled: dict[str, str]) -> launch.Plan:
    """A new run, completed and checked."""
    tasks = mount.pretrain_tasks(find_host().package)
    if args.upstream not in tasks:
        found = "nothing" if args.upstream is None else args.upstream
        raise UserError(f"-u: found {found}, expected one of {', '.join(tasks)}")
    if args.expname is None and args.expdir is None:
        args.expname = filled["-n"] = launch.free_name(RESULTS, args.upstream)
    folder = Path(args.expdir or RESULTS / args.expname).absolute()
    launch.refuse_to_overwrite(folder)
    if args.upstream in MODEL_CONFIGS:
        shipped = shipped_folder("pretrain_configs") / args.upstream
        args.config = args.config or _fill(filled, "-c", shipped / "config_runner.yaml")
        args.upstream_config = args.upstream_config or _fill(filled, "-g", shipped / "config_model.yaml")
        args.config, args.upstream_config = (str(existing_or_shipped(p)) for p in (args.config, args.upstream_config))
        _check(args.upstream, args.upstream_config, args.config, args.override)
        args.config, args.upstream_config = _plain(args.config), _plain(args.upstream_config)
    command = ["-u", args.upstream, "-n", args.expname or folder.name, "-p", str(folder), "--device", device]
    command += ["--seed", str(args.seed)] + (["--multi_gpu"] if args.multi_gpu else [])
    for flag, value in (("-o", args.override), ("-c", args.config), ("-g", args.upstream_config)):
        command += [flag, value] if value else []
    return launch.Plan(command, folder)


def _check(task: str, model_path: str, runner_path: str, overrides: str | None) -> None:
    """Reads both configurations before anything is made, and reports the problems of both together."""
    problems: list[str] = []
    model: ModelConfig | None = None
    runner: RunnerConfig | None = None
    try:
        model = read_model_config(task, model_path)
    except UserError as error:
        problems.append(str(error))
    try:
        content = apply_overrides(read_layered_yaml(runner_path), overrides)
        runner = from_dict(RunnerConfig, content, runner_path)
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    assert model is not None and runner is not None
    _check_teacher(model)
    _check_units(model)
    _check_data(runner)


def _check_teacher(model: ModelConfig) -> None:
    if model.teacher.folder is not None:
        shape = read_teacher_shape(teacher_folder(model.teacher.folder))
        check_layers(model.distill.target_layers, shape.num_layers, model.teacher.folder)


def _check_units(model: ModelConfig) -> None:
    """That of another teacher is found out when the teacher is loaded, for which its weights must be read."""
    for objective in model.objectives:
        if isinstance(objective, GlmdConfig) and objective.units is not None:
            Units.load(expand(objective.units, "objectives: glmd: units"))


def _check_data(runner: RunnerConfig) -> None:
    data = runner.pretrain_expert.datarc
    expand(data.libri_root, "pretrain_expert.datarc.libri_root")
    manifests = Path(expand(data.file_path, "pretrain_expert.datarc.file_path"))
    missing = [name for name in (*data.sets, *data.valid_sets) if not (manifests / f"{name}.csv").is_file()]
    if missing:
        there = ", ".join(sorted(path.stem for path in manifests.glob("*.csv"))) or "no manifest"
        raise UserError(
            f"pretrain_expert.datarc.sets: {', '.join(missing)} not found in {manifests} (found {there}); "
            f"write manifests with `gendistiller manifest {data.libri_root}`"
        )


def _fill(filled: dict[str, str], flag: str, path: Path) -> str:
    filled[flag] = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    return str(path)


def _plain(path: str) -> str:
    """A file that stands on its own: one with `base` is resolved, because the host reads and copies it as it is."""
    content: dict[str, Any] = read_layered_yaml(path)
    if "base:" not in Path(path).read_text(encoding="utf-8"):
        return path
    return str(launch.write_yaml(content, launch.scratch_folder() / Path(path).name))


def _parser() -> argparse.ArgumentParser:
    parser = launch.host_flags("run_pretrain.py", allow_abbrev=True)
    parser.add_argument("-g", "--upstream_config")
    parser.add_argument("--multi_gpu", action="store_true")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
