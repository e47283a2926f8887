"""An upstream of s3prl outside its launchers: to ask it what ``-l`` can choose from, and what it costs."""

from __future__ import annotations

from pathlib import Path

import torch

from s3prl_gendistiller.host.generation import generation_text
from s3prl_gendistiller.host.upstreams import building, require_upstream

SAMPLE_RATE = 16_000


def load_upstream(upstream: str, checkpoint: Path | None, steps: int | None = None) -> torch.nn.Module:
    """An upstream of s3prl in eval mode: a list of waveforms (S,) to a dictionary with `hidden_states`.

    Args:
        steps: of `gendistiller_local`, see `GenerationConfig`.

    Raises:
        UserError: there is no such upstream, or what it loads is neither here nor to be had.
    """
    entry, given = require_upstream(upstream), None if checkpoint is None else str(checkpoint)
    with building(upstream, given):
        expert: torch.nn.Module = entry(
            ckpt=given, model_config=None if steps is None else generation_text(steps), refresh=False
        )
    return expert.eval()


def count_hidden_states(upstream: str, checkpoint: Path | None, steps: int | None = None) -> int:
    """Asks the upstream with a second of noise, as s3prl's Featurizer does.

    Args:
        steps: as in `load_upstream`.

    Raises:
        UserError: there is no such upstream.
    """
    with torch.no_grad():
        return len(load_upstream(upstream, checkpoint, steps)([torch.randn(SAMPLE_RATE)])["hidden_states"])
