"""Teachers from a local transformers folder: HuBERT, WavLM, wav2vec 2.0; the class follows config.json's model_type.

The weights are read here and not by ``from_pretrained``: every one of them has to find its place, so that a WavLM never
loads without its position weights; nothing is fetched, and nothing that a file holds is executed.
"""

from __future__ import annotations

import functools
import json
import logging
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.teacher import Encode, EncoderLayout, Teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import normalise_samples

CLASSES = {"hubert": "HubertModel", "wavlm": "WavLMModel", "wav2vec2": "Wav2Vec2Model"}
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# Parts of pretraining and fine-tuning that are no encoder (masked_spec_embed stands for masked frames): leaving them
# out loses nothing that is distilled.
HEADS = re.compile(
    r"(lm_head|quantizer|project_hid|project_q|projector|classifier|layer_weights|label_embs_concat|final_proj|"
    r"masked_spec_embed|adapter)(\.|$)"
)
SAMPLE_RATE = 16_000
OLD_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherShape:
    """What config.json says about a teacher, before any weight is read."""

    model_type: str
    num_layers: int
    width: int


def read_teacher_shape(folder: str | Path) -> TeacherShape:
    """Reads only config.json.

    Raises:
        UserError: no transformers folder, or a model type that cannot teach here.
    """
    content = _read_config(Path(folder))
    try:  # older versions of transformers leave out what is as in the Base models
        layers, width = int(content.get("num_hidden_layers", 12)), int(content.get("hidden_size", 768))
    except (TypeError, ValueError) as error:
        raise UserError(f"teacher.folder: {Path(folder) / 'config.json'} is no HuBERT or WavLM ({error})") from error
    return TeacherShape(content["model_type"], layers, width)


def load_transformers_teacher(folder: str | Path) -> Teacher:
    """A frozen teacher from a local folder; nothing is fetched and nothing in it is executed.

    Raises:
        UserError: the folder is no such model, or weights of the encoder are missing or left over.
    """
    folder = Path(folder)
    shape = read_teacher_shape(folder)
    model = _build(folder, shape.model_type)
    weights = _without_heads(folder, _read_weights(folder), shape.model_type)
    _check(folder, type(model).__name__, weights, model.state_dict())
    # assign: the model was built without memory of its own
    model.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()}, assign=True)
    model.encoder.layers = LayersUpTo(model.encoder.layers)
    stable, normalise = bool(model.config.do_stable_layer_norm), _normalises(folder, model.config)
    encode = functools.partial(_encode, normalise=normalise, stable=stable)
    _install_hooks(folder, model, encode, shape.num_layers)
    return Teacher(
        str(folder),
        model,
        encode,
        num_layers=shape.num_layers,
        width=shape.width,
        model_type=shape.model_type,
        naming="transformers",
        layout=EncoderLayout(model.config.num_attention_heads, stable, normalise),
    )


class LayersUpTo(nn.ModuleList):
    """Transformer layers of which only the first `limit` run: nothing above the highest target layer is needed."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__(layers)
        self.limit = len(layers)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(list(self._modules.values())[: self.limit])


def _encode(
    model: Any, wavs: Tensor, lengths: Tensor, highest: int, *, normalise: bool, stable: bool
) -> Sequence[Tensor]:
    shortest = int(lengths.min())
    if int(model._get_feat_extract_output_lengths(lengths.min())) < 1:
        raise ValueError(f"found an utterance of {shortest} samples, expected at least one frame (400 samples)")
    real = torch.arange(wavs.shape[1], device=wavs.device) < lengths.unsqueeze(1)  # (B, S)
    if normalise:
        wavs = normalise_samples(wavs, real)
    # The mask also zeroes padded frames before the positional convolution; without padding faster kernels are free.
    attention_mask = real.long() if shortest < wavs.shape[1] else None
    layers = model.encoder.layers
    whole = highest >= len(layers)
    # A pre-norm encoder ends with a LayerNorm that belongs to the last layer's state only: one layer more hides it.
    layers.limit = len(layers) if whole else max(highest, 1) + stable
    output = model(wavs, attention_mask=attention_mask, output_hidden_states=True)
    states = list(output.hidden_states)
    if whole:  # transformers 5 lists this state before that LayerNorm, s3prl and transformers 4 after it
        states[-1] = output.last_hidden_state
    return states


def _install_hooks(folder: Path, model: Any, encode: Encode, num_layers: int) -> None:
    """transformers collects hidden states by hooks that it installs at the first call.

    If that were a call of DataParallel's copies, each copy would add its hooks to those that all of them share, and
    every state would be listed several times.
    """
    samples = 2 * SAMPLE_RATE // 10
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # transformers 4 draws for layerdrop in eval mode too
        states = encode(model.eval(), torch.zeros(1, samples), torch.tensor([samples]), num_layers)
    if len(states) != num_layers + 1:
        raise UserError(
            f"teacher.folder: {folder} gives {len(states)} hidden states, expected {num_layers + 1}; this version of "
            "transformers is not known here, install the one in constraints.txt"
        )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(
            f"teacher.folder: {folder} holds no config.json; expected a local transformers folder with "
            "config.json and model.safetensors or pytorch_model.bin"
        )
    content = read_json(path)
    if content.get("model_type") not in list(CLASSES):
        raise UserError(
            f"teacher.folder: {path} says model_type {content.get('model_type')!r}, expected one of "
            f"{', '.join(CLASSES)}; use such a model, or an s3prl upstream (teacher.upstream)"
        )
    return content


def read_json(path: Path) -> dict[str, Any]:
    """
    Raises:
        UserError: the file is not JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"teacher.folder: {path} is not JSON ({error}); copy the folder again") from error
    if not isinstance(content, dict):
        raise UserError(f"teacher.folder: {path} holds a {type(content).__name__}, expected an object")
    return content


def _build(folder: Path, model_type: str) -> Any:
    """The model without memory for its weights, and with nothing random in it."""
    import huggingface_hub.errors
    import transformers

    name = CLASSES[model_type]
    content = {**_read_config(folder), "layerdrop": 0.0, "apply_spec_augment": False, "add_adapter": False}
    content |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    # today's configurations check themselves with an exception class of their own
    strict = getattr(huggingface_hub.errors, "StrictDataclassError", ValueError)
    try:
        config = getattr(transformers, name.replace("Model", "Config")).from_dict(content)
        if not isinstance(config.num_hidden_layers, int):  # transformers 4 checks no types
            raise TypeError(f"num_hidden_layers is {config.num_hidden_layers!r}, expected a whole number")
        with torch.device("meta"):
            return getattr(transformers, name)(config)
    except (TypeError, ValueError, AttributeError, KeyError, RuntimeError, strict) as error:
        reason = " ".join((str(error) or repr(error)).split())[:300]
        raise UserError(f"teacher.folder: {folder / 'config.json'} does not describe a {name}: {reason}") from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder, on the CPU; safetensors first where both kinds are there.

    Raises:
        UserError: there are none, a file is missing or not whole, or it needs code to be run.
    """
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        weights.update(_read_weight_file(path))
    return weights


def _weight_files(folder: Path) -> list[Path]:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict):
                raise UserError(f"teacher.folder: {index} holds no weight_map; copy the folder again")
            return [folder / Path(name).name for name in sorted(set(shards.values()))]
    raise UserError(f"teacher.folder: {folder} holds no weights; expected {' or '.join(WEIGHT_FILES)}")


def _read_weight_file(path: Path) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    if not path.is_file():
        raise UserError(f"teacher.folder: {path} is not there, but its index lists it; copy the folder again")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"teacher.folder: {path} refused, it is no file of tensors alone; expected weights that load without "
            "running code, such as model.safetensors"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"teacher.folder: {path} is not whole ({path.stat().st_size} bytes, {reason}); copy it again"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"teacher.folder: {path} holds something else than named tensors; expected a state_dict")
    return weights


def _without_heads(folder: Path, weights: dict[str, Tensor], model_type: str) -> dict[str, Tensor]:
    """The encoder's weights under the names of a bare encoder of today."""
    kept, left_out = {}, []
    for stored, value in weights.items():
        name = stored.removeprefix(f"{model_type}.")  # models with a head have the encoder one level down
        if HEADS.match(name):
            left_out.append(stored)
            continue
        stem, _, leaf = name.rpartition(".")
        kept[f"{stem}.{OLD_WEIGHT_NORM.get(leaf, leaf)}"] = value
    if left_out:
        shown = ", ".join(sorted(left_out)[:6]) + (", ..." if len(left_out) > 6 else "")
        logger.info("teacher %s: left out %d weights that are no part of the encoder: %s", folder, len(left_out), shown)
    return kept


def _check(folder: Path, model_class: str, weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    shared = expected.keys() & weights.keys()
    problems = {
        "missing": sorted(expected.keys() - shared),
        "unknown": sorted(weights.keys() - shared),
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in sorted(shared)
            if weights[name].shape != expected[name].shape
        ],
    }
    found = [f"{len(names)} {what} ({_shown(names)})" for what, names in problems.items() if names]
    if found:
        raise UserError(
            f"teacher.folder: the weights in {folder} do not make the {model_class} of its config.json: "
            f"{'; '.join(found)}; expected all of its encoder and nothing else"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _normalises(folder: Path, config: Any) -> bool:
    path = folder / "preprocessor_config.json"
    if path.is_file():
        content = read_json(path)
        rate = content.get("sampling_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise UserError(
                f"teacher.folder: {path} says sampling_rate {rate}, expected {SAMPLE_RATE}; choose another teacher"
            )
        return bool(content.get("do_normalize", True))
    return bool(config.feat_extract_norm == "layer")  # as the released models of either kind do
