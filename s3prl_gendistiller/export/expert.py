"""A distilled student as an s3prl upstream, loaded by ``run_downstream.py --hub huggingface -u REPOSITORY``.

s3prl puts the folder of this file on its path, imports `expert`, and calls ``UpstreamExpert(ckpt=FOLDER/model.pt,
model_config=..., refresh=...)``; ``--upstream_model_name`` replaces the name model.pt. The weights are read from
model.safetensors beside this file, unless `ckpt` is a file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.upstream import CONFIG, FRAME_SAMPLES, WEIGHTS, read_generation, upstream_output
from s3prl_gendistiller.student_kinds import read_model_config


class UpstreamExpert(nn.Module):
    """The student of this folder.

    Args:
        ckpt: a safetensors file with other weights of the same student; where it is no file, this folder's weights are
            read.
        model_config: ``steps: 2``, or a YAML file with that key, to generate fewer layers; None for the number in
            config.json.
        unused: other keywords of s3prl.
    """

    def __init__(self, ckpt: str | None = None, model_config: str | None = None, **unused: Any) -> None:
        super().__init__()
        folder = Path(__file__).parent  # not resolved: in a cache of the hub, files are links to places elsewhere
        stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        self.steps: int | None = stored["steps"] if model_config is None else read_generation(model_config).steps
        self.student: Student = student_kinds.build(read_model_config(stored["task"], stored["config"])).for_use()
        weights = Path(ckpt) if ckpt is not None and Path(ckpt).is_file() else folder / WEIGHTS
        self.student.stored_module.load_state_dict(load_file(weights))
        self.eval()

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame of any of the hidden states."""
        return FRAME_SAMPLES

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """`upstream_output` of unpadded utterances, each (S,) at 16 kHz."""
        return upstream_output(self.student, wavs, self.steps)
