"""A distilled student as an s3prl upstream: what ``run_downstream.py --hub huggingface -u REPOSITORY`` loads.

s3prl puts the folder of this file on its path, imports `expert`, and calls ``UpstreamExpert(ckpt=FOLDER/model.pt,
model_config=..., refresh=...)``; ``--upstream_model_name`` puts another name in the place of model.pt. The weights are
in model.safetensors beside this file, which is taken unless `ckpt` is a file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from s3prl_gendistiller.config import GenDistillerModelConfig, read_model_config
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.student import Student
from s3prl_gendistiller.models.upstream import FRAME_SAMPLES, read_generation, upstream_output

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class UpstreamExpert(nn.Module):
    """The student of this folder.

    Args:
        ckpt: weights of the same student in safetensors; those of this folder unless it is a file.
        model_config: ``steps: 2``, or a YAML file that says so, to generate fewer layers; None for as many as
            config.json says.
        unused: other keywords of s3prl.
    """

    def __init__(self, ckpt: str | None = None, model_config: str | None = None, **unused: Any) -> None:
        super().__init__()
        folder = Path(__file__).parent  # as it was imported: a cache of the hub holds links to files elsewhere
        stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        self.steps: int | None = stored["steps"] if model_config is None else read_generation(model_config).steps
        self.student = _build(stored)
        weights = Path(ckpt) if ckpt is not None and Path(ckpt).is_file() else folder / WEIGHTS
        getattr(self.student, "distiller", self.student).load_state_dict(load_file(weights))
        self.eval()

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame of any of the hidden states."""
        return FRAME_SAMPLES

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """`upstream_output` of unpadded utterances, each (S,) at 16 kHz."""
        return upstream_output(self.student, wavs, self.steps)


def _build(stored: dict[str, Any]) -> Student:
    config = read_model_config(stored["task"], stored["config"])
    if isinstance(config, GenDistillerModelConfig):
        return GenDistiller(config.student, len(config.distill.target_layers))
    from s3prl_gendistiller.host.baseline import DistilHubert  # s3prl's own model, so s3prl must be there

    return DistilHubert(config)
