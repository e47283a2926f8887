"""Arguments and configuration that a checkpoint holds, checked before s3prl uses them.

s3prl takes both from the checkpoint of a run that goes on: it imports modules by the names in them, evaluates some of
their texts, and writes, downloads and uploads to places that they name.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3prl_gendistiller.config_runner import RunnerConfig
from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.downstream_config import check_stored_config
from s3prl_gendistiller.host.overrides import Overrides
from s3prl_gendistiller.host.pretrain_config import StockConfig
from s3prl_gendistiller.models.upstream import read_generation
from s3prl_gendistiller.schema import check_present
from s3prl_gendistiller.schema_values import one_of, shown
from s3prl_gendistiller.student_kinds import OWN_UPSTREAMS, STUDENT_KINDS

_UPSTREAM_TEXTS = ("", "_ckpt", "_model_config", "_feature_selection", "_model_name", "_revision")
_TEXTS = "downstream downstream_variant evaluate_split expname expdir device hub cache_dir hf_hub_org"
_FLAGS = "upstream_trainable upstream_refresh upstream_feature_normalize verbose disable_cudnn multi_gpu"
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys((*(f"upstream{part}" for part in _UPSTREAM_TEXTS), *_TEXTS.split()), (str, type(None))),
    **dict.fromkeys(_FLAGS.split(), (bool,)),
    **dict.fromkeys(("seed", "upstream_layer_selection"), (int, type(None))),
}
"""Checks by the name of an argument in `Args`."""
_WORDS = {str: "text", bool: "True or False", int: "a whole number"}


def check_stored_downstream(states: Mapping[str, Any], source: str | Path, overrides: Overrides) -> None:
    """Checks a run of run_downstream.py that goes on or is evaluated, with ``-o`` of the command applied.

    UserError: a name, a type or a key in the checkpoint is wrong, or the run would do more than train and evaluate.
    """
    args, _ = _parts(states, source, overrides)
    if args.get("from_hf_hub") or args.get("hub") == "huggingface":
        raise UserError(
            f"{source}: its arguments would download code from the Hugging Face hub and run it; expected a run with an "
            "upstream of s3prl.hub. To run that code, begin a new run with -i and the flags --hub, -u and -d"
        )
    if args.get("push_to_hf_hub") and "push_to_hf_hub" not in overrides.flags:
        raise UserError(
            f"{source}: its arguments would upload the run's folder to the Hugging Face hub; add "
            "-o args.push_to_hf_hub=True to upload the folder, or -o args.push_to_hf_hub=False to keep the folder local"
        )
    if "downstream" in args:
        task = str(args["downstream"])
        overrides.check(states["Config"], lambda found: check_stored_config(task, found, f"{source}: Config"))
    check_settings(args.get("upstream"), args.get("upstream_model_config"))


def check_stored_pretrain(
    states: Mapping[str, Any], source: str | Path, overrides: Overrides, tasks: list[str]
) -> dict[str, Any]:
    """Checks a run of run_pretrain.py that goes on, as `check_stored_downstream` does.

    Returns the runner configuration with the overrides applied; ``-u`` may be one of `tasks`.
    """
    args, config = _parts(states, source, overrides)
    task = args.get("upstream")
    if task is not None and task not in tasks:
        raise UserError(f"{source}: found task {shown(task)} in it, {one_of(task, tasks)}")
    reader = RunnerConfig if task in STUDENT_KINDS else StockConfig
    overrides.check(states["Config"], lambda found: check_present(reader, _sections(found), f"{source}: Config"))
    return _sections(config)


def _sections(config: Mapping[str, Any]) -> dict[str, Any]:
    names = ("runner", "optimizer", "scheduler", "pretrain_expert")
    return {name: config[name] for name in names if name in config}


def check_settings(upstream: str | None, settings: str | None) -> None:
    """Checks ``-g``, which s3prl's upstreams read with a loader that can build any Python object.

    UserError: the file is no YAML of plain data, or no generation settings for a student of this package.
    """
    if settings is None:
        return
    if upstream in OWN_UPSTREAMS:
        read_generation(settings)
    elif os.path.exists(settings):
        read_yaml(settings)


def _parts(
    states: Mapping[str, Any], source: str | Path, overrides: Overrides
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and configuration with the overrides applied; the types of both are checked."""
    args, config = states.get("Args"), states.get("Config")
    if not isinstance(args, Namespace) or not isinstance(config, dict):
        name, part, expected = ("Config", config, dict) if isinstance(args, Namespace) else ("Args", args, Namespace)
        raise UserError(f"{source}: found {name} of type {type(part).__name__}, expected a run's {expected.__name__}")
    merged = {**vars(args), **overrides.flags}
    for name, types in _TYPES.items():
        if name in merged and not isinstance(merged[name], types):
            raise UserError(f"{source}: found {shown(merged[name])} as args.{name}, expected {_WORDS[types[0]]}")
    upstream = merged.get("upstream")
    if upstream is not None and (not upstream.isidentifier() or upstream.startswith("_")):
        raise UserError(f"{source}: found {shown(upstream)} as args.upstream, expected the name of an upstream")
    return merged, overrides.apply(config)
