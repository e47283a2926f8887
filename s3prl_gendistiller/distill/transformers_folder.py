"""Reader of a transformers folder: config.json, settings of the feature extractor, weights. No code in it is run.

Only the keys of `EncoderConfig` are passed to transformers; an ``auto_map``, a kernel or a quantisation is not.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.teacher import EncoderLayout
from s3prl_gendistiller.distill.weights import current_name
from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import ConfigError, UserError, few
from s3prl_gendistiller.schema import from_dict, key

CLASSES = {"hubert": "HubertModel", "wavlm": "WavLMModel", "wav2vec2": "Wav2Vec2Model"}
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
MAX_JSON = 10_000_000  # bytes; an index of weights has about a hundred thousand
MAX_WIDTH = 1 << 16
# Weights of pretraining and fine-tuning, in folders whose encoder has no prefix and (masked_spec_embed, adapter) inside
# an encoder. Distillation needs none of them.
HEADS = re.compile(
    r"(lm_head|quantizer|project_hid|project_q|projector|classifier|layer_weights|label_embs_concat|final_proj|"
    r"masked_spec_embed|adapter)(\.|$)"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderConfig:
    """The keys of config.json that define an encoder, with the defaults of the Base models.

    Older versions of transformers leave out keys that have these defaults.
    """

    hidden_size: int = key(768, low=1, high=MAX_WIDTH)
    num_hidden_layers: int = key(12, low=1, high=256)
    num_attention_heads: int = key(12, low=1, high=MAX_WIDTH)
    intermediate_size: int = key(3072, low=1, high=MAX_WIDTH)
    hidden_act: str = "gelu"
    layer_norm_eps: float = key(1e-5, low=0.0, high=1.0)
    feat_extract_norm: str = key("group", choices=("group", "layer"))
    feat_extract_activation: str = "gelu"
    conv_dim: tuple[int, ...] = key((512,) * 7, low=1, high=MAX_WIDTH)
    conv_kernel: tuple[int, ...] = key((10, 3, 3, 3, 3, 2, 2), low=1, high=MAX_WIDTH)
    conv_stride: tuple[int, ...] = key((5, 2, 2, 2, 2, 2, 2), low=1, high=MAX_WIDTH)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = key(128, low=1, high=MAX_WIDTH)
    num_conv_pos_embedding_groups: int = key(16, low=1, high=MAX_WIDTH)
    conv_pos_batch_norm: bool = False
    do_stable_layer_norm: bool = False
    feat_proj_layer_norm: bool = True
    num_buckets: int = key(320, low=4, high=MAX_WIDTH)  # this key and the next: WavLM only
    max_bucket_distance: int = key(800, low=4, high=MAX_WIDTH)
    hidden_dropout: float = key(0.1, low=0.0, high=1.0)  # this key and the next three: for fine-tuning (-f)
    activation_dropout: float = key(0.1, low=0.0, high=1.0)
    attention_dropout: float = key(0.1, low=0.0, high=1.0)
    feat_proj_dropout: float = key(0.0, low=0.0, high=1.0)

    def problems(self) -> Iterator[str]:
        lists = {name: len(getattr(self, name)) for name in ("conv_dim", "conv_kernel", "conv_stride")}
        if len(set(lists.values())) > 1 or not 1 <= lists["conv_dim"] <= 64:
            found = ", ".join(f"{name} {count}" for name, count in lists.items())
            yield f"conv_dim: found {found} entries, expected as many of each, from 1 to 64"


@dataclass(frozen=True)
class FolderShape:
    """Content of the JSON files of a folder, before any weight is read."""

    model_type: str  # a key of `CLASSES`
    config: EncoderConfig  # settings of the encoder
    normalize: bool  # every utterance is brought to zero mean and unit variance before the CNN
    given: tuple[str, ...]  # keys of `EncoderConfig` in config.json; for the others transformers has defaults

    @property
    def num_layers(self) -> int:
        return self.config.num_hidden_layers

    @property
    def width(self) -> int:
        return self.config.hidden_size

    @property
    def layout(self) -> EncoderLayout:
        config = self.config
        hubert = self.model_type == "hubert"  # the other model types have no such keys
        return EncoderLayout(
            heads=config.num_attention_heads,
            norm_first=config.do_stable_layer_norm,
            normalize=self.normalize,
            ffn=config.intermediate_size,
            activation=config.hidden_act,
            extractor_mode={"group": "default", "layer": "layer_norm"}[config.feat_extract_norm],
            convolutions=tuple(zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)),
            feature_norm=config.feat_proj_layer_norm or not hubert,
            conv_pos=config.num_conv_pos_embeddings,
            conv_pos_groups=config.num_conv_pos_embedding_groups,
            position_norm=config.conv_pos_batch_norm and hubert,
        )


def read_shape(folder: Path) -> FolderShape:
    """Reads the JSON files alone.

    Raises:
        UserError: no transformers folder, or an unsupported model type, size or sampling rate.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(
            f"{folder} holds no config.json; expected a local transformers folder with config.json and "
            "model.safetensors or pytorch_model.bin"
        )
    content = read_object(path)
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in CLASSES:
        raise UserError(
            f"{path} states model_type {repr(model_type)[:80]}, expected one of {', '.join(CLASSES)}; use such a model "
            "or an s3prl upstream"
        )
    names = tuple(field.name for field in dataclasses.fields(EncoderConfig) if field.name in content)
    try:
        config = from_dict(EncoderConfig, {name: content[name] for name in names}, str(path))
    except ConfigError as error:
        raise UserError(
            f"{path} does not describe a {CLASSES[model_type]}: {'; '.join(error.problems)[:600]}"
        ) from error
    return FolderShape(model_type, config, _normalises(folder, config), names)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file as `documents.read_json` reads it; raises a UserError for anything else than an object, too."""
    content = read_json(path, MAX_JSON)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _normalises(folder: Path, config: EncoderConfig) -> bool:
    """Setting `do_normalize` of the feature extractor, which newer processors store in processor_config.json."""
    nested, path = folder / "processor_config.json", folder / "preprocessor_config.json"
    content: Any = None
    if nested.is_file():
        processor = read_object(nested)
        content = processor.get("feature_extractor", processor.get("audio_processor"))
        path = path if content is None else nested
    if content is None and path.is_file():
        content = read_object(path)
    if content is None:
        return config.feat_extract_norm == "layer"  # as in the released models with either norm
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__} as feature_extractor, expected an object")
    rate, normalise = content.get("sampling_rate", SAMPLE_RATE), content.get("do_normalize", True)
    if isinstance(rate, bool) or rate != SAMPLE_RATE:
        raise UserError(f"{path} states sampling_rate {str(rate)[:40]}, expected {SAMPLE_RATE}; choose another model")
    if not isinstance(normalise, bool):
        raise UserError(f"{path} states do_normalize {str(normalise)[:40]!r}, expected true or false")
    return normalise


def read_encoder_weights(folder: Path, model_type: str) -> dict[str, Tensor]:
    """The weights of a folder's encoder on the CPU, in float32, under the names of transformers 5 without a prefix.

    Raises:
        UserError: the folder has no weights, a file is missing or incomplete, or loading it would run code.
    """
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        weights.update(_read_weight_file(path))
    return _without_heads(folder, weights, model_type)


def _weight_files(folder: Path) -> list[Path]:
    """Files of weights in the folder itself; safetensors first if both kinds exist."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_object(index).get("weight_map")
            if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
                raise UserError(f"{index} holds no weight_map of file names; copy the folder again")
            outside = [shard for shard in shards.values() if Path(shard).name != shard or shard in ("", "..")]
            if outside:
                raise UserError(f"{index} names {outside[0][:80]!r}, expected files of this folder alone")
            return [folder / shard for shard in sorted(set(shards.values()))]
    raise UserError(f"{folder} holds no weights; expected {' or '.join(WEIGHT_FILES)}")


def _read_weight_file(path: Path) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    if not path.is_file():
        raise UserError(f"{path} is not there, but its index lists it; copy the folder again")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} refused, it is no file of tensors alone; expected weights that load without running code, such as "
            "model.safetensors"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, LookupError, OSError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0][:200]
        raise UserError(f"{path} is not whole ({path.stat().st_size} bytes, {reason}); copy it again") from error
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise UserError(f"{path} holds something else than named tensors; expected a state_dict")
    return weights


def _without_heads(folder: Path, weights: dict[str, Tensor], model_type: str) -> dict[str, Tensor]:
    """Weights of the encoder. With a head, its names have a prefix; other names are those of the head."""
    prefix = f"{model_type}."
    prefixed = any(name.startswith(prefix) for name in weights)
    kept, left_out = {}, []
    for stored, value in weights.items():
        name = stored.removeprefix(prefix)
        if HEADS.match(name) or (prefixed and not stored.startswith(prefix)):
            left_out.append(stored)
            continue
        value = value.to(torch.float32) if value.is_floating_point() else value  # counters of batch norms stay int64
        kept[current_name(name)] = value
    if left_out:
        # the vector in place of masked frames is in every pretrained folder, and only its own pretraining reads it
        usual = all(name.removeprefix(prefix) == "masked_spec_embed" for name in left_out)
        count = f"{len(left_out)} weight{'s' if len(left_out) > 1 else ''}"
        level = logging.DEBUG if usual else logging.INFO
        shown = few(sorted(left_out))
        logger.log(level, "%s: left out %s outside the encoder: %s", folder, count, shown)
    return kept
