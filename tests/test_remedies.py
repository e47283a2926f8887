"""Every remedy that a message names can be typed as it stands: flags, commands, keys, extras, modules and targets.

The sources are read for texts that a user may see. A flag must be one of every command that prints the text, unless the
text names the command before the flag. A remedy of a new form, or a flag in a file that is not listed here, fails.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib.util
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from s3prl_gendistiller.cli import downstream, parser, pretrain
from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder
from s3prl_gendistiller.student_kinds import STUDENT_KINDS
from tests.conftest import ROOT

PACKAGE = ROOT / "s3prl_gendistiller"
LAUNCHERS = ("run_pretrain.py", "run_downstream.py")
# Who prints the texts of files outside cli/ in which a flag stands without the name of its command.
PRINTED_BY = {
    "config.py": (*LAUNCHERS, "config"),
    "corpora/catalogue.py": ("corpus",),
    "corpora/recording.py": ("corpus",),
    "distill/audit.py": ("run_pretrain.py",),
    "distill/hold_out.py": ("manifest",),
    "distill/listing.py": ("manifest",),
    "distill/manifest.py": ("manifest",),
    "host/downstream_config.py": ("run_downstream.py",),
    "host/failures.py": LAUNCHERS,
    "host/feature_cache.py": ("run_downstream.py",),
    "host/compat.py": (*LAUNCHERS, "superb", "macs", "submit", "units", "demo"),
    "host/meeting.py": ("run_pretrain.py",),
    "host/mount.py": ("run_downstream.py", "superb"),
    "host/overrides.py": (*LAUNCHERS, "superb"),
    "host/pretrain_config.py": ("run_pretrain.py",),
    "host/pretrain_expert.py": ("run_pretrain.py",),
    "host/process_group.py": ("run_pretrain.py",),
    "host/random_states.py": ("run_pretrain.py",),
    "host/resume.py": LAUNCHERS,
    "host/runners.py": LAUNCHERS,
    "host/saving.py": LAUNCHERS,
    "host/shims/hub_access.py": ("run_downstream.py",),
    "host/shims/task_data.py": ("run_downstream.py",),
    "host/soft_labels.py": ("run_downstream.py",),
    "host/stored_run.py": ("run_downstream.py",),
    "host/upstream_expert.py": ("run_downstream.py",),
    "host/training_guard.py": LAUNCHERS,
    "host/runner_checks.py": ("run_downstream.py",),
    "host/teacher_units.py": ("units",),
    "host/upstream_files.py": ("run_downstream.py",),
    "host/upstreams.py": ("run_downstream.py",),
    "inference": ("extract",),
    "models/upstream.py": ("run_downstream.py",),
    "formats/headers.py": ("run_downstream.py",),
    "superb/board": ("board",),
    "superb/cluster": ("superb",),
    "superb/comparison/compared.py": ("superb",),
    "superb/corpus/lists.py": ("data",),
    "superb/corpus/make.py": ("data",),
    "superb/suite/kept_items.py": ("superb",),
    "superb/suite/language_model.py": ("superb",),
    "superb/entry/from_suite.py": ("submit",),
    "superb/suite/duration.py": ("superb",),
    "superb/suite/estimate.py": ("superb",),
    "superb/suite/forecast.py": ("superb",),
    "superb/suite/processes.py": ("superb",),
    "superb/suite/results.py": ("superb",),
    "superb/corpus/before_run.py": ("run_downstream.py",),
    "superb/suite/learning_rate_search.py": ("superb",),
    "superb/models.py": ("superb", "macs"),
    "superb/cost/counted_models.py": ("macs",),
    "superb/entry/archive.py": ("submit",),
    "superb/tasks": ("data",),
    "superb/tasks/__init__.py": ("superb", "submit", "data"),
    "superb/suite/record.py": ("superb",),
}
# cli/ files whose texts are printed by a launcher.
LAUNCHING = {
    "__init__": (),
    "launch": LAUNCHERS,
    "resume": LAUNCHERS,
    "run_folder": LAUNCHERS,
    "torchrun": ("run_pretrain.py",),
    "arguments": (),
    "pretrain": ("run_pretrain.py",),
    "pretrain_data": ("run_pretrain.py",),
    "downstream": ("run_downstream.py",),
    "downstream_flags": ("run_downstream.py",),
    "ending": ("run_downstream.py",),  # its next command
    "long_training": ("run_downstream.py",),
    "experiment": (),
    "miniature": (),
    "record": (),
    "speech_runner": ("manifest",),
    "data_archives": ("data",),
    "superb_compare": ("superb",),
    "superb_flags": ("superb",),
    "superb_cluster": ("superb",),
}
# Of other programs: what stands before a flag or in backticks.
FOREIGN_FLAGS = {"--output_dir", "--help", "--version", "-n 4096", "-m s3prl", "-m s3prl_gendistiller", "-m {module}"}
FOREIGN_FLAGS |= {"-m MODULE", "-m espnet2.bin.asr_train", "--config"}  # of python, and of what s3prl.py starts
FOREIGN_FLAGS |= {"--max-restarts", "--nproc_per_node"}  # of torchrun
FOREIGN_COMMANDS = re.compile(r"hf (auth (login|logout)|upload)|pip install flashlight-text|gendistiller (un)?link")
# Files whose texts are no messages: a model's card, how sox is called, and commands of bash that a test runs.
UNREAD = ("export/", "host/sox_effects.py", "superb/corpus/origins.py", "superb/corpus/instructions.py")
NO_COMMANDS = re.compile(r"[\w.\-+*/{}\[\]=', :]*")  # names, keys and snippets, which hold no flag
OTHER_PACKAGES = {"flashlight-text", "s3prl"}


def sources() -> Iterator[tuple[str, str]]:
    """File and text, of every text in the package that is no docstring and could be shown."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(UNREAD):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        hidden = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                hidden.add(id(node.value))
            if isinstance(node, ast.JoinedStr):
                hidden |= {id(part) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else f"{{{ast.unparse(p.value)}}}" for p in node.values)  # type: ignore[attr-defined]
                yield name, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
                yield name, node.value


TEXTS = [(name, text) for name, text in sources() if " " in text.strip()]
FLAG = re.compile(r"(?<![\w/\"'{.=-])(--[a-z][\w-]*|-[a-zA-Z](?![\w-]))(?: ([\w.]+|\{module\}))?")
PROGRAM = re.compile(r"(run_pretrain\.py|run_downstream\.py|(?<![\w-])gendistiller (?P<command>[a-z]+))")
CLAUSE = re.compile(r"\. |; |\n|, then |, or ")  # ends what a command's name holds for


@functools.cache
def flags_of(command: str) -> frozenset[str]:
    """The flags of a launcher or of a subcommand, with those of the actions below it."""
    if command in LAUNCHERS:
        made = {"run_pretrain.py": pretrain, "run_downstream.py": downstream}[command]._parser()
        return frozenset(flag for action in made._actions for flag in action.option_strings) | {"-h", "--help"}
    return frozenset(_flags(_subparsers(parser())[command]))


def _subparsers(made: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action.choices for action in made._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(found, {}))


def _flags(made: argparse.ArgumentParser) -> Iterator[str]:
    yield from (flag for action in made._actions for flag in action.option_strings)
    for below in _subparsers(made).values():
        yield from _flags(below)


def printed_by(name: str) -> tuple[str, ...] | None:
    room, _, file = name.partition("/")
    if room == "cli":
        stem = file.removesuffix(".py")
        return LAUNCHING.get(stem, (stem,))
    return PRINTED_BY.get(name, PRINTED_BY.get(name.rpartition("/")[0]))


def missing_flags(name: str, text: str) -> Iterator[str]:
    """Flags in a text that the commands that print it do not have."""
    commands = printed_by(name)
    for found in FLAG.finditer(text):
        flag, value = found[1], found[2] or ""
        if flag in FOREIGN_FLAGS or f"{flag} {value}" in FOREIGN_FLAGS:
            continue
        clause = CLAUSE.split(text[: found.start()])[-1]
        before = (match["command"] or match[1] for match in PROGRAM.finditer(clause))
        named = [command for command in before if command in (*LAUNCHERS, *_subparsers(parser()))]
        if named:
            if flag not in flags_of(named[-1]):
                yield f"{flag} of {named[-1]}"
            continue
        if commands is None:
            yield f"{flag}: say in PRINTED_BY who prints {name}"
            continue
        for command in commands:
            if flag not in flags_of(command):
                yield f"{flag} of {command}"


def test_every_flag_in_a_message_is_one_of_every_command_that_prints_it() -> None:
    wrong = [f"{name}: {text[:100]!r}: {flag}" for name, text in TEXTS for flag in missing_flags(name, text)]
    assert wrong == []


def test_every_command_in_a_message_exists() -> None:
    known = _subparsers(parser())
    wrong = []
    for name, text in TEXTS:
        for match in re.finditer(r"(?:`|run |^  )gendistiller ([a-z]+)", text, flags=re.MULTILINE):
            if match[1] not in known:
                wrong.append(f"{name}: {match[0]}")
        for span in re.findall(r"`([^`]+)`", text):
            program = span.split()[0]
            fits = (
                program in ("gendistiller", "python") or FOREIGN_COMMANDS.fullmatch(span) or NO_COMMANDS.fullmatch(span)
            )
            if not fits or (" -" in span and program not in ("gendistiller", "python")):
                wrong.append(f"{name}: `{span}` is a remedy of a form that no test tries")
    assert wrong == []


def _keys(cls: Any, above: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield f"{above}{field.name}"
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _keys(hints[field.name], f"{above}{field.name}.")


def _tree(content: Any, above: str = "") -> Iterator[str]:
    for key, value in content.items() if isinstance(content, dict) else ():
        yield f"{above}{key}"
        yield from _tree(value, f"{above}{key}.")


@functools.cache
def known_keys() -> frozenset[str]:
    """Full keys of the runner and of the shipped downstream configurations."""
    files = shipped_folder("downstream_runs").glob("*/*.yaml")
    return frozenset(_keys(RunnerConfig)) | {key for file in files for key in _tree(read_layered_yaml(file))}


def test_every_key_in_a_message_exists() -> None:
    models = {key for kind in STUDENT_KINDS.values() for key in _keys(kind.config)}
    wrong = []
    for name, text in TEXTS:
        for key in re.findall(r"-o config\.([\w.]+)=", text):
            wrong += [f"{name}: config.{key}"] if key != "KEY" and key not in known_keys() else []
        words = re.sub(r"\{[^{}]*\}", "", text)
        for key in re.findall(r"\b((?:pretrain_expert|teacher|distill|student)\.[a-z_]+(?:\.[a-z_]+)*)\b", words):
            wrong += [f"{name}: {key}"] if key not in known_keys() | models and not key.endswith(".py") else []
    assert wrong == []


def test_everything_that_is_to_be_installed_exists() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    wrong = []
    for name, text in TEXTS:
        for extra in re.findall(r"s3prl-gendistiller\[([\w,]+)\]", text):
            wrong += [f"{name}: {part}" for part in extra.split(",") if f'"{part}"' not in setup]
        for package in re.findall(r"pip install (?:-\w \S+ )?([\w-]+)", text):
            wrong += [f"{name}: {package}"] if package not in OTHER_PACKAGES | {"s3prl-gendistiller"} else []
        for module in re.findall(r"python -m ([\w.]+)", text):
            wrong += [f"{name}: {module}"] if importlib.util.find_spec(module) is None else []
        for target in re.findall(r"`make ([a-z-]+)", text):
            wrong += (
                [f"{name}: make {target}"]
                if not re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
                else []
            )
    assert wrong == []


@pytest.mark.parametrize("family", ["hubert", "wav2vec2", "data2vec", "multires_hubert", "wav2vec", "vq_wav2vec"])
def test_s3prls_converters_take_what_our_message_gives_them(family: str) -> None:
    """They need fairseq to do anything, so that only their arguments can be tried."""
    spec = importlib.util.find_spec(f"s3prl.upstream.{family}.convert")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert '"fairseq_ckpt"' in source and '"--output_dir"' in source


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("distill/manifest.py", "repair them or pass --skip-bda"),
        ("cli/curves.py", "give another --in"),
        ("host/new.py", "give --out"),
        ("cli/curves.py", "run_pretrain.py --skip-bad does it"),
    ],
)
def test_a_flag_that_nobody_has_is_found(name: str, text: str) -> None:
    assert list(missing_flags(name, text))


def test_yaml_is_read_as_the_keys_say() -> None:
    assert "pretrain_expert.datarc.skip_bad" in known_keys() and yaml.safe_load("True") is True
