"""s3prl's own HuBERT and WavLM with the weights of a transformers folder: the same network under fairseq's names.

The names are written down here once more, the other way round, so that a mistake in `distill.warm_start` shows.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

_RENAMED = (
    ("feature_projection.layer_norm.", "layer_norm."),
    ("feature_projection.projection.", "post_extract_proj."),
    ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
    ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
    ("pos_conv_embed.conv.", "pos_conv.0."),
    (".attention.rel_attn_embed.", ".self_attn.relative_attention_bias."),
    (".attention.gru_rel_pos_linear.", ".self_attn.grep_linear."),
    (".attention.gru_rel_pos_const", ".self_attn.grep_a"),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
    ("masked_spec_embed", "mask_emb"),
)


def fairseq_named(state: Mapping[str, Tensor], extractor: str) -> dict[str, Tensor]:
    """The weights of an encoder of transformers under fairseq's names; `extractor` is "group" or "layer"."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("feature_extractor."):
            name = name.replace(".conv.", ".0.").replace(".layer_norm.", ".2." if extractor == "group" else ".2.1.")
        elif name.startswith("encoder.layers.") and ".final_layer_norm." not in name:
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        for theirs, fairseqs in _RENAMED:
            if theirs in name:
                name = name.replace(theirs, fairseqs)
                break
        renamed[name] = value
    return renamed


def host_checkpoint(folder: Path, path: Path, **changes: object) -> Path:
    """Writes what `hubert_local` or `wavlm_local` loads, with the weights of a transformers folder.

    Args:
        changes: keys of the model's configuration, such as encoder_layerdrop.
    """
    content = json.loads((folder / "config.json").read_text())
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    state = fairseq_named(weights, content["feat_extract_norm"])
    settings: dict[str, Any] = {
        "extractor_mode": {"group": "default", "layer": "layer_norm"}[content["feat_extract_norm"]],
        "encoder_layers": content["num_hidden_layers"],
        "encoder_embed_dim": content["hidden_size"],
        "encoder_ffn_embed_dim": content["intermediate_size"],
        "encoder_attention_heads": content["num_attention_heads"],
        "layer_norm_first": content["do_stable_layer_norm"],
        "conv_feature_layers": str(
            list(zip(content["conv_dim"], content["conv_kernel"], content["conv_stride"], strict=True))
        ),
        "conv_pos": content["num_conv_pos_embeddings"],
        "conv_pos_groups": content["num_conv_pos_embedding_groups"],
        **changes,
    }
    normalize = content["feat_extract_norm"] == "layer"
    write = _wavlm if content["model_type"] == "wavlm" else _hubert
    torch.save(write(settings, state, normalize), path)
    return path


def _hubert(settings: dict[str, Any], state: dict[str, Tensor], normalize: bool) -> dict[str, Any]:
    module = importlib.import_module("s3prl.upstream.hubert.hubert_model")
    settings = {"label_rate": 50.0, **settings}
    task = module.HubertPretrainingConfig(normalize=normalize)
    symbols = [["a", "b"]]
    own = module.HubertModel(module.HubertConfig(**settings), task, symbols).state_dict()
    assert state.keys() <= own.keys()
    return {
        "task_cfg": dataclasses.asdict(task),
        "model_cfg": settings,
        "model_weight": {**own, **state},
        "dictionaries_symbols": symbols,
    }


def _wavlm(settings: dict[str, Any], state: dict[str, Tensor], normalize: bool) -> dict[str, Any]:
    module = importlib.import_module("s3prl.upstream.wavlm.WavLM")
    position = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800}
    settings = {**settings, **position, "normalize": normalize}
    own = module.WavLM(module.WavLMConfig(settings)).state_dict()
    assert state.keys() <= own.keys()
    return {"cfg": settings, "model": {**own, **state}}
