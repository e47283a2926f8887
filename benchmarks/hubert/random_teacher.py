"""Transformers folders with random weights, shaped like HuBERT or WavLM, for tests and benchmarks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.distill.transformers_folder import CLASSES, read_object
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import atomic_folder

BASE: dict[str, Any] = {"width": 768, "layers": 12, "heads": 12, "ffn": 3072, "conv_dim": 512}
"""Sizes of HuBERT Base and WavLM Base+."""


def write_random_teacher(
    folder: str | Path,
    *,
    model_type: str = "hubert",
    width: int = 96,
    layers: int = 6,
    heads: int = 4,
    ffn: int = 384,
    conv_dim: int = 64,
    conv_pos: int = 128,
    conv_pos_groups: int = 16,
    feat_extract_norm: str = "group",
    stable_layer_norm: bool = False,
    seed: int = 0,
) -> Path:
    """Writes config.json, model.safetensors and preprocessor_config.json; the same seed gives the same weights.

    Args:
        folder: must not exist; it appears complete or not at all.
        model_type: "hubert", "wavlm" or "wav2vec2".
        width, ffn, layers, heads: of the transformer.
        conv_dim: channels of the seven convolutions, whose kernels and strides are HuBERT's (50 frames a second).
        conv_pos, conv_pos_groups: kernel and groups of the positional convolution.
        feat_extract_norm: "group" (Base models) or "layer" (Large models).
        stable_layer_norm: LayerNorm before each part of a layer, as in Large models.

    Raises:
        UserError: the folder exists, or the sizes do not fit together.
    """
    import safetensors.torch
    import transformers

    folder = Path(folder)
    with atomic_folder(folder, "the random teacher") as partial:
        if width % heads or width % conv_pos_groups:
            raise UserError(
                f"width {width}: expected a multiple of heads ({heads}) and conv_pos_groups ({conv_pos_groups})"
            )
        config_class = getattr(transformers, CLASSES[model_type].replace("Model", "Config"))
        config = config_class(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=ffn,
            conv_dim=[conv_dim] * 7,
            feat_extract_norm=feat_extract_norm,
            feat_proj_layer_norm=True,
            num_conv_pos_embeddings=conv_pos,
            num_conv_pos_embedding_groups=conv_pos_groups,
            do_stable_layer_norm=stable_layer_norm,
            # 0.02 at width 768 in the Base models; with it, the layers of a narrow model hardly change their input
            initializer_range=0.02 * math.sqrt(768 / width),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = getattr(transformers, CLASSES[model_type])(config).eval()
        config.architectures = [CLASSES[model_type]]
        config.save_pretrained(partial)
        safetensors.torch.save_file(model.state_dict(), partial / "model.safetensors", metadata={"format": "pt"})
        transformers.Wav2Vec2FeatureExtractor(do_normalize=feat_extract_norm == "layer").save_pretrained(partial)
    return folder


def write_random_like(teacher: str | Path, folder: str | Path, seed: int = 0) -> Path:
    """Writes a folder with the network of `teacher` and random weights, as a lower bound of what the network is worth.

    Raises:
        UserError: `teacher` is no transformers folder, or `folder` exists.
    """
    shape = read_object(Path(teacher) / "config.json")
    return write_random_teacher(
        folder,
        model_type=shape["model_type"],
        width=shape["hidden_size"],
        layers=shape["num_hidden_layers"],
        heads=shape["num_attention_heads"],
        ffn=shape["intermediate_size"],
        conv_dim=shape["conv_dim"][0],
        conv_pos=shape["num_conv_pos_embeddings"],
        conv_pos_groups=shape["num_conv_pos_embedding_groups"],
        feat_extract_norm=shape["feat_extract_norm"],
        stable_layer_norm=shape["do_stable_layer_norm"],
        seed=seed,
    )
