"""A transformers folder (HuBERT, WavLM, wav2vec 2.0) as an s3prl upstream, the class by its model_type.

s3prl's own `hf_hubert_custom` loads any folder as a HuBERT, so a WavLM loses its position weights in silence.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from s3prl.upstream.interfaces import UpstreamBase
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.distill.transformers_teacher import load_encoder
from s3prl_gendistiller.errors import UserError


class UpstreamExpert(UpstreamBase):
    """All hidden states of the encoder in the folder `ckpt`, counted as a teacher's; UserError as `load_encoder`."""

    def __init__(self, ckpt: str, model_config: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if model_config is not None:
            raise UserError(f"-g: found {model_config} with -u transformers_local, which takes none; leave it out")
        self.model, self._encode, shape = load_encoder(ckpt, "-k")
        self.num_layers, self.frame_samples = shape.num_layers, math.prod(shape.config.conv_stride)

    def get_downsample_rates(self, key: str) -> int:
        return self.frame_samples

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """ "last_hidden_state", and "hidden_states": the input of the first layer and the output of each, (B, T, D).

        `wavs` are unpadded utterances, each (S,) at 16 kHz.
        """
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        states = list(self._encode(self.model, pad_sequence(wavs, batch_first=True), lengths, self.num_layers))
        return {"hidden_states": states, "last_hidden_state": states[-1]}
