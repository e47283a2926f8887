"""GenDistiller: one transformer layer that generates the teacher's hidden layers one after another.

Sources: arXiv 2406.09444 (autoregressive, the previous layer as history, skip connection, output layer) and 2310.13418
(attention over all earlier layers). Only the abstracts' ratios are public; this layout (HuBERT's front end, one shared
layer, one output layer, 16,993,920 parameters) is inferred from them: 82 % below WavLM Base+, 33 % below two layers
with three linear heads.

With z the front end's frames, e_n the step embedding, n = 1..N and y_0 = z; h_0 does not exist, and u_1 = z + e_1:

    u_n = form of `history_input` + e_n              (B, T, D)
    y_n = Layer(u_n)                                 (B, T, D)   the same layer at every step; with `step_norms` each
                                                                 step scales and shifts its two LayerNorms; with
                                                                 `history: all` it attends to u_1..u_n
    h_n = W y_n + form of `skip_connection`          (B, T, D)   generates teacher layer target_layers[n]

The tables of both forms stand in `forms.py`. The layers of the student are h_n; with `exposed_layer: hidden` they are
y_n, normalised in a pre-norm student, and W serves training and the history alone. `predicted_from` adds heads on y_N.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from s3prl_gendistiller.config_gendistiller import GenDistillerConfig, GenDistillerModelConfig
from s3prl_gendistiller.forms import HISTORY_INPUTS, SKIP_CONNECTIONS
from s3prl_gendistiller.front_ends import build_front_end
from s3prl_gendistiller.models.attention import KeyValues
from s3prl_gendistiller.models.encoder_layer import EncoderLayer
from s3prl_gendistiller.models.exporting import is_exporting
from s3prl_gendistiller.models.feedback import history_of_step
from s3prl_gendistiller.models.front_end import ConvFrontEnd, ConvPosition, Front
from s3prl_gendistiller.models.output_layer import build_heads, build_output
from s3prl_gendistiller.models.student import Student, StudentOutput


def build(config: GenDistillerModelConfig) -> GenDistiller:
    return GenDistiller(config.student, len(config.distill.target_layers))


class GenDistiller(Student):
    """The student.

    Args:
        config: the student's architecture and ablation switches.
        num_steps: N, the number of teacher layers to generate.
    """

    def __init__(self, config: GenDistillerConfig, num_steps: int) -> None:
        super().__init__()
        self.config = config
        form = HISTORY_INPUTS[config.history_input]
        self.num_steps = num_steps
        width = config.encoder_embed_dim
        self.front_end = build_front_end(config)
        channels = self.front_end.channels
        self.feature_norm = nn.LayerNorm(channels) if config.feature_norm else None
        self.feature_projection = nn.Linear(channels, width)
        self.position = ConvPosition(width, kernel=config.conv_pos, groups=config.conv_pos_groups)
        self.encoder_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.layer = EncoderLayer(
            width,
            config.encoder_ffn_embed_dim,
            config.encoder_attention_heads,
            activation=config.activation_fn,
            norm_first=config.layer_norm_first,
            position_bias=config.position_bias,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            recomputed=config.gradient_checkpointing,
        )
        self.output = build_output(config)
        self.step_embedding = nn.Embedding(num_steps, width) if config.step_embedding else None
        if self.step_embedding is not None:
            nn.init.normal_(self.step_embedding.weight, std=0.02)
        self.step_norms = nn.Parameter(torch.zeros(num_steps, 2, 2, width)) if config.step_norms else None
        projects = form.widths > 0 and num_steps > 1
        self.history_norm = nn.LayerNorm(width) if projects else None
        self.history_projection = nn.Linear(form.widths * width, width) if projects else None
        if self.history_projection is not None and config.history_init == "zero":
            nn.init.zeros_(self.history_projection.weight)
            nn.init.zeros_(self.history_projection.bias)
            if form.widths > 1:
                nn.init.eye_(self.history_projection.weight[:, :width])  # at first the projection returns z unchanged
        self._predicts = True  # False in use, where the generated layers are no hidden states
        # these are drawn last, so that all other parts start as in a student without them
        self.last_heads = build_heads(config, num_steps)

    def forward(
        self,
        wavs: Tensor,
        lengths: Tensor,
        *,
        steps: int | None = None,
        teacher_layers: Tensor | None = None,
        teacher_probability: float = 1.0,
        features: Tensor | None = None,
    ) -> StudentOutput:
        """Generates the first `steps` layers.

        Args:
            wavs: (B, S) samples at 16 kHz, zero after each item's end.
            lengths: (B,) samples, on the CPU: a GPU is awaited for lengths that are elsewhere.
            steps: k <= N; all N when None.
            teacher_layers: (B, N, T', D) with T' within two frames of T, the teacher's target layers, which replace
                generated layers as history. None: free running.
            teacher_probability: probability of that replacement for each utterance and step (scheduled feedback).
            features: as of `encode`.

        Returns:
            hidden states ``[z, h_1, ..., h_k]``; with `exposed_layer: hidden` ``[z, y_1, ..., y_k]``.

        Raises:
            ValueError: `steps` is outside 1..N, or an utterance is shorter than one frame.
        """
        steps = self.num_steps if steps is None else steps
        if not 1 <= steps <= self.num_steps:
            raise ValueError(f"steps: found {steps}, expected 1..{self.num_steps}, the layers this student generates")
        z, mask = self.encode(wavs, lengths, features)  # (B, T, D), (B, T)
        attended = mask if is_exporting() or int(self.front_end.frames(lengths).min()) < z.shape[1] else None
        if teacher_layers is not None and self._known_ahead(z, teacher_layers, teacher_probability):
            states, generated = self._all_at_once(z, attended, teacher_layers, steps)
        else:
            states, generated = self._one_by_one(z, attended, teacher_layers, teacher_probability, steps)
        if self.config.exposed_layer == "generated":
            return StudentOutput([z, *generated], mask, num_predicted=steps)
        sets = [generated] if self._predicts and self.config.predicts_each_step else []
        if self.last_heads is not None:
            sets.append([head(states[-1]) for head in self.last_heads[:steps]])
        return StudentOutput([z, *states], mask, num_predicted=steps, predicted=sets)

    def for_use(self) -> GenDistiller:
        if self.config.exposed_layer == "hidden":
            self._predicts = False
            self.last_heads = None
            if not self.config.feeds_back or self.num_steps == 1:
                self.output = None
        return self

    def _one_by_one(
        self, z: Tensor, mask: Tensor | None, teacher: Tensor | None, probability: float, steps: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """y_n and h_n of all steps; y_n in place of an h_n that nothing needs."""
        hidden = self.dropout(z)
        states: list[Tensor] = []
        generated: list[Tensor] = []
        earlier: list[KeyValues] = []
        for step in range(steps):
            history = None
            if generated:
                given = None if teacher is None else teacher[:, step - 1]
                history = history_of_step(generated[-1], given, probability)
            layer_input = self._layer_input(step, z, hidden, history)
            norms = None if self.step_norms is None else self.step_norms[step]
            hidden, own = self._through_layer(layer_input, mask, norms, tuple(earlier))
            if self.config.history == "all":
                earlier.append(own)
            states.append(self._normed(hidden))
            needed = self._predicts or (self.config.feeds_back and step + 1 < steps)
            generated.append(self._generate(states[-1], layer_input, z, history) if needed else states[-1])
        return states, generated

    @property
    def cnn(self) -> nn.Module | None:
        return self.front_end if isinstance(self.front_end, ConvFrontEnd) else None

    @property
    def front(self) -> Front:
        return Front(self.front_end, self.config.normalize)

    def encode(self, wavs: Tensor, lengths: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The front end, which runs once for all steps: z (B, T, D) and the frame mask (B, T)."""
        if features is not None:
            x, mask = features, self.front_end.mask(lengths, features.shape[1], features.device)
        else:
            x, mask = self.front(wavs, lengths)  # (B, T, C)
        if self.feature_norm is not None:
            x = self.feature_norm(x)
        x = self.feature_projection(x)  # (B, T, D)
        x = x.masked_fill(~mask.unsqueeze(-1), 0.0)  # the positional convolution reaches 64 frames ahead
        x = x + self.position(x)
        return (x if self.config.layer_norm_first else self.encoder_norm(x)), mask

    def _known_ahead(self, z: Tensor, teacher: Tensor, probability: float) -> bool:
        """Whether the inputs of all steps are known before the first step, if the teacher's layers are fed back."""
        carries = HISTORY_INPUTS[self.config.history_input].carries
        return probability >= 1.0 and not carries and teacher.shape[2] >= z.shape[1]

    def _all_at_once(
        self, z: Tensor, mask: Tensor | None, teacher: Tensor, steps: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """y_n and h_n of all steps in one pass, with the result of step by step: every history is a teacher layer."""
        frames = z.shape[1]
        histories = [None, *teacher[:, : steps - 1, :frames].to(z.dtype).unbind(1)]
        first = self.dropout(z)
        inputs = [self._layer_input(step, z, first, history) for step, history in enumerate(histories)]
        x = torch.stack(inputs, dim=1)  # (B, N, T, D)
        norms = None if self.step_norms is None else self.step_norms[:steps].permute(1, 2, 0, 3).unsqueeze(3)
        if self.config.history == "all":
            hidden, _ = self._through_layer(x, mask, norms)
        else:
            norms = None if norms is None else norms.repeat(1, 1, len(z), 1, 1)
            mask = None if mask is None else mask.repeat_interleave(steps, 0)
            folded, _ = self._through_layer(x.flatten(0, 1), mask, norms)
            hidden = folded.unflatten(0, (-1, steps))
        states = [self._normed(part) for part in hidden.unbind(1)]
        parts = zip(states, inputs, histories, strict=True)
        return states, [self._generate(y, layer_input, z, history) for y, layer_input, history in parts]

    def _through_layer(
        self, x: Tensor, mask: Tensor | None, norms: Tensor | None, earlier: Sequence[KeyValues] = ()
    ) -> tuple[Tensor, KeyValues]:
        if self.config.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(self.layer, x, mask, norms, earlier, use_reentrant=False)
        return self.layer(x, mask, norms, earlier)

    def _layer_input(self, step: int, z: Tensor, hidden: Tensor, history: Tensor | None) -> Tensor:
        form = HISTORY_INPUTS[self.config.history_input]
        base = hidden if form.carries or history is None else self.dropout(z)
        if history is not None:
            base = form.compute(self, base, hidden, history)
        return base if self.step_embedding is None else base + self.step_embedding.weight[step]

    def project(self, x: Tensor) -> Tensor:
        """P LN(x) of `forms.HistoryParts`, (B, T, D)."""
        assert self.history_projection is not None and self.history_norm is not None
        return self.history_projection(self.history_norm(x))

    def project_joined(self, base: Tensor, x: Tensor) -> Tensor:
        """P [base; LN(x)] of `forms.HistoryParts`, (B, T, D)."""
        assert self.history_projection is not None and self.history_norm is not None
        return self.history_projection(torch.cat((base, self.history_norm(x)), dim=-1))

    def _normed(self, hidden: Tensor) -> Tensor:
        return self.encoder_norm(hidden) if self.config.layer_norm_first else hidden

    def _generate(self, y: Tensor, layer_input: Tensor, z: Tensor, history: Tensor | None) -> Tensor:
        h = y if self.output is None else self.output(y)
        skip = SKIP_CONNECTIONS[self.config.skip_connection].choose(history, layer_input, z)
        return h if skip is None else h + skip

    def count_parameters(self) -> dict[str, int]:
        """Parameters by part: "paper", the papers' layout (front end, projection, position, norms, layer, output);
        what stands beside it, with "history" for norm and projection; "total".
        """
        parts = ("step_embedding", "step_norms", "history", "feature_norm", "position_bias")
        counts = dict.fromkeys(("paper", *parts), 0)
        for name, parameter in self.named_parameters():
            part = next((part for part in parts if name.startswith(part) or f".{part}." in name), "paper")
            counts[part] += parameter.numel()
        return {**counts, "total": sum(counts.values())}
