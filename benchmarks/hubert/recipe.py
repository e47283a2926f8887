"""Configuration of a pretraining, read strictly from YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.schema import key


@dataclass(frozen=True)
class ShapeConfig:
    """Sizes of the encoder, named as in transformers' HubertConfig; kernels and strides of the CNN are HuBERT's."""

    hidden_size: int = key(256, low=8)
    num_hidden_layers: int = key(6, low=1)
    num_attention_heads: int = key(4, low=1)
    intermediate_size: int = key(1024, low=8)
    conv_dim: int = key(128, low=8)
    num_conv_pos_embeddings: int = key(128, low=1)
    num_conv_pos_embedding_groups: int = key(16, low=1)

    def transformers_config(self) -> dict[str, Any]:
        """Arguments of HubertConfig."""
        return {
            **dataclasses.asdict(self),
            "conv_dim": [self.conv_dim] * 7,
            # a small model that sees its speech a few times: nothing is overfitted
            **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop"), 0.0),
            **dict.fromkeys(("feat_proj_dropout", "final_dropout"), 0.0),
        }

    def problems(self) -> Iterator[str]:
        for name in ("num_attention_heads", "num_conv_pos_embedding_groups"):
            if self.hidden_size % getattr(self, name):
                yield f"shape.{name}: found {getattr(self, name)}, expected a divisor of hidden_size {self.hidden_size}"


@dataclass(frozen=True)
class RoundConfig:
    """One iteration of clustering and masked prediction.

    Attributes:
        layer: hidden state of the previous round's model whose clusters are the units; None for MFCC.
        clusters: number of units.
        lr: highest learning rate, after a linear rise over the share `warmup` of the steps; then it falls to zero.
        seen_weight: weight of the loss on frames that are not masked (1/alpha - 1 in HuBERT, where it is 0). A small
            weight trains the CNN before the model can predict from context, which a short training needs.
        mask_probability: share of frames that would be masked if spans never overlapped.
        mask_length: frames of a span. Both defaults are HuBERT's; shorter and fewer spans train faster.
        frozen_cnn: whether the CNN is kept. Its frames are then computed once for all such rounds in a row and held in
            memory in half precision (46 MB an hour for 128 channels), and steps and units take less time.
    """

    steps: int = key(low=1)
    layer: int | None = key(None, low=1)
    clusters: int = key(100, low=2)
    lr: float = key(5e-4, above=0)
    seen_weight: float = key(0.0, low=0)
    mask_probability: float = key(0.8, above=0, high=1)
    mask_length: int = key(10, low=1)
    frozen_cnn: bool = False


@dataclass(frozen=True)
class HubertRecipe:
    """The whole configuration.

    Attributes:
        initial: transformers folder of the same shape with the first round's weights; None for new weights.
        batch_seconds: speech in a batch.
        crop_seconds: longest piece of an utterance.
        unit_dim: width of projected frames and of the embeddings of units.
        temperature: of the cosine between frames and units.
        cluster_frames: frames that k-means is fitted on.
        fresh: whether each round starts from new weights, as in HuBERT, instead of the weights of the round before.
        precision: of the arithmetic; weights stay in float32.
    """

    rounds: tuple[RoundConfig, ...]
    shape: ShapeConfig = key(ShapeConfig())
    initial: str | None = None
    seed: int = key(0, low=0)
    batch_seconds: float = key(60.0, above=0)
    crop_seconds: float = key(6.0, above=0)
    unit_dim: int = key(128, low=2)
    temperature: float = key(0.1, above=0)
    warmup: float = key(0.08, low=0, high=1)
    weight_decay: float = key(0.01, low=0)
    clip_norm: float = key(10.0, above=0)
    cluster_frames: int = key(200_000, low=1000)
    fresh: bool = False
    precision: str = key("float32", choices=("float32", "bfloat16"))
    log_step: int = key(20, low=1)
    valid_step: int = key(200, low=1)
    save_step: int = key(200, low=1)

    def problems(self) -> Iterator[str]:
        if not self.rounds:
            yield "rounds: found none, expected at least one"
        for number, round_ in enumerate(self.rounds, 1):
            if number == 1 and self.initial is None:
                if round_.layer is not None:
                    yield f"rounds 1 layer: found {round_.layer}, expected null (MFCC): there is no model yet"
                if round_.frozen_cnn:
                    yield "rounds 1 frozen_cnn: found true, expected false: there is no trained CNN yet"
            if number > 1 and round_.frozen_cnn and self.fresh:
                yield f"rounds {number} frozen_cnn: found true, expected false with `fresh`: its CNN is a new one"
            if number > 1 and round_.layer is None:
                yield f"rounds {number} layer: found null, expected a layer of the model of the round before"
            if round_.layer is not None and round_.layer > self.shape.num_hidden_layers:
                yield f"rounds {number} layer: found {round_.layer}, expected 1 to {self.shape.num_hidden_layers}"
        if self.crop_seconds > self.batch_seconds:
            yield f"crop_seconds: found {self.crop_seconds}, expected at most batch_seconds {self.batch_seconds}"
