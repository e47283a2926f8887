"""The teacher: a frozen encoder that stays in eval mode.

s3prl's Runner puts a whole task into training mode, and s3prl's own distiller then uses a teacher with dropout. Here
`train()` has no effect, and every call runs without gradient and in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.precision import computing_in
from s3prl_gendistiller.distill.weights import weights_hash
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import UtteranceGroupNorm, num_frames
from s3prl_gendistiller.models.moments import Moments

MAX_FRAME_DIFFERENCE = 2

# (encoder, wavs (B, S), lengths (B,), highest needed layer) -> hidden states 0..highest at least, each (B, T, D).
# The encoder is an argument, because DataParallel calls copies of it.
Encode = Callable[[nn.Module, Tensor, Tensor, int], Sequence[Tensor]]


@dataclass(frozen=True)
class EncoderLayout:
    """Properties of a teacher that a warm start needs; None for unknown ones."""

    heads: int  # attention heads of a layer
    norm_first: bool  # LayerNorm before attention and feed-forward (HuBERT Large) instead of after (Base)
    normalize: bool  # every utterance is brought to zero mean and unit variance before the CNN
    ffn: int | None = None  # width inside the feed-forward part
    activation: str | None = None  # activation function of the feed-forward part, such as "gelu"
    extractor_mode: str | None = None  # "default" (one GroupNorm) or "layer_norm" (one after each convolution)
    convolutions: tuple[tuple[int, int, int], ...] | None = None  # channels, kernel, stride of each
    feature_norm: bool | None = None  # a LayerNorm before the projection of the CNN's output
    conv_pos: int | None = None  # kernel of the positional convolution
    conv_pos_groups: int | None = None  # groups of the positional convolution
    position_norm: bool | None = None  # a batch norm in the positional convolution


class SampleGroupNorm(UtteranceGroupNorm):
    """A teacher's group norm behind its convolution over samples, over each utterance's own frames alone."""

    def __init__(self, norm: nn.GroupNorm, conv: nn.Conv1d) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine)
        self.weight, self.bias = norm.weight, norm.bias
        self.shape = (conv.out_channels, conv.kernel_size[0], conv.stride[0])
        self.lengths: Tensor | None = None  # (B,) samples of the next batch, set by the caller; None for no padding

    def forward(self, x: Tensor, frames: Tensor | None = None, statistics: Moments | None = None) -> Tensor:
        """(B, C, T) -> (B, C, T), zero behind the real frames."""
        if self.lengths is not None:
            frames = num_frames(self.lengths, [self.shape]).clamp(max=x.shape[-1])
        return super().forward(x, frames, statistics)


class Teacher(nn.Module):
    """A frozen speech encoder.

    Args:
        name: the teacher's name in the configuration, for messages.
        encoder: the module that holds the weights.
        encode: gives the encoder's hidden states in s3prl's counting: entry 0 is the input of transformer layer 1,
            entry n the output of layer n; the last one is the encoder's output.
        num_layers: transformer layers.
        width: D.
        model_type: "hubert", "wavlm", ...
        naming: library whose names the weights have, "fairseq" or "transformers"; None for unknown names.
        prefix: beginning of those names in the state_dict of `encoder`.
        layout: the encoder's layout; None if it is unknown.
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
        self.dtype = torch.float32  # in which it computes, see `precision`
        self._cnn = ""  # name of the CNN in `encoder`, if its features are kept
        super().train(False)

    def train(self, mode: bool = True) -> Teacher:
        """No effect: with dropout, the targets would be noisy."""
        return super().train(False)

    def ignore_padding(self) -> None:
        """Makes every frame independent of the padding of its batch, for students whose frames are independent of it.

        The group norm of a HuBERT Base is replaced in place, under the names of its weights. Layer norms stay.
        """
        for parent in list(self.encoder.modules()):
            children = dict(parent.named_children())
            conv = next((child for child in children.values() if isinstance(child, nn.Conv1d)), None)
            if conv is None or conv.in_channels != 1:  # only the convolution over samples
                continue
            for name, norm in children.items():
                if isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels:
                    setattr(parent, name, SampleGroupNorm(norm, conv).train(norm.training))

    def keep_features(self) -> None:
        """Lets `with_features` and `features` give the features of the CNN; a UserError if the CNN is not found."""
        name = f"{self._prefix}feature_extractor"
        found = dict(self.encoder.named_modules()).get(name)
        if found is None:
            raise UserError(
                f"distill.share_front_end: found true, expected false; the CNN of teacher {self.name} is not known"
            )
        if not self._cnn:
            found.register_forward_hook(_keep_output)
        self._cnn = name

    def with_features(self, wavs: Tensor, lengths: Tensor, layers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The result of `forward` (B, L, T, D), and the features (B, T, C) that the CNN gave in the same pass.

        Both are float32. The features are zero in frames that the teacher lacks.
        """
        states = self(wavs, lengths, layers)
        cnn = self.encoder.get_submodule(self._cnn)
        features: Tensor = cnn.kept_features.float().transpose(1, 2)  # type: ignore[operator]
        del cnn.kept_features
        return states, nn.functional.pad(features, (0, 0, 0, max(0, states.shape[2] - features.shape[1])))

    def features(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """The features (B, T, C) alone, equal to those of `with_features`; the first layer at most runs beside."""
        return self.with_features(wavs, lengths, [0])[1]

    @torch.no_grad()
    def forward(self, wavs: Tensor, lengths: Tensor, layers: Sequence[int]) -> Tensor:
        """Hidden states of the teacher.

        Args:
            wavs: (B, S) float32 at 16 kHz, zero after each item's end.
            lengths: (B,) samples.
            layers: L layer numbers in s3prl's counting.

        Returns:
            (B, L, T, D) float32, with the frames of all S samples; frames after an item's end have no meaning.

        Raises:
            ValueError: the teacher has no such layer.
        """
        if not layers or min(layers) < 0 or max(layers) > self.num_layers:
            raise ValueError(f"layers: found {list(layers)}, expected some of 0..{self.num_layers} of {self.name}")
        super().train(False)  # a caller may have set a part of the encoder to training
        for module in self.encoder.modules():
            if isinstance(module, SampleGroupNorm):
                module.lengths = lengths
        with computing_in(self.dtype, wavs.device):
            states = self._encode(self.encoder, wavs.float(), lengths, max(layers))
        return torch.stack([states[layer] for layer in layers], dim=1).float()

    def fingerprint(self) -> str:
        """Hash of the encoder's weights: 16 hexadecimal digits."""
        return weights_hash(self.encoder.state_dict())

    def encoder_state(self) -> Mapping[str, Tensor]:
        """The encoder's weights under the names of `naming`, for a warm start; a UserError for unknown names."""
        if self.naming is None:
            raise UserError(
                f"teacher {self.name}: its weights have unknown names; expected those of fairseq or "
                "transformers. Turn warm_start off, or use a HuBERT, WavLM or wav2vec 2.0 teacher"
            )
        size = len(self._prefix)
        state = self.encoder.state_dict()
        return {name[size:]: value for name, value in state.items() if name.startswith(self._prefix)}


def _keep_output(cnn: nn.Module, _: object, output: Tensor) -> None:
    """A forward hook that keeps (B, C, T) on the module itself, so that each replica of DataParallel has its own."""
    cnn.kept_features = output


def common_frames(theirs: Tensor, ours: Tensor, remedy: str) -> Tensor:
    """Frames that teacher and student both have: their counts may differ by a frame or two (s3prl issue 331).

    Args:
        theirs, ours: (B,) frames that the teacher and the student give for each utterance.
        remedy: advice in the message.

    Returns:
        (B,) the smaller counts.

    Raises:
        UserError: the counts of an utterance are more than `MAX_FRAME_DIFFERENCE` apart, as at two frame rates.
    """
    worst = int((theirs - ours).abs().argmax())
    if abs(int(theirs[worst]) - int(ours[worst])) > MAX_FRAME_DIFFERENCE:
        raise UserError(
            f"teacher gives {int(theirs[worst])} frames where the student gives {int(ours[worst])}; expected at most "
            f"{MAX_FRAME_DIFFERENCE} apart. {remedy}"
        )
    return torch.minimum(theirs, ours)


def trim_to_shorter(targets: Tensor, predictions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts teacher (B, L, T', D_t), student (B, N, T, D_s) and its mask (B, T) to `common_frames`, with its error."""
    theirs, ours = torch.tensor([targets.shape[2]]), torch.tensor([predictions.shape[2]])
    remedy = "Use a teacher with 50 frames a second, or change student.extractor_conv_feature_layers"
    frames = int(common_frames(theirs, ours, remedy))
    return targets[:, :, :frames], predictions[:, :, :frames], mask[:, :frames]
