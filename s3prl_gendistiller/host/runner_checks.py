"""What s3prl's Runner is asked to load and to select, checked then; `mount` puts these around its methods."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import LAUNCHER, building, no_layer, reads_checkpoint


def built(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`Runner._get_upstream` that looks at a checkpoint first, and whose failures are one message."""

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
    """`Runner._get_featurizer` without a selection (``-s``, ``-l``) that s3prl would replace, drop or trip over."""

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
    states = len(found[key]) if isinstance(found[key], dict | list | tuple) else 1
    if args.upstream_feature_normalize and states == 1:
        raise UserError(
            f"--upstream_feature_normalize: found with one state alone ({key}), which s3prl leaves as it is"
        )
    if layer is not None and not -states <= layer < states:
        raise UserError(no_layer(layer, states, args.upstream))
