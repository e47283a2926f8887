"""Configuration of a teacher that is trained in phases on another encoder's hidden states, read strictly from YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s3prl_gendistiller.schema import key

WHISPER_LAYERS = 6


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
class PhaseConfig:
    """Steps with one objective.

    Attributes:
        guide: whose hidden states are the targets: whisper-base's encoder, or the model at the end of the phase before.
        imitate: layers whose frames, after a linear map, are regressed on the guide's layer of the same number.
        units_from: layer of the guide whose k-means clusters are the units; None for no units.
        clusters: number of units.
        predicted_from: layers whose frames predict the units. Several layers teach faster than the last alone.
        seen_weight: weight of frames that are not masked in the loss of the units; masked frames have weight 1.
        mask_probability: share of frames that would be masked if spans never overlapped; 0 masks none.
        mask_length: frames of a span.
        mel_from: layers whose frames, after a linear map, are regressed on log-mel energies of the clean speech. What
            tells speakers apart lies there, and a recogniser's hidden states lose it.
        mix_share: share of the crops in which the model hears another voice beside the one that the guide hears.
        mix_db: lowest and highest level of the one voice above the other.
        lr: highest learning rate, after a linear rise over the share `warmup` of the steps; then it falls to zero.
    """

    steps: int = key(low=1)
    guide: str = key("whisper", choices=("whisper", "self"))
    imitate: tuple[int, ...] = ()
    imitate_weight: float = key(1.0, above=0)
    units_from: int | None = key(None, low=1)
    clusters: int = key(500, low=2)
    predicted_from: tuple[int, ...] = ()
    seen_weight: float = key(1.0, low=0)
    mask_probability: float = key(0.0, low=0, high=1)
    mask_length: int = key(10, low=1)
    mel_from: tuple[int, ...] = ()
    mel_weight: float = key(1.0, above=0)
    mix_share: float = key(0.0, low=0, high=1)
    mix_db: tuple[float, float] = (3.0, 12.0)
    lr: float = key(1e-3, above=0)

    def problems(self) -> Iterator[str]:
        if not self.imitate and self.units_from is None:
            yield "imitate, units_from: found neither, expected layers to regress, or a layer whose clusters are units"
        if (self.units_from is None) != (not self.predicted_from):
            yield "units_from, predicted_from: found one of the two, expected both or neither"
        if self.units_from is not None and not self.mask_probability and not self.seen_weight:
            yield "seen_weight: found 0 with mask_probability 0, expected a loss on some frame"
        if self.mix_db[0] > self.mix_db[1]:
            yield f"mix_db: found {list(self.mix_db)}, expected the lower level first"

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers of the guide that the phase reads."""
        return tuple(sorted({*self.imitate, *(() if self.units_from is None else (self.units_from,))}))


@dataclass(frozen=True)
class PhasedRecipe:
    """The whole configuration.

    Attributes:
        batch_seconds: speech in a batch.
        crop_seconds: lengths of crops; each batch draws one of them.
        real_share: share of the crops that come from real recordings, where there are any.
        noise_share: share of the crops to which the model's input gets noise. The guide reads them without that noise.
        noise_db: lowest and highest level of the speech above that noise.
        unit_dim: width of projected frames and of the embeddings of units.
        temperature: of the cosine between frames and units.
        cluster_frames: frames that k-means is fitted on.
        precision: of the arithmetic; weights stay in float32.
    """

    phases: tuple[PhaseConfig, ...]
    shape: ShapeConfig = key(ShapeConfig())
    seed: int = key(0, low=0)
    batch_seconds: float = key(640.0, above=0)
    crop_seconds: tuple[float, ...] = (2.0, 4.0, 8.0)
    real_share: float = key(0.4, low=0, high=1)
    noise_share: float = key(0.5, low=0, high=1)
    noise_db: tuple[float, float] = (0.0, 30.0)
    unit_dim: int = key(128, low=2)
    temperature: float = key(0.1, above=0)
    warmup: float = key(0.05, low=0, high=1)
    weight_decay: float = key(0.01, low=0)
    clip_norm: float = key(5.0, above=0)
    cluster_frames: int = key(200_000, low=1000)
    precision: str = key("bfloat16", choices=("float32", "bfloat16"))
    log_step: int = key(50, low=1)
    save_step: int = key(500, low=1)

    def problems(self) -> Iterator[str]:
        if not self.phases:
            yield "phases: found none, expected at least one"
        if not self.crop_seconds or min(self.crop_seconds) < 0.5 or max(self.crop_seconds) > 30:
            yield f"crop_seconds: found {list(self.crop_seconds)}, expected lengths of 0.5 to 30 seconds"
        elif max(self.crop_seconds) > self.batch_seconds:
            yield f"crop_seconds: found {max(self.crop_seconds)}, expected at most batch_seconds {self.batch_seconds}"
        if self.noise_db[0] > self.noise_db[1]:
            yield f"noise_db: found {list(self.noise_db)}, expected the lower level first"
        for number, phase in enumerate(self.phases, 1):
            if number == 1 and phase.guide == "self":
                yield "phases 1 guide: found self, expected whisper: there is no model before the first phase"
            own, read = self.shape.num_hidden_layers, phase.layers
            highest = WHISPER_LAYERS if phase.guide == "whisper" else own
            for name, layers, limit in (
                ("imitate, predicted_from, mel_from", (*phase.imitate, *phase.predicted_from, *phase.mel_from), own),
                ("imitate, units_from", read, highest),
            ):
                wrong = sorted({layer for layer in layers if not 1 <= layer <= limit})
                if wrong:
                    yield f"phases {number} {name}: found layer {', '.join(map(str, wrong))}, expected 1 to {limit}"
