"""The student as an s3prl upstream, for run_downstream.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3prl.upstream.interfaces import UpstreamBase
from torch import Tensor

from s3prl_gendistiller.host.generation import check_steps
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES, read_generation, upstream_output


class UpstreamExpert(UpstreamBase):
    """A trained student with the interface of s3prl's upstreams.

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
        """`upstream_output` of unpadded utterances, each (S,) at 16 kHz."""
        return upstream_output(self.student, wavs, self.generation.steps)
