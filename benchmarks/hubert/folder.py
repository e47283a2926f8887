"""A pretrained encoder as a transformers folder, with the head that predicts its units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.teacher_units import HEAD_FILE
from s3prl_gendistiller.outputs import atomic_folder

WEIGHTS = "model.safetensors"


def write_hubert_folder(hubert: Any, folder: Path, head: nn.Module | None = None) -> Path:
    """Writes config.json, preprocessor_config.json and the encoder in half precision; a head, if given.

    transformers, s3prl's `hf_hubert_custom` and this package's `transformers_local` read the folder and compute in
    float32, as config.json states.

    Args:
        hubert: a HubertModel on the CPU.
        folder: must not exist; it appears complete or not at all.
        head: a UnitHead, predicts units from the last layer.

    Raises:
        UserError: the folder exists, or a weight is too large for half precision.
    """
    import safetensors.torch
    from transformers import Wav2Vec2FeatureExtractor

    with atomic_folder(folder, "the encoder") as partial:
        half = {name: value.to(torch.float16).contiguous() for name, value in hubert.state_dict().items()}
        lost = [name for name, value in half.items() if not value.isfinite().all()]
        if lost:
            raise UserError(f"{', '.join(lost)}: larger than half precision can hold; the training has diverged")
        config = hubert.config
        config.architectures = ["HubertModel"]
        config.dtype = "float32"  # otherwise transformers computes in the precision of the file
        config.save_pretrained(partial)
        Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(partial)
        safetensors.torch.save_file(half, partial / WEIGHTS, metadata={"format": "pt"})
        if head is not None:
            weights = {name: value.detach().contiguous() for name, value in head.state_dict().items()}
            facts = {"temperature": str(head.number), "layer": str(config.num_hidden_layers)}
            safetensors.torch.save_file(weights, partial / HEAD_FILE, metadata=facts)
    return folder
