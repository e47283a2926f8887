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
from s3prl_gendistiller.errors import UserError, few
from s3prl_gendistiller.host.students import check_steps, load_student
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES, GenerationConfig, read_generation, upstream_output
from s3prl_gendistiller.models.waveforms import WaveformError
from s3prl_gendistiller.schema import from_dict


class UpstreamExpert(UpstreamBase):
    """A trained student from a place that `load_student` takes.

    Args:
        ckpt: the place.
        model_config: a YAML file with `GenerationConfig`'s keys, such YAML itself (``steps: 2``), or None.
        steps: number of layers to generate, in place of `model_config`.
        unknown: refused, because s3prl's base class would accept any keyword.

    Raises:
        UserError: the place is missing or holds no student, a setting is unknown, or `steps` is out of range.
    """

    def __init__(
        self,
        ckpt: str | None = None,
        model_config: str | Path | None = None,
        steps: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise UserError(f"extra_conf: found {few(unknown)}, expected steps or model_config; leave it out")
        if ckpt is None:
            raise UserError(
                "gendistiller_local: found no student, expected a checkpoint, the folder of a run or an exported "
                "student; give it as -k, or as path_or_url of S3PRLUpstream"
            )
        if steps is None:
            self.generation = read_generation(model_config)
        elif model_config is None:
            self.generation = from_dict(GenerationConfig, {"steps": steps}, "extra_conf")
        else:
            raise UserError("extra_conf: found steps and model_config, expected one of them; leave model_config out")
        check_steps(self.generation.steps, ckpt)
        self.student = load_student(ckpt)
        self.steps = self.student.default_steps if self.generation.steps is None else self.generation.steps

    def get_downsample_rates(self, key: str) -> int:
        return FRAME_SAMPLES

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """`upstream_output` of unpadded utterances, each (S,) at 16 kHz.

        Raises:
            ValueError: an utterance has another rank, or is shorter than one frame.
        """
        for wav in wavs:
            if wav.dim() != 1:
                raise WaveformError(
                    f"wavs: found an utterance of shape {tuple(wav.shape)}, expected (S,); give (B, S) or (B, S, 1) to "
                    "S3PRLUpstream, and average channels first, such as with wavs.mean(-1)"
                )
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
