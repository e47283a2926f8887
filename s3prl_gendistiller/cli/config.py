"""`gendistiller config`: prints every key with its meaning, default and range, or checks a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.cli.keys import describe
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.host.downstream_config import EXPERTS, whole_config
from s3prl_gendistiller.host.teacher_sizes import compare
from s3prl_gendistiller.schema import from_dict, placed, read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import DEFAULT_KIND, STUDENT_KINDS
from s3prl_gendistiller.superb.tasks import TASKS

CONFIGURATIONS: dict[str, type] = {name: kind.config for name, kind in STUDENT_KINDS.items()}
CONFIGURATIONS |= {"runner": RunnerConfig, **{name: whole_config(name) for name in EXPERTS}}

_DESCRIPTION = """\
Print the keys of a model YAML (gendistiller, distilhubert), of a runner YAML (runner) or of a YAML of run_downstream.py
(by the name of its task), each with its meaning, default and range. The values are those of the shipped file. With
--check, check a file and report all problems of it; a model YAML is also compared with its teacher, as far as the
teacher's sizes are known without its weights."""

_EXAMPLE = """\
example: gendistiller config gendistiller
         gendistiller config gendistiller --check my_model.yaml
         gendistiller config runner --check my_runner.yaml
         gendistiller config asr --check my_asr.yaml"""


def add_parser(subparsers: Any) -> None:
    about = "print every configuration key and its meaning, or check a file"
    add = arguments.add_command(subparsers, "config", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("name", choices=tuple(CONFIGURATIONS))
    add("--check", metavar="FILE", type=arguments.text, help="the YAML file to check")


def run(args: argparse.Namespace) -> int:
    if args.check is None:
        first, *others = recipes(args.name)
        folder = first.resolve().parent
        # the text may be saved in another folder
        content = placed(read_layered_yaml(first), str(folder))
        print(f"# The values are those of {_name(first)}. A file of your own that begins with")
        print(f"#   base: {_name(first)}\n# states only the keys that differ.")
        if others:
            print(f"# Other files of the same task: {', '.join(map(_name, others))}.")
        print("\n".join(describe(CONFIGURATIONS[args.name], content)))
    else:
        config: Any = from_dict(CONFIGURATIONS[args.name], read_layered_yaml(args.check), args.check)
        lines = compare(config, args.check) if isinstance(config, ModelConfig) else []
        print("\n  ".join([f"{args.check}: a valid {args.name} configuration", *lines]))
    return 0


def recipes(name: str) -> list[Path]:
    """The shipped files at full size of one of `CONFIGURATIONS`."""
    if name in EXPERTS:
        files = {task.config("official") for task in TASKS.values() if task.downstream == name}
        return [shipped_folder("downstream_runs") / file for file in sorted(files)]
    folder = shipped_folder("pretrain_configs")
    return [
        folder / name / "config_model.yaml" if name in STUDENT_KINDS else folder / DEFAULT_KIND / "config_runner.yaml"
    ]


def _name(path: Path) -> str:
    """The name by which a shipped file is found from any folder."""
    return "/".join(path.parts[-3:])
