"""Students and transformers folders (HuBERT, WavLM, wav2vec 2.0) as upstreams of s3prl, for run_downstream.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from s3prl.upstream.interfaces import UpstreamBase
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.distill.transformers_teacher import load_encoder
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import check_steps, load_student
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES, read_generation, upstream_output


class UpstreamExpert(UpstreamBase):
    """A trained student from a place that `load_student` takes.

    `model_config` is a YAML file with `GenerationConfig`'s keys, such YAML itself (``steps: 2``), or None.
    """

    def __init__(self, ckpt: str, model_config: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.generation = read_generation(model_config)
        check_steps(self.generation.steps, ckpt)
        self.student = load_student(ckpt)
        self.steps = self.student.default_steps if self.generation.steps is None else self.generation.steps

    def get_downsample_rates(self, key: str) -> int:
        return FRAME_SAMPLES

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """`upstream_output` of unpadded utterances, each (S,) at 16 kHz."""
        return upstream_output(self.student, wavs, self.steps)


class TransformersExpert(UpstreamBase):
    """All hidden states of the encoder in the folder `ckpt`, whose model_type chooses the class.

    s3prl's own `hf_hubert_custom` loads any folder as a HuBERT, so a WavLM loses its position weights without
    a message. UserError as `load_encoder`.
    """

    def __init__(self, ckpt: str, model_config: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if model_config is not None:
            raise UserError(f"-g: found {model_config} with -u transformers_local, which takes none; leave it out")
        self.model, self._encode, shape = load_encoder(ckpt, "-k")
        self.num_layers, self.frame_samples = shape.num_layers, math.prod(shape.config.conv_stride)

    def get_downsample_rates(self, key: str) -> int:
        return self.frame_samples

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Entry "hidden_states": the input of the first layer and the output of each, (B, T, D); "last_hidden_state".

        `wavs` are unpadded utterances, each (S,) at 16 kHz.
        """
        lengths = torch.tensor([len(wav) for wav in wavs])
        states = list(self._encode(self.model, pad_sequence(wavs, batch_first=True), lengths, self.num_layers))
        return {"hidden_states": states, "last_hidden_state": states[-1]}
