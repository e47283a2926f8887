"""What `-o` may change of a run that goes on: each change takes effect, or is refused before anything is loaded."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint, student_kind
from s3prl_gendistiller.host.overrides import OVERRIDE_SEPARATOR, apply_overrides
from s3prl_gendistiller.host.students import check_size
from s3prl_gendistiller.schema import from_dict
from s3prl_gendistiller.student_kinds import kind_of_weights, read_model_config

ANOTHER = "leave it out, or begin another run with -n"
ARGUMENTS = ("device", "expdir", "multi_gpu")
"""Those that pretraining reads after a checkpoint's have replaced the command's; a seed orders the whole run's data."""
HEAD = ("modelrc", "model", "text")


def check_changes(checkpoint: Path, asked: str | None) -> None:
    """
    Args:
        checkpoint: that training goes on with, of either Runner.
        asked: ``-o`` of the command.

    Raises:
        UserError: names each change that cannot be made.
    """
    stored = read_checkpoint(checkpoint, mmap=True)
    check_sections(stored, checkpoint)
    before: dict[str, Any] = stored["Config"]
    after = apply_overrides(before, asked)
    if kind_of_weights(stored) is not None:
        kind = student_kind(stored, checkpoint)
        check_size(read_model_config(kind.name, stored["Upstream_Config"]).student, stored[kind.weights], checkpoint)
        sections = {field.name for field in dataclasses.fields(RunnerConfig)}  # a baseline's Config holds more
        content = {name: value for name, value in after.items() if name in sections or name not in before}
        from_dict(RunnerConfig, content, f"{checkpoint} with -o")
    if not asked:
        return
    problems = [*_loop_problems(before, after, stored["Step"]), *_optimizer_problems(before, after)]
    if "Downstream" in stored:
        old, new = (config.get("downstream_expert", {}) for config in (before, after))
        problems += [
            f"config.downstream_expert.{part}: the head was made with it; {ANOTHER}"
            for part in HEAD
            if old.get(part) != new.get(part)
        ]
    else:
        problems += [
            f"args.{name}: a run that goes on takes it from its checkpoint; {ANOTHER}"
            for name in _arguments(asked)
            if name not in ARGUMENTS
        ]
    if problems:
        raise UserError("\n  ".join([f"-o cannot be applied to {checkpoint}:", *problems]))


def check_sections(stored: Mapping[str, Any], checkpoint: Path) -> None:
    """
    Raises:
        UserError: the configuration of a downstream run lacks a section that every one has.
    """
    sections = ("runner", "optimizer", "downstream_expert") if "Downstream" in stored else ()
    missing = [name for name in sections if not isinstance(stored["Config"].get(name), dict)]
    if missing:
        raise UserError(
            f"{checkpoint}: found no section {', '.join(missing)} in its Config, expected those of run_downstream.py; "
            "use another file"
        )


def _loop_problems(before: Mapping[str, Any], after: Mapping[str, Any], step: int) -> Iterator[str]:
    old, new = before.get("runner", {}), after.get("runner", {})
    changed = old.get("total_steps") != new.get("total_steps")
    epochs = new.get("n_epochs", -1)
    if step >= old.get("total_steps", step + 1) and not changed and epochs <= old.get("n_epochs", -1):
        longer = f"n_epochs above {epochs}" if epochs > 0 else f"total_steps above {step}"
        yield f"the run is finished, at step {step}, and would not be changed; add config.runner.{longer}"
    if new.get("n_epochs", -1) > 0 and changed:
        yield f"config.runner.total_steps: the run counts {new['n_epochs']} epochs; change config.runner.n_epochs"
    elif changed and new["total_steps"] < step:
        yield f"config.runner.total_steps: found {new['total_steps']}, but step {step} is done; give more"
    if after.get("scheduler") and not before.get("scheduler"):
        yield f"config.scheduler: the run began without one; {ANOTHER}"


def _optimizer_problems(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Another optimiser has no use for the stored momentum; and some take keys that they do not look at."""
    old, new = before.get("optimizer", {}), after.get("optimizer", {})
    changed = [key for key in new if new[key] != old.get(key)]
    kinds = [key for key in changed if key in ("name", "torch_optim_name")]
    yield from (f"config.optimizer.{key}: the stored momentum is of {old.get(key)}; {ANOTHER}" for key in kinds)
    if not kinds:
        for key in changed:
            if _options(new) == _options({**new, key: old[key]} if key in old else _without(new, key)):
                yield f"config.optimizer.{key}: s3prl's {new['name']} does not look at it; leave it out"


def _options(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What s3prl's builder makes of a section.

    Raises:
        UserError: it makes nothing of it.
    """
    module = importlib.import_module("s3prl.optimizers")
    if not hasattr(module, f"get_{config.get('name')}"):  # the host evaluates the name
        raise UserError(f"config.optimizer.name: found {config.get('name')!r}, which s3prl does not have; {ANOTHER}")
    try:
        made = module.get_optimizer([nn.Linear(1, 1)], 100, dict(config))
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"config.optimizer: s3prl cannot build it ({error}); correct the -o") from error
    groups = [_without(group, "params") for group in made.param_groups]
    return [{name: getattr(value, "__dict__", value) for name, value in group.items()} for group in groups]


def _without(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


def _arguments(asked: str | None) -> Iterator[str]:
    for option in (asked or "").split(OVERRIDE_SEPARATOR):
        first, _, name = option.partition("=")[0].strip().partition(".")
        if first == "args":
            yield name
