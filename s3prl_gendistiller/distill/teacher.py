"""The teacher: frozen, and in eval mode whatever is asked of it.

s3prl's Runner puts a whole task into training mode; s3prl's own distiller then distils from a teacher with dropout on.
Here `train()` does nothing, and every call runs without gradient and in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.weights import weights_hash
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import FollowingGroupNorm, ignore_padding

MAX_FRAME_DIFFERENCE = 2

# (encoder, wavs (B, S), lengths (B,), highest layer asked for) -> hidden states 0..highest at least, each (B, T, D).
# The encoder is handed in, not closed over: DataParallel calls copies of it.
Encode = Callable[[nn.Module, Tensor, Tensor, int], Sequence[Tensor]]


@dataclass(frozen=True)
class EncoderLayout:
    """What a warm start must know of a teacher; None where it is not known.

    Attributes:
        heads: attention heads of a layer.
        norm_first: LayerNorm before attention and feed-forward (HuBERT Large) instead of after (Base).
        normalize: every utterance is brought to zero mean and unit variance before the CNN.
        ffn: width inside the feed-forward part.
        activation: of the feed-forward part, such as "gelu".
        extractor_mode: "default" (one GroupNorm) or "layer_norm" (one after each convolution).
        convolutions: [channels, kernel, stride] of each.
        feature_norm: a LayerNorm before the projection of the CNN's output.
        conv_pos, conv_pos_groups: kernel and groups of the positional convolution.
        position_norm: a batch norm in the positional convolution.
    """

    heads: int
    norm_first: bool
    normalize: bool
    ffn: int | None = None
    activation: str | None = None
    extractor_mode: str | None = None
    convolutions: tuple[tuple[int, int, int], ...] | None = None
    feature_norm: bool | None = None
    conv_pos: int | None = None
    conv_pos_groups: int | None = None
    position_norm: bool | None = None


class Teacher(nn.Module):
    """A speech encoder that is only listened to.

    Args:
        name: how the configuration names it, for messages.
        encoder: the module that holds the weights.
        encode: gives the encoder's hidden states in s3prl's counting: entry 0 is the input of transformer layer 1,
            entry n the output of layer n; the last one is the encoder's output.
        num_layers: transformer layers.
        width: D.
        model_type: "hubert", "wavlm", ...
        naming: whose names the weights bear, "fairseq" or "transformers"; None when they are not known.
        prefix: what stands in front of those names in the state_dict of `encoder`.
        layout: None when it is not known.
    """

    def __init__(
        self,
        name: str,
        encoder: nn.Module,
        encode: Encode,
        *,
        num_layers: int,
        width: int,
        model_type: str,
        naming: str | None,
        prefix: str = "",
        layout: EncoderLayout | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.encoder = encoder.requires_grad_(False).eval()
        self.num_layers = num_layers
        self.width = width
        self.model_type = model_type
        self.naming = naming
        self.layout = layout
        self._encode = encode
        self._prefix = prefix
        super().train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode: a teacher with dropout teaches noise."""
        return super().train(False)

    def ignore_padding(self) -> None:
        """From now on no frame depends on the padding of a batch: for a student of which that is true as well."""
        ignore_padding(self.encoder)

    @torch.no_grad()
    def forward(self, wavs: Tensor, lengths: Tensor, layers: Sequence[int]) -> Tensor:
        """
        Args:
            wavs: (B, S) float32 at 16 kHz, zero after each item's end.
            lengths: (B,) samples.
            layers: L layer numbers in s3prl's counting.

        Returns:
            (B, L, T, D) float32, with the frames of all S samples; those after an item's end mean nothing.

        Raises:
            ValueError: there is no such layer.
        """
        if not layers or min(layers) < 0 or max(layers) > self.num_layers:
            raise ValueError(f"layers: found {list(layers)}, expected some of 0..{self.num_layers} of {self.name}")
        super().train(False)  # in case somebody reached past `train` to a part of the encoder
        for module in self.encoder.modules():
            if isinstance(module, FollowingGroupNorm):
                module.lengths = lengths
        with torch.autocast(wavs.device.type, enabled=False):
            states = self._encode(self.encoder, wavs.float(), lengths, max(layers))
        return torch.stack([states[layer] for layer in layers], dim=1).float()

    def fingerprint(self) -> str:
        """Of the encoder's weights: 16 hexadecimal digits."""
        return weights_hash(self.encoder.state_dict())

    def encoder_state(self) -> Mapping[str, Tensor]:
        """The encoder's weights under the names that `naming` promises, for a warm start.

        Raises:
            UserError: their names are not known.
        """
        if self.naming is None:
            raise UserError(
                f"teacher {self.name}: its weights bear names that are not known here; expected those of fairseq or "
                "transformers. Turn warm_start off, or use a HuBERT, WavLM or wav2vec 2.0 teacher"
            )
        size = len(self._prefix)
        state = self.encoder.state_dict()
        return {name[size:]: value for name, value in state.items() if name.startswith(self._prefix)}


def trim_to_shorter(targets: Tensor, predictions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts teacher and student to the same number of frames: conversions differ by a frame (s3prl issue 331).

    Args:
        targets: (B, L, T', D_t); predictions: (B, N, T, D_s); mask: (B, T) of the student.

    Raises:
        UserError: T and T' are more than two frames apart, so the two do not share a frame rate.
    """
    ours, theirs = predictions.shape[2], targets.shape[2]
    if abs(ours - theirs) > MAX_FRAME_DIFFERENCE:
        raise UserError(
            f"teacher gives {theirs} frames where the student gives {ours}; expected at most {MAX_FRAME_DIFFERENCE} "
            "apart. Use a teacher with 50 frames a second, or change student.extractor_conv_feature_layers"
        )
    frames = min(ours, theirs)
    return targets[:, :, :frames], predictions[:, :, :frames], mask[:, :frames]
