"""A GenDistiller as a model of transformers; a copy lies in each exported folder beside the modules that it imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss
from transformers import Pipeline, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput, SequenceClassifierOutput

from s3prl_gendistiller.config_gendistiller import GenDistillerModelConfig
from s3prl_gendistiller.export.configuration_gendistiller import GenDistillerConfig
from s3prl_gendistiller.models.gendistiller import GenDistiller, build
from s3prl_gendistiller.models.mel import LogMel
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE, to_batch
from s3prl_gendistiller.student_kinds import read_model_config


class GenDistillerPreTrainedModel(PreTrainedModel):
    """Base of the model and of its heads."""

    config_class = GenDistillerConfig
    base_model_prefix = "gendistiller"
    main_input_name = "input_values"
    input_modalities = "audio"

    def _init_weights(self, module: nn.Module) -> None:
        """Values of what a file does not hold. The student's own modules were drawn when they were built."""
        if isinstance(module, LogMel):
            module.fill()  # transformers builds a model without memory, and does not store these tables
        elif isinstance(module, nn.Linear) and not hasattr(module, "drawn"):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def _shown(self, states: Sequence[Tensor], asked: bool | None) -> tuple[Tensor, ...] | None:
        """The hidden states of an output, if they are asked for in the call, or else in the configuration."""
        wanted = self.config.output_hidden_states if asked is None else asked
        return tuple(states) if wanted else None

    def _given(self, output: Any, asked: bool | None) -> Any:
        """An output as itself or as a tuple, as is asked for in the call, or else in the configuration."""
        return output if (self.config.return_dict if asked is None else asked) else output.to_tuple()

    def freeze_base_model(self) -> None:
        """Leaves the head alone to be trained."""
        self.base_model.requires_grad_(False)

    def freeze_feature_encoder(self) -> None:
        """Excludes the front end from training."""
        self.base_model.student.front_end.requires_grad_(False)


class GenDistillerModel(GenDistillerPreTrainedModel):
    """The student, called as other speech models of transformers.

    Attributes:
        student: the `models.gendistiller.GenDistiller`.
    """

    def __init__(self, config: GenDistillerConfig) -> None:
        super().__init__(config)
        settings = read_model_config(config.task, config.config)
        assert isinstance(settings, GenDistillerModelConfig)
        count = len(settings.distill.target_layers)
        if config.steps is not None and not 1 <= config.steps <= count:
            raise ValueError(f"steps: found {config.steps} in the configuration, expected 1..{count}, or null for all")
        self.student: GenDistiller = build(settings).for_use()
        for module in self.student.modules():
            module.drawn = True  # type: ignore[assignment]
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        steps: int | None = None,
        **unused: Any,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Generates the student's layers.

        Args:
            input_values: (B, S) samples at 16 kHz, floats between -1 and 1.
            attention_mask: (B, S), 1 for samples and 0 behind the end of each utterance; None: all are samples.
            output_hidden_states: give all hidden states: [z, h_1, ..., h_k].
            steps: number of layers to generate, 1 to N; None: `config.steps`.

        Returns:
            last_hidden_state (B, T, D), 50 frames a second, and hidden_states.

        Raises:
            ValueError: says what was found in the batch or the mask, what was expected and what to do.
        """
        states, _ = self.states(input_values, attention_mask, steps)
        output = BaseModelOutput(last_hidden_state=states[-1], hidden_states=self._shown(states, output_hidden_states))
        return self._given(output, return_dict)

    def states(
        self, input_values: Tensor, attention_mask: Tensor | None, steps: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """All hidden states, each (B, T, D), and (B,) frames of each utterance, on the CPU; as `forward`."""
        wavs, lengths = to_batch(input_values, _lengths(input_values, attention_mask))
        lengths = lengths.cpu()
        steps = self.config.steps if steps is None else steps
        output = self.student(wavs.to(self.dtype), lengths, steps=steps)
        return output.hidden_states, self.student.front_end.frames(lengths)


class GenDistillerForCTC(GenDistillerPreTrainedModel):
    """The student with a linear layer over `config.vocab_size` tokens."""

    def __init__(self, config: GenDistillerConfig) -> None:
        super().__init__(config)
        self.gendistiller = GenDistillerModel(config)
        self.dropout = nn.Dropout(config.final_dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> CausalLMOutput | tuple[Any, ...]:
        """
        Args:
            input_values, attention_mask: as of `GenDistillerModel`.
            labels: (B, L) tokens, negative behind the end of each utterance's tokens.

        Returns:
            logits (B, T, vocab_size), and the CTC loss where labels are given.
        """
        states, frames = self.gendistiller.states(input_values, attention_mask)
        logits = self.lm_head(self.dropout(states[-1]))
        loss = None
        if labels is not None:
            _check_labels(labels, self.config.vocab_size, "vocab_size", 2)
            given = labels >= 0
            with torch.backends.cudnn.flags(enabled=False):  # its CTC takes other types than these
                loss = ctc_loss(
                    logits.float().log_softmax(-1).transpose(0, 1),
                    labels.masked_select(given),
                    frames,
                    given.sum(-1),
                    blank=self.config.pad_token_id,
                    reduction=self.config.ctc_loss_reduction,
                    zero_infinity=self.config.ctc_zero_infinity,
                )
        output = CausalLMOutput(loss=loss, logits=logits, hidden_states=self._shown(states, output_hidden_states))
        return self._given(output, return_dict)


class GenDistillerForSequenceClassification(GenDistillerPreTrainedModel):
    """The student with a projection, the mean over the frames, and a linear layer over `config.num_labels` classes."""

    def __init__(self, config: GenDistillerConfig) -> None:
        super().__init__(config)
        self.gendistiller = GenDistillerModel(config)
        count = config.num_hidden_layers + 1
        self.layer_weights = nn.Parameter(torch.zeros(count)) if config.use_weighted_layer_sum else None
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self and self.layer_weights is not None:
            nn.init.zeros_(self.layer_weights)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """
        Args:
            input_values, attention_mask: as of `GenDistillerModel`.
            labels: (B,) classes.

        Returns:
            logits (B, num_labels), and the cross entropy where labels are given.
        """
        states, frames = self.gendistiller.states(input_values, attention_mask)
        x, frames = states[-1], frames.to(states[-1].device)
        if self.layer_weights is not None:
            shares = self.layer_weights.softmax(0).view(-1, 1, 1, 1)
            x = (torch.stack(states) * shares).sum(0)  # (B, T, D)
        real = (torch.arange(x.shape[1], device=x.device) < frames.unsqueeze(1)).unsqueeze(-1)
        pooled = (self.projector(x) * real).sum(1) / frames.unsqueeze(1)
        logits = self.classifier(pooled)
        loss = None
        if labels is not None:
            _check_labels(labels, self.config.num_labels, "num_labels", 1)
            loss = cross_entropy(logits.float(), labels)
        shown = self._shown(states, output_hidden_states)
        return self._given(SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=shown), return_dict)


class AudioFeatures(Pipeline):
    """The pipeline "feature-extraction" for audio; transformers' own pipeline of this name takes text alone.

    An input is one waveform (S,) at 16 kHz, or a dictionary with the waveform as "raw" or "array" and with its
    "sampling_rate". The result is the last hidden state, (1, T, D), as a nested list or with `return_tensors=True` as a
    tensor.
    """

    _load_feature_extractor = True
    _load_tokenizer = _load_processor = _load_image_processor = False

    def _sanitize_parameters(
        self, return_tensors: bool = False, steps: int | None = None, **unused: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, {} if steps is None else {"steps": steps}, {"return_tensors": return_tensors}

    def preprocess(self, inputs: Any, **unused: Any) -> Any:
        rate = SAMPLE_RATE
        if isinstance(inputs, Mapping):
            rate, inputs = inputs.get("sampling_rate", rate), inputs.get("raw", inputs.get("array"))
        wav, _ = to_batch(inputs, None, rate)
        if len(wav) != 1:
            raise ValueError(f"found {len(wav)} waveforms in one input, expected (S,); give a list of inputs")
        return self.feature_extractor(wav[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")

    def _forward(self, model_inputs: Any, **options: Any) -> Any:
        states, frames = self.model.states(**model_inputs, **options)
        return {"states": states[-1], "frames": frames}

    def postprocess(self, model_outputs: Any, return_tensors: bool = False) -> Any:
        states = model_outputs["states"][:, : int(model_outputs["frames"])]  # without those of a batch's padding
        return states if return_tensors else states.tolist()


def _lengths(input_values: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(B,) samples, on the CPU.

    Raises:
        ValueError: the batch is no (B, S), the mask has another shape, or its zeros stand before samples.
    """
    if not isinstance(input_values, Tensor) or input_values.dim() != 2:
        found = tuple(input_values.shape) if hasattr(input_values, "shape") else type(input_values).__name__
        raise ValueError(f"input_values: found {found}, expected a tensor (B, S); the feature extractor makes one")
    if attention_mask is None:
        return torch.full((len(input_values),), input_values.shape[1])
    if attention_mask.shape != input_values.shape:
        raise ValueError(
            f"attention_mask: found the shape {tuple(attention_mask.shape)}, expected that of input_values, "
            f"{tuple(input_values.shape)}"
        )
    real = attention_mask.bool().cpu()
    lengths = real.sum(-1)
    if not torch.equal(real, torch.arange(real.shape[1]) < lengths.unsqueeze(1)):
        raise ValueError(
            "attention_mask: found zeros before or between samples, expected zeros behind the end of each utterance "
            "alone; pad on the right"
        )
    return lengths


def _check_labels(labels: Tensor, count: int, key: str, dimensions: int) -> None:
    """ValueError if labels have another rank, or one of them is no class."""
    if labels.dim() != dimensions:
        raise ValueError(
            f"labels: found the shape {tuple(labels.shape)}, expected {'(B, L)' if dimensions > 1 else '(B,)'}"
        )
    if labels.numel() and int(labels.max()) >= count:
        raise ValueError(f"labels: found {int(labels.max())}, expected below {key}, {count}; give the model that {key}")
