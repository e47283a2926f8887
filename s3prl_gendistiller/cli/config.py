"""`gendistiller config`: prints every key with its default and range, or checks a file."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

from s3prl_gendistiller.cli import arguments
from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.host.downstream_config import EXPERTS, whole_config
from s3prl_gendistiller.host.teacher_sizes import compare
from s3prl_gendistiller.schema import Variants, from_dict, read_layered_yaml
from s3prl_gendistiller.student_kinds import STUDENT_KINDS

CONFIGURATIONS: dict[str, type] = {name: kind.config for name, kind in STUDENT_KINDS.items()}
CONFIGURATIONS |= {"runner": RunnerConfig, **{name: whole_config(name) for name in EXPERTS}}

_DESCRIPTION = """\
Print the keys of a model YAML (gendistiller, distilhubert), of a runner YAML (runner) or of a YAML of run_downstream.py
(by the name of its task), with defaults and ranges, or check a file and report all problems of it. A model YAML is also
compared with its teacher, as far as the teacher's sizes are known without its weights."""

_EXAMPLE = """\
example: gendistiller config gendistiller
         gendistiller config gendistiller --check my_model.yaml
         gendistiller config runner --check my_runner.yaml
         gendistiller config asr --check my_asr.yaml"""


def add_parser(subparsers: Any) -> None:
    about = "print every configuration key, or check a file"
    add = arguments.add_command(subparsers, "config", run, about, _DESCRIPTION, _EXAMPLE).add_argument
    add("name", choices=tuple(CONFIGURATIONS))
    add("--check", metavar="FILE", type=arguments.text, help="the YAML file to check")


def run(args: argparse.Namespace) -> int:
    if args.check is None:
        print("\n".join(describe(CONFIGURATIONS[args.name])))
    else:
        config: Any = from_dict(CONFIGURATIONS[args.name], read_layered_yaml(args.check), args.check)
        lines = compare(config, args.check) if isinstance(config, ModelConfig) else []
        print("\n  ".join([f"{args.check}: a valid {args.name} configuration", *lines]))
    return 0


def describe(cls: Any, indent: str = "") -> Iterator[str]:
    """The keys of a configuration dataclass as YAML lines, ranges as comments."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield f"{indent}{field.name}:"
            yield from describe(hint, indent + "  ")
        elif "variants" in field.metadata and typing.get_origin(hint) is tuple:
            yield f"{indent}{field.name}:"
            given = {type(entry) for entry in typing.cast(tuple, field.default)}
            for reader in field.metadata["variants"].of.values():
                mark = "" if reader in given else "# "  # comments show the entries that are not in the default list
                first, *rest = describe(reader)
                yield f"{indent}  {mark}- {first}"
                yield from (f"{indent}  {mark}  {line}" for line in rest)
        elif "variants" in field.metadata:
            variants, is_optional = field.metadata["variants"], "optional" in field.metadata
            yield f"{indent}{field.name}:" + (" null" if is_optional else "")
            yield from _describe_variants(variants, indent + "  ", "" if is_optional else next(iter(variants.of)))
        else:
            comment = f"  # {_comment(field)}" if _comment(field) else ""
            yield f"{indent}{field.metadata.get('spelt', field.name)}: {_default(field)}{comment}"


def _describe_variants(variants: Variants, indent: str, given: str, before: str = "") -> Iterator[str]:
    """The keys of the section named `given`, and one comment for each other section that is possible there."""
    for name, reader in variants.of.items():
        if isinstance(reader, Variants):
            yield from _describe_variants(reader, indent, given, f"{variants.by}: {name}, ")
        elif name == given:
            yield f"{indent}{variants.by}: {name}"
            yield from (f"{indent}{line}" for line in describe(reader) if not line.startswith(f"{variants.by}:"))
        else:
            keys = [field.name for field in dataclasses.fields(reader) if field.name not in ("name", variants.by)]
            yield f"{indent}# {before}{variants.by}: {name}, with {', '.join(keys)}"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "{}" if field.default_factory is not dataclasses.MISSING else "???"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, tuple):
        return str([list(item) if isinstance(item, tuple) else item for item in field.default])
    return "null" if field.default is None else str(field.default) or "''"


def _comment(field: dataclasses.Field[Any]) -> str:
    parts = [] if field.default is not dataclasses.MISSING else ["required"]
    checks = field.metadata
    if "choices" in checks:
        parts.append(" | ".join(map(str, checks["choices"])))
    signs = {"low": ">=", "above": ">", "high": "<=", "below": "<"}
    parts += [f"{sign} {checks[name]:g}" for name, sign in signs.items() if name in checks]
    return ", ".join(parts)
