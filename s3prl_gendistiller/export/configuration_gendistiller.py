"""The configuration of a GenDistiller as a model of transformers; a copy lies in each exported folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig

MODEL_TYPE = "gendistiller"


class GenDistillerConfig(PretrainedConfig):
    """The settings of the student, and those of the heads in the names of transformers' speech models.

    Args:
        task: kind of the student.
        config: the sections `teacher`, `student`, `distill` and `warm_start` of the student's YAML; None: the
            student's defaults with three target layers.
        steps: number of layers that the model generates unless the call gives another number; None: all.
        vocab_size: number of tokens of `GenDistillerForCTC`, with the blank, which is `pad_token_id`.
        final_dropout: dropout before the CTC head.
        ctc_loss_reduction, ctc_zero_infinity: as of `torch.nn.functional.ctc_loss`.
        use_weighted_layer_sum: the classifier reads a learnt weighted sum of all hidden states, not the last one.
        classifier_proj_size: width of the classifier's projection.
        kwargs: settings of every model of transformers, such as `num_labels` and `id2label`.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        task: str = "gendistiller",
        config: Mapping[str, Any] | None = None,
        steps: int | None = None,
        vocab_size: int = 32,
        pad_token_id: int = 0,
        final_dropout: float = 0.1,
        ctc_loss_reduction: str = "mean",
        ctc_zero_infinity: bool = False,
        use_weighted_layer_sum: bool = False,
        classifier_proj_size: int = 256,
        **kwargs: Any,
    ) -> None:
        if config is not None and not isinstance(config, Mapping):
            raise ValueError(f"config: found {config!r}, expected the sections of a student; write the folder again")
        self.task = task
        self.config = dict(config or {"teacher": {"upstream": "hubert_base"}, "distill": {"target_layers": [4, 8, 12]}})
        self.steps = steps
        self.vocab_size = vocab_size
        self.final_dropout = final_dropout
        self.ctc_loss_reduction = ctc_loss_reduction
        self.ctc_zero_infinity = ctc_zero_infinity
        self.use_weighted_layer_sum = use_weighted_layer_sum
        self.classifier_proj_size = classifier_proj_size
        super().__init__(pad_token_id=pad_token_id, **kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        """The stored settings; those of the student also where they are defaults, which a later version may change."""
        stored: dict[str, Any] = super().to_diff_dict()
        if __name__.startswith("s3prl_gendistiller"):  # no code is stored beside what this package's classes save
            stored = {key: value for key, value in stored.items() if key not in ("auto_map", "custom_pipelines")}
        return {**stored, "task": self.task, "config": self.config, "steps": self.steps}

    @property
    def hidden_size(self) -> int:
        """D, the width of the hidden states."""
        width: int = self.config.get("student", {}).get("encoder_embed_dim", 768)
        return width

    @property
    def num_hidden_layers(self) -> int:
        """Number of layers behind the frames of the front end."""
        return self.steps or len(self.config["distill"]["target_layers"])

    @property
    def inputs_to_logits_ratio(self) -> int:
        """Samples per frame, by which pipelines cut long audio."""
        return 320
