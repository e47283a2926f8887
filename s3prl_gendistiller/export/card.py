"""The model card of a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.student_kinds import kind_of

# the tags of s3prl's own cards
_HEAD = """\
---
datasets:
- superb
tags:
- library:s3prl
- benchmark:superb
- type:model
---
"""

_USE = """\
## Use

With s3prl, which asks for an account of the hub (HF_USERNAME, HF_PASSWORD):

    python run_downstream.py -m train --hub huggingface -u ORGANISATION/{name} -d asr -n my_asr

`--upstream_model_name` can be left out: the weights are in model.safetensors. Without s3prl's runner, in this folder:

    import torch
    from expert import UpstreamExpert
    upstream = UpstreamExpert()
    upstream([torch.randn(16000), torch.randn(9000)])["hidden_states"]  # a list of (B, T, {width}), 50 frames a second

What it needs is in requirements.txt; the code beside expert.py is that of s3prl-gendistiller {version} (Apache License
2.0), which need not be installed.
"""


@dataclass(frozen=True)
class Card:
    """What is said of a student beyond its own configuration.

    Attributes:
        name: of the model.
        parameters: of what runs.
        gmacs_per_s: billions of multiply-adds per second of audio.
        utterance_seconds: of the utterance on which they were counted.
        scores: task, metric with its unit, value; in order.
        settings: with which the scores were reached.
    """

    name: str
    parameters: int
    gmacs_per_s: float
    utterance_seconds: int
    scores: Sequence[tuple[str, str, str]] = field(default=())
    settings: str = ""


def render(card: Card, config: ModelConfig, steps: int | None, version: str) -> str:
    """README.md.

    Args:
        steps: how many layers are generated unless more or fewer are asked for; None for all.
        version: of this package.
    """
    sections = [f"{_HEAD}\n# {card.name}\n", _what(config, steps), _cost(card), _scores(card)]
    use = _USE.format(name=card.name, width=config.student.encoder_embed_dim, version=version)
    return "\n".join(section for section in [*sections, use, _fewer(config)] if section)


def _what(config: ModelConfig, steps: int | None) -> str:
    stops = "" if steps is None else f" It stops after the first {steps} of them unless it is asked for more."
    return f"{config.description()}{stops}\n"


def _cost(card: Card) -> str:
    return (
        "## Cost\n\n"
        f"- {card.parameters:,} parameters\n"
        f"- {card.gmacs_per_s:.3f} G multiply-adds per second of audio, on an utterance of {card.utterance_seconds} s\n"
    )


def _scores(card: Card) -> str:
    if not card.scores:
        return ""
    rows = [f"| {task} | {metric} | {value} |" for task, metric, value in card.scores]
    return "\n".join(["## Scores", "", card.settings, "", "| task | metric | value |", "|---|---|---|", *rows, ""])


def _fewer(config: ModelConfig) -> str:
    layers = config.distill.target_layers
    if not kind_of(config).stepwise or len(layers) < 2:
        return ""
    return (
        f'It generates {len(layers)} layers; `-g "steps: 1"` stops after the first: less time, fewer hidden states.\n'
    )
