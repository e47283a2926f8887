"""The flags of run_downstream.py, and which of them go together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from s3prl_gendistiller.cli import arguments, launch
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import soft_labels
from s3prl_gendistiller.host.downstream_config import splits
from s3prl_gendistiller.host.feature_store import CACHE_FLAG, LIMIT_FLAG
from s3prl_gendistiller.host.upstreams import family_of
from s3prl_gendistiller.superb.tasks import TASKS

_EXAMPLE = "config.runner.total_steps=1000,,config.downstream_expert.datarc.num_workers=0"
MODES = ("train", "evaluate", "inference")
HUGGINGFACE = "huggingface"
UNTRAINED = {task.downstream for task in TASKS.values() if not task.trained}
# Destination in s3prl's arguments -> flag, of the flags that are passed to s3prl unchanged.
SELECTION = {
    "upstream_feature_selection": "-s",
    "upstream_layer_selection": "-l",
    "upstream_feature_normalize": "--upstream_feature_normalize",
}
_HUB = ("upstream_model_name", "upstream_revision", "push_to_hf_hub", "hf_hub_org", "cache_dir")
_OTHERS = {"downstream_variant": "-v", "upstream_refresh": "-r"}
_OTHERS |= {name: f"--{name}" for name in ("hub", *_HUB, "verbose", "disable_cudnn")}
_PROCESSES = {"backend": "--backend", "local_rank": "--local_rank"}
_TEXTS = ["-t --evaluate_split", "-i --init_ckpt", "-d --downstream", "-k --upstream_ckpt", "--backend"]
_TEXTS += ["-g --upstream_model_config", "-s --upstream_feature_selection"]
_TEXTS += [f"--{name}" for name in _HUB]
_SWITCHES = ["-f --upstream_trainable", "-r --upstream_refresh", "--upstream_feature_normalize"]
_SWITCHES += ["--verbose", "--disable_cudnn"]
# Destination -> flag, of the flags that s3prl takes from the checkpoint of a run that goes on. Messages may differ.
BEGUN = {"upstream": "-u", "upstream_ckpt": "-k", "upstream_model_config": "-g", "upstream_trainable": "-f"}
BEGUN |= {
    "downstream": "-d",
    "seed": "--seed",
    **SELECTION,
    **{name: flag for name, flag in _OTHERS.items() if name != "verbose"},
}


class _VariantOrVerbose(argparse.Action):
    """``-v`` is s3prl's variant with a value, and ``--verbose`` without one."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> None:
        if values is None and flag != "-v":
            parser.error(f"argument {flag}: expected one argument")
        name, value = ("verbose", True) if values is None else (self.dest, values)
        setattr(namespace, name, value)


def parser() -> argparse.ArgumentParser:
    """All flags of s3prl's script and of this launcher, without defaults."""
    made = launch.host_flags("run_downstream.py")
    made.epilog = (
        "Flags of this launcher alone: --steps K lets gendistiller_local generate only its first K layers;\n"
        "--teacher RUN names the trained run on whose outputs the head of\n"
        f"-d {' | '.join(soft_labels.BASES)} is trained,\n"
        f"without labels; {CACHE_FLAG} DIR keeps the features of a frozen upstream on disk and computes each once,\n"
        f"up to {LIMIT_FLAG} SIZE (such as 50G) or until 1 GB is left on that disk; the rest is computed each time.\n"
        f"--verbose: {arguments.VERBOSE_HELP}, with s3prl's lines on the model; so does -v, if no variant follows.\n\n"
        + launch.OVERRIDES_HELP.format(example=_EXAMPLE, name="TASK")
    )
    for flags in _TEXTS:
        made.add_argument(*flags.split(), type=arguments.text)
    for flags in _SWITCHES:
        made.add_argument(*flags.split(), action="store_true")
    made.add_argument("-v", "--downstream_variant", type=arguments.text, nargs="?", action=_VariantOrVerbose)
    made.add_argument("-m", "--mode", choices=MODES)
    made.add_argument("-l", "--upstream_layer_selection", type=arguments.whole)
    made.add_argument("--hub", choices=("torch", HUGGINGFACE))
    made.add_argument("--local_rank", type=arguments.count(0))
    made.add_argument("--steps", type=arguments.whole)  # this flag and all that follow belong to this launcher
    made.add_argument("--teacher", type=arguments.text)
    made.add_argument(CACHE_FLAG, type=arguments.path)
    made.add_argument(LIMIT_FLAG, type=arguments.text)
    return made


def passed_on(args: argparse.Namespace, *, goes_on: bool) -> list[str]:
    """The flags that are passed to s3prl unchanged; a run that goes on has all but those of its process stored."""
    flags = _PROCESSES if goes_on else {**SELECTION, **_OTHERS, **_PROCESSES}
    return launch.given_flags({flag: getattr(args, name) for name, flag in flags.items()})


def check_pairs(args: argparse.Namespace, goes_on: bool) -> None:
    """Refuses a flag that has no effect together with the others, or beside a checkpoint if the run `goes_on`."""
    if goes_on:
        _alone("-i", args.init_ckpt, "-e, whose weights are loaded")
    if args.mode == "train":
        _alone("-t", args.evaluate_split, "-m train, which evaluates the splits that the configuration names")
        if args.downstream in UNTRAINED:
            raise UserError(f"-m train: found with -d {args.downstream}, which trains nothing; give -m evaluate -t dev")
    elif args.upstream_trainable and args.init_ckpt is None and not goes_on:
        raise UserError(f"-f: found with -m {args.mode}, which trains nothing; leave it out")
    if args.mode != "train" and not goes_on and args.init_ckpt is None and args.downstream not in UNTRAINED:
        raise UserError(
            f"-m {args.mode}: found without -e, so that the head of {args.downstream or 'the task'} would be an "
            "untrained one; give -e with the folder or checkpoint of a trained run"
        )
    if args.upstream_layer_selection is not None and args.upstream_feature_normalize:
        raise UserError(
            "--upstream_feature_normalize: found with -l; it acts on a weighted sum of layers, leave one out"
        )
    if args.hub == HUGGINGFACE:
        _alone("-k", args.upstream_ckpt, f"--hub {HUGGINGFACE}, which finds its own")
    elif not goes_on:
        for flag in ("upstream_model_name", "upstream_revision"):
            _belongs(f"--{flag}", getattr(args, flag), f"--hub {HUGGINGFACE}")
    _check_push(args)
    _check_processes(args)


def check_variant(variant: str | None, downstream: str, config: Mapping[str, Any]) -> None:
    """Checks ``-v``: only s3prl's emotion reads it, and only where the configuration names no fold."""
    if variant is None:
        return
    if soft_labels.stock_task(downstream) != "emotion":
        raise UserError(f"-v: found {variant} with -d {downstream}; emotion alone has variants, leave it out")
    fold = config.get("downstream_expert", {}).get("datarc", {}).get("test_fold")
    if fold not in (None, variant):
        raise UserError(
            f"-v: found {variant}, but the configuration's fold is {fold}, which s3prl takes; give "
            f"-o config.downstream_expert.datarc.test_fold='{variant}' in its place"
        )


def check_refresh(refresh: bool, upstream: str, checkpoint: str | None) -> None:
    """Refuses ``-r`` for an upstream that downloads nothing that could be fetched again."""
    downloaded = "://" in checkpoint if checkpoint is not None else family_of(upstream) not in ("baseline", "log_stft")
    if refresh and not downloaded:
        raise UserError(f"-r: found with -u {upstream}, which downloads nothing here; leave it out")


def _alone(flag: str, value: Any, beside: str) -> None:
    if value is not None:
        raise UserError(f"{flag}: found {value} beside {beside}; leave {flag} out")


def _belongs(flag: str, value: Any, other: str) -> None:
    if value is not None:
        raise UserError(f"{flag}: found {value} without {other}, to which it belongs; leave {flag} out")


def _check_push(args: argparse.Namespace) -> None:
    """Checks the flags of an upload, because s3prl would fail on a wrong flag only after the training."""
    if args.push_to_hf_hub is None:
        _belongs("--hf_hub_org", args.hf_hub_org, "--push_to_hf_hub")
        return
    if int(metadata.version("huggingface_hub").split(".")[0]) >= 1:
        raise UserError(
            "--push_to_hf_hub: found with huggingface_hub 1 or later, which has no Repository any more; run without "
            "that flag and upload the experiment folder with `hf upload`"
        )
    if args.hf_hub_org is None:
        raise UserError(
            "--push_to_hf_hub: found without --hf_hub_org; add --hf_hub_org NAME, or --hf_hub_org None for your own "
            "account"
        )


def _check_processes(args: argparse.Namespace) -> None:
    if args.local_rank is None:
        _belongs("--backend", args.backend, "--local_rank")
        return
    absent = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if absent:
        raise UserError(
            f"--local_rank: found {args.local_rank} without {', '.join(absent)} in the environment, which a launcher "
            "of several processes sets; leave it out for one process"
        )


def check_split(args: argparse.Namespace, downstream: str, config: Mapping[str, Any]) -> str:
    """The checked split or file to evaluate; s3prl's default is test."""
    asked = args.evaluate_split
    if args.mode == "inference":
        if asked is None or not Path(asked).is_file():
            raise UserError(f"-t: found {asked or 'nothing'} with -m inference, expected an audio file")
        return str(asked)
    known = splits(downstream, config)
    if known and (asked or "test") not in known:
        found = f"found {asked}" if asked else "missing (s3prl's default, test, is no split of this task)"
        raise UserError(f"-t: {found}, expected one of {', '.join(known)}, the splits of -d {downstream}")
    return asked or "test"
