"""Building an upstream of s3prl outside the launchers, to count its hidden states and the bytes of its features."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.host.feature_cache import identity, listed_states
from s3prl_gendistiller.host.students import generation_text
from s3prl_gendistiller.host.upstream_files import check_file
from s3prl_gendistiller.host.upstreams import STUDENT, building, require_upstream


def load_upstream(upstream: str, checkpoint: Path | None, steps: int | None = None) -> torch.nn.Module:
    """An upstream of s3prl in eval mode: a list of waveforms (S,) to a dictionary with `hidden_states`.

    `steps` is the number of layers that `gendistiller_local` generates, see `GenerationConfig`. UserError: there is no
    such upstream, or its checkpoint is missing or cannot be downloaded.
    """
    entry, given = require_upstream(upstream, STUDENT), None if checkpoint is None else str(checkpoint)
    if given is not None:
        check_file(upstream, given, STUDENT)
    with building(upstream, given, STUDENT):
        expert: torch.nn.Module = entry(
            ckpt=given, model_config=None if steps is None else generation_text(steps), refresh=False
        )
    return expert.eval()


def count_hidden_states(upstream: str, checkpoint: Path | None, steps: int | None = None) -> int:
    """Number of hidden states of `load_upstream`, measured with a second of noise as s3prl's Featurizer does."""
    with torch.no_grad():
        return len(load_upstream(upstream, checkpoint, steps)([torch.randn(SAMPLE_RATE)])["hidden_states"])


class Features(NamedTuple):
    """Folder of an upstream's features in the cache, and bytes of one second of speech.

    The bytes are 0 for an upstream without weights, which is faster than a disk.
    """

    folder: str
    bytes_per_s: float


def kept_features(upstream: str, checkpoint: Path | None, steps: int | None, selection: str) -> Features:
    """Features of `load_upstream` under the entry `selection` of its output, measured with a second of noise."""
    expert: Any = load_upstream(upstream, checkpoint, steps)
    config = None if steps is None else generation_text(steps)
    folder = identity(upstream, None if checkpoint is None else str(checkpoint), config, expert)
    if not expert.state_dict():
        return Features(folder, 0.0)
    with torch.no_grad():
        layers = listed_states(expert([torch.randn(SAMPLE_RATE)])[selection])
    frame = sum(layer[0, 0].numel() * layer.element_size() for layer in layers)
    return Features(folder, frame * SAMPLE_RATE / float(expert.get_downsample_rates(selection)))
