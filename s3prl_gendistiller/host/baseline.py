"""DistilHuBERT (arXiv 2110.01900): s3prl's own `DistillerModel` behind the interface of our students."""

from __future__ import annotations

import contextlib
import importlib
import io
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.config_distilhubert import DistilHubertModelConfig
from s3prl_gendistiller.config_objectives import LayerwiseConfig
from s3prl_gendistiller.front_ends import STOCK, build_front_end
from s3prl_gendistiller.models.front_end import ConvFrontEnd, Front, frame_mask, num_frames
from s3prl_gendistiller.models.student import Student, StudentOutput


class LinearHeads(nn.Module):
    """One linear layer per target, without the hidden layer of s3prl's heads: the paper's 25.3 M parameters."""

    def __init__(self, width: int, num_targets: int) -> None:
        super().__init__()
        self.heads = nn.Linear(width, width * num_targets)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, N * D), the layout of the stock heads
        return self.heads(x)


class NormedProjection(nn.Linear):
    """HuBERT's projection and the LayerNorm before it in one module."""

    def __init__(self, projection: nn.Linear) -> None:
        super().__init__(projection.in_features, projection.out_features)
        self.load_state_dict(projection.state_dict())
        self.norm = nn.LayerNorm(projection.in_features)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


class DistilHubert(Student):
    """s3prl's distiller behind ``student(wavs, lengths) -> StudentOutput``.

    s3prl's `distiller_local` loads the state_dict of `distiller`, except with linear heads, a feature norm or
    another front end than HuBERT's.
    """

    ignores_padding = False  # like HuBERT, s3prl's DistillerModel normalises over the padding too

    def __init__(self, config: DistilHubertModelConfig) -> None:
        super().__init__()
        self.config = config
        module = importlib.import_module("s3prl.upstream.distiller.model")
        with contextlib.redirect_stdout(io.StringIO()):  # s3prl prints the settings, which our configuration states
            stated = self.host_config()["distiller"]
            if config.student.front_end == STOCK:
                self.distiller = _stock(module, stated)
            else:
                self.distiller = _with_front_end(module, stated, build_front_end(config.student))
        if config.student.out_layer_type == "linear":
            self.distiller.output_layer = LinearHeads(
                config.student.encoder_embed_dim, len(config.distill.target_layers)
            )
        if config.student.feature_norm:
            width = config.student.encoder_embed_dim
            # s3prl leaves the projection out where the convolutions are as wide as the layers
            inner = self.distiller.post_extract_proj or nn.Linear(width, width)
            self.distiller.post_extract_proj = NormedProjection(inner)

    @property
    def heads(self) -> nn.Module:  # type: ignore[override]
        return self.distiller.output_layer

    @property
    def stored_module(self) -> nn.Module:
        return self.distiller

    def for_use(self) -> DistilHubert:
        # fine-tuning is in train mode, where a dropped layer would be a missing hidden state; s3prl's readers need all
        self.distiller.encoder.layerdrop = 0.0
        return self

    def host_config(self) -> dict[str, Any]:
        return host_config(self.config)

    def without_heads(self, wavs: Tensor) -> object:
        lengths = torch.full((len(wavs),), wavs.shape[1])
        return self.distiller(wavs, self._wave_mask(wavs, lengths), get_hidden=True, no_pred=True)

    @property
    def cnn(self) -> nn.Module | None:
        return self.distiller.feature_extractor if self.config.student.front_end == STOCK else None

    @property
    def front(self) -> Front:
        if self.config.student.front_end != STOCK:
            return Front(self.distiller.feature_extractor)
        with torch.device("meta"):
            own = ConvFrontEnd.of(self.config.student, self.config.student.extractor_conv_feature_layers)
        # s3prl's convolutions have the same parameters in the same order; `assign` shares them
        stored = zip(own.state_dict(), self.distiller.feature_extractor.state_dict().values(), strict=True)
        own.load_state_dict(dict(stored), assign=True)
        return Front(own.train(self.training))

    def forward(
        self, wavs: Tensor, lengths: Tensor, *, steps: int | None = None, features: Tensor | None = None
    ) -> StudentOutput:
        """Hidden states of `wavs` (B, S), zero padded, whose true `lengths` (B,) are in samples.

        They are ``[projected frames, transformer layers..., predicted layers...]``, as s3prl's upstream lists them.
        `steps` is None or the number of targets, because all targets are predicted at once. `features` as of `encode`.
        """
        if steps not in (None, self.distiller.n_tasks):
            raise ValueError(f"steps: found {steps}; DistilHuBERT predicts its {self.distiller.n_tasks} layers at once")
        if features is not None:
            self.distiller.given_features = features
        _, frames, predictions, mask, layers = self.distiller(wavs, self._wave_mask(wavs, lengths), get_hidden=True)
        predicted = list(predictions.unbind(1))  # N of (B, T, D)
        return StudentOutput([frames, *layers, *predicted], mask.bool(), num_predicted=len(predicted))

    def encode(self, wavs: Tensor, lengths: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if features is not None:
            self.distiller.given_features = features
        features, real = self.distiller.forward_feature(wavs, self._wave_mask(wavs, lengths))  # (B, T, C), (B, T)
        project, encoder, mask = self.distiller.post_extract_proj, self.distiller.encoder, real.bool()
        x = features if project is None else project(features)
        x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        x = x + encoder.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        return (x if encoder.layer_norm_first else encoder.layer_norm(x)), mask

    def _wave_mask(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """(B, S), 1 = real sample, as s3prl's distiller takes it; a front end of ours takes the (B,) lengths."""
        self.distiller.lengths = lengths
        return frame_mask(lengths, wavs.shape[1], wavs.device).to(wavs.dtype)


def _stock(module: Any, stated: dict[str, Any]) -> Any:
    """s3prl's `DistillerModel` with its seven convolutions."""

    class Distiller(module.DistillerModel):
        """s3prl's model, whose attribute `given_features` (B, T, C) replaces its convolutions in the next call."""

        given_features: Tensor | None = None

        def forward_feature(self, wave: Tensor, pad_mask: Tensor) -> tuple[Tensor, Tensor]:
            features, self.given_features = self.given_features, None
            if features is None:
                features, mask = super().forward_feature(wave, pad_mask)
            else:
                mask = self.cal_pad_mask(pad_mask, features.shape[1])
            # without a projection, s3prl's encoder would overwrite padded frames in the convolutions' own output
            return features if self.post_extract_proj is not None else features.clone(), mask

        def cal_pad_mask(self, pad_mask: Tensor, max_len: int) -> Tensor:
            """s3prl's mask of the frames, without its loop over the utterances, in which a GPU waits for each."""
            return frame_mask(num_frames((pad_mask > 0).sum(1), self.conv_layers), max_len).to(pad_mask.dtype)

    return Distiller(module.DistillerConfig(stated))


def _with_front_end(module: Any, stated: dict[str, Any], front_end: Any) -> nn.Module:
    """s3prl's `DistillerModel` with another front end than its seven convolutions."""

    class Distiller(module.DistillerModel):
        lengths: Tensor | None = None  # (B,) samples of the next batch, on the CPU; None: those of the mask
        given_features: Tensor | None = None  # as of `_stock`

        def __init__(self) -> None:
            # one small convolution is built in the place of the front end
            super().__init__(module.DistillerConfig({**stated, "extractor_conv_feature_layers": "[(1, 1, 1)]"}))
            self.feature_extractor = front_end
            # s3prl leaves the projection out where both widths are equal; GenDistiller always has one
            self.post_extract_proj = nn.Linear(front_end.channels, stated["encoder_embed_dim"])

        def forward_feature(self, wave: Tensor, pad_mask: Tensor) -> tuple[Tensor, Tensor]:
            lengths = (pad_mask > 0).sum(1) if self.lengths is None else self.lengths
            features, self.given_features = self.given_features, None
            if features is None:
                features, mask = self.feature_extractor(wave, lengths)
            else:
                mask = self.feature_extractor.mask(lengths, features.shape[1], features.device)
            return features, mask.to(pad_mask.dtype)

    return Distiller()


def host_config(config: DistilHubertModelConfig) -> dict[str, Any]:
    """The configuration in the sections and spellings of s3prl's distiller, as s3prl's checkpoints store it."""
    student, layers = config.student, list(config.distill.target_layers)
    shared = ("extractor_mode", "extractor_dropout", "feature_grad_mult", "conv_pos", "conv_pos_groups")
    encoder = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")
    regular = ("activation_fn", "layer_norm_first", "dropout", "attention_dropout", "activation_dropout")
    return {
        "distiller": {
            **{name: getattr(student, name) for name in (*shared, *encoder, *regular, "encoder_layerdrop")},
            "extractor_conv_feature_layers": str([tuple(layer) for layer in student.extractor_conv_feature_layers]),
            "final_dim": student.encoder_embed_dim,
            "out_layer_type": "expand-last",
            "task_emb_type": "expand-last",
            "n_tasks": len(layers),
            "pred_layer_id": layers,
            "loss_type": "l1",
            "cosine_loss": next((o.cosine_weight for o in config.objectives if isinstance(o, LayerwiseConfig)), 0.0),
            "init_teacher_conv_layers": config.warm_start.front_end,
            "init_teacher_encoder_layers": config.warm_start.layers,
        },
        "teacher": {"model": config.teacher.upstream or config.teacher.folder, "n_layers": max(layers)},
    }
