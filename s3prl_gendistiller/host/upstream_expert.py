"""The student as an s3prl upstream, for run_downstream.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from s3prl.upstream.interfaces import UpstreamBase
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.host.generation import check_steps, read_generation
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.models.gendistiller import GenDistiller

FRAME_SAMPLES = 320  # 20 ms at 16 kHz


class UpstreamExpert(UpstreamBase):
    """A trained student behind s3prl's upstream contract.

    Args:
        ckpt: a checkpoint of run_pretrain.py.
        model_config: a YAML file with `GenerationConfig`'s keys, such YAML itself (``steps: 2``), or None.
    """

    def __init__(self, ckpt: str, model_config: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.generation = read_generation(model_config)
        check_steps(self.generation.steps, ckpt)
        self.student = load_student(ckpt)

    def get_downsample_rates(self, key: str) -> int:
        return FRAME_SAMPLES

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """
        Args:
            wavs: unpadded utterances, each (S,) at 16 kHz.

        Returns:
            "hidden_states": [z, h_1, ..., h_k], each (B, T, D); "last_hidden_state": h_k. Of a DistilHuBERT, as s3prl
            has it, also "paper": its last layer, which is no prediction.
        """
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        output = self.student(pad_sequence(wavs, batch_first=True), lengths, steps=self.generation.steps)
        states = output.hidden_states
        found = {"hidden_states": states, "last_hidden_state": states[-1]}
        return (
            found if isinstance(self.student, GenDistiller) else {**found, "paper": states[-1 - output.num_predicted]}
        )
