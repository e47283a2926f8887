"""Checks of upstream, checkpoint and layer: before s3prl's Runner is started, and around its methods (see `mount`)."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import torch

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.feature_cache import listed_states
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.host.upstream_files import check_file, count_states
from s3prl_gendistiller.host.upstreams import (
    LAUNCHER,
    NEEDS_CHECKPOINT,
    Door,
    building,
    expert_class,
    family_of,
    is_ours,
    parameters_of,
    reads_checkpoint,
    require_upstream,
    upstreams,
)


def check_upstream(
    name: str, checkpoint: str | None, settings: str | None = None, door: Door = LAUNCHER, *, goes_on: bool = False
) -> None:
    """Refuses an upstream that s3prl's Runner cannot build; nothing is built or downloaded.

    Args:
        name: entry of s3prl.hub.
        checkpoint: path or address for the upstream, if any.
        settings: model configuration for the upstream (``-g``), if any.
        goes_on: the upstream belongs to a run that goes on; a checkpoint that is not read does no harm there.

    Raises:
        UserError: there is no such upstream, the Runner cannot use it, the upstream does not read `checkpoint` or
            `settings` or needs one of them, or the checkpoint is of another kind.
    """
    require_upstream(name, door)
    _check_fit_for_runner(name, door)
    if checkpoint is not None and not reads_checkpoint(name) and not goes_on:
        local = f"{family_of(name)}_local"
        instead = f", or {door.choose.format(local)}" if local in upstreams() and reads_checkpoint(local) else ""
        raise UserError(
            f"{door.checkpoint}: found {checkpoint} with {door.upstream} {name}, which does not read it; leave it "
            f"out{instead}"
        )
    if settings is not None and not _reads_settings(name):
        raise UserError(f"-g: found {settings!r} with {door.upstream} {name}, which does not read it; leave it out")
    if checkpoint is None and reads_checkpoint(name) and name != "customized_upstream":
        raise UserError(f"{door.checkpoint}: missing; expected a checkpoint's path, because {name} has none of its own")
    if settings is None and not goes_on and _requires_settings(name):
        raise UserError(f"-g: missing; expected the YAML file that {door.upstream} {name} reads")
    if settings is not None and not is_ours(name) and not os.path.isfile(settings):
        raise UserError(f"-g {settings}: no such file; expected the YAML file that {name} reads")
    if checkpoint is not None and reads_checkpoint(name):
        check_file(name, checkpoint, door)


def check_layer(name: str, checkpoint: str | None, steps: int | None, layer: int | None) -> None:
    """Checks ``-l`` for a checkpoint that states the number of hidden states; `selecting` checks all other upstreams.

    `steps` is the number of layers that a GenDistiller generates; None for all.
    """
    states = None if layer is None else count_states(name, checkpoint, steps)
    if states is not None:
        _require_layer(layer, states, name)


def built(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`Runner._get_upstream` that checks the checkpoint first and turns a failure into one message."""

    @functools.wraps(stock)
    def build(runner: Any) -> Any:
        if getattr(runner.args, "from_hf_hub", False):
            return stock(runner)
        name, checkpoint = runner.args.upstream, runner.args.upstream_ckpt
        if checkpoint is not None and reads_checkpoint(name):
            check_file(name, checkpoint, LAUNCHER)
        with building(name, checkpoint):
            return stock(runner)

    return build


def selecting(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`Runner._get_featurizer` that refuses a selection (``-s``, ``-l``) which s3prl would replace, drop or fail on."""

    @functools.wraps(stock)
    def select(runner: Any) -> Any:
        args = runner.args
        asked = args.upstream_layer_selection is not None or args.upstream_feature_normalize
        if asked or args.upstream_feature_selection != "hidden_states":
            _check_selection(runner.upstream.model, args)
        return stock(runner)

    return select


def _check_selection(upstream: Any, args: Any) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        found = upstream.eval()([torch.randn(SAMPLE_RATE).to(args.device)])
    key, layer = args.upstream_feature_selection, args.upstream_layer_selection
    if key not in found:
        raise UserError(f"-s: found {key}, expected one of {', '.join(found)}, which {args.upstream} gives")
    states = len(listed_states(found[key]))
    if args.upstream_feature_normalize and states == 1:
        raise UserError(
            f"--upstream_feature_normalize: found with one state alone ({key}), which s3prl leaves as it is"
        )
    _require_layer(layer, states, args.upstream)


def _require_layer(layer: int | None, states: int, name: str) -> None:
    if layer is not None and not -states <= layer < states:
        raise UserError(
            f"-l: found {layer}, expected 0..{states - 1}, of the {states} hidden states of {name}, or -1 for the last"
        )


def _requires_settings(name: str) -> bool:
    given = inspect.signature(getattr(mount.mount_hub(), name)).parameters.get("model_config")
    return given is not None and given.default is inspect.Parameter.empty


def _reads_settings(name: str) -> bool:
    """Whether an upstream reads ``-g``; the baselines under their own names and pase_plus overwrite it."""
    if family_of(name) in ("baseline", "pase") and not name.endswith(NEEDS_CHECKPOINT):
        return False
    return "model_config" in parameters_of(name)


def _check_fit_for_runner(name: str, door: Door) -> None:
    """Refuses an upstream without ckpt or `get_downsample_rates`, which s3prl's Runner uses with every upstream."""
    expert = expert_class(name)
    if expert is None:
        return
    parameters = inspect.signature(expert.__init__).parameters.values()
    swallows = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    if not swallows and "ckpt" not in {parameter.name for parameter in parameters}:
        lack = "has no parameter ckpt, which s3prl always passes"
    elif not hasattr(expert, "get_downsample_rates"):
        lack = "has no get_downsample_rates, so its frame rate is unknown"
    else:
        return
    raise UserError(
        f"{door.upstream}: found {name}, which s3prl {find_host().version} offers and its Runner cannot use: it "
        f"{lack}; choose another upstream, such as fbank"
    )
