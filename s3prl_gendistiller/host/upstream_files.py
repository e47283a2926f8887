"""Checkpoints that a user passes to an upstream of s3prl: their content, and the upstream that reads them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from s3prl_gendistiller.distill.transformers_teacher import load_encoder, read_teacher_shape
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host.checkpoint import UnsafeCheckpoint, newest_checkpoint, read_checkpoint, student_kind
from s3prl_gendistiller.host.students import is_exported, load_student, read_settings
from s3prl_gendistiller.host.upstream_contents import CONVERTED, LAYOUTS, SYMBOLS, check_contents
from s3prl_gendistiller.host.upstreams import FOLDERS_ENTRY, TEACHER, Door, family_of, upstreams
from s3prl_gendistiller.student_kinds import OWN_UPSTREAM, OWN_UPSTREAMS, kind_of_weights, read_model_config

_FLAT = ("wavlm", "unispeech_sat")  # their `cfg` is the model's alone; fairseq's has a section `model`
_FAIRSEQ_ALONE = {"args", "task_state", "extra_state", "optimizer_history", "last_optimizer_state"}
_FAIRSEQ_NAMES = {"data2vec_audio": "data2vec"}
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def check_file(name: str, checkpoint: str, door: Door) -> None:
    """Refuses a checkpoint that the entry `name` of s3prl.hub cannot read.

    Args:
        checkpoint: a path, an address, or for transformers a folder or the name of a model on its hub.

    Raises:
        UserError: the checkpoint is missing, a folder in place of a file or the reverse, of another kind, or not whole,
            or loading it would run code.
    """
    family = family_of(name)
    either = f"{name.rpartition('_')[0]}_custom" in upstreams()  # such an entry downloads an address itself
    what = f"{door.checkpoint} {checkpoint}"
    if family.startswith("hf_") or name == FOLDERS_ENTRY:
        _check_folder(name, family, checkpoint, door)
    elif "://" in checkpoint:
        if not either and not name.endswith("_url"):
            raise UserError(f"{what}: found an address, expected a file; {name.rpartition('_')[0]}_url reads addresses")
    elif name.endswith("_url") and not either:
        raise UserError(f"{what}: expected an address (https://...); {name.removesuffix('_url')}_local reads files")
    elif name in OWN_UPSTREAMS and is_exported(checkpoint):
        with torch.random.fork_rng(devices=[]):  # a head is to be the same on a student and on its export
            load_student(checkpoint)
    elif Path(checkpoint).is_dir():
        raise UserError(f"{what}: found a folder, expected a checkpoint file; {_in_folder(Path(checkpoint), door)}")
    elif not Path(checkpoint).is_file():
        raise UserError(f"{what}: no such file; expected the checkpoint that {name} reads")
    else:
        _check_content(name, family, checkpoint, door)


def _check_folder(name: str, family: str, folder: str, door: Door) -> None:
    """Checks the model_type too: s3prl's entry loads a WavLM as a HuBERT and drops its position weights."""
    if (Path(folder) / "config.json").is_file():
        found, expected = read_teacher_shape(folder, door.checkpoint).model_type, family.removeprefix("hf_")
        if family.startswith("hf_") and found != expected:
            raise UserError(
                f"{door.checkpoint}: {folder} holds a {found}, expected a {expected} for {name}; {_of_folder(door)}"
            )
        load_encoder(folder, door.checkpoint)
    elif Path(folder).exists() or not family.startswith("hf_") or not _HUB_ID.fullmatch(folder):
        other = ", or the name of a model on the hub" if family.startswith("hf_") else ""
        raise UserError(
            f"{door.checkpoint}: found {folder}, expected for {name} a transformers folder, with config.json and "
            f"weights{other}"
        )


def _in_folder(folder: Path, door: Door) -> str:
    if is_exported(folder):
        return f"it holds an exported student; {door.choose.format(OWN_UPSTREAM)}"
    if (folder / "config.json").is_file():
        found = read_teacher_shape(folder, door.checkpoint).model_type
        return f"it holds a {found} of transformers; {_of_folder(door)}"
    newest = newest_checkpoint(folder)
    return f"name {newest}" if newest is not None else "it holds no whole states-*.ckpt either"


def _of_folder(door: Door) -> str:
    if door is TEACHER:
        return "give it as teacher.folder instead of upstream and checkpoint"
    return door.choose.format(FOLDERS_ENTRY)


def _check_content(name: str, family: str, checkpoint: str, door: Door) -> None:
    refusal = f"{door.checkpoint}: {checkpoint} could not be loaded by s3prl.hub.{name}: found"
    try:
        states = read_checkpoint(checkpoint, mmap=True)
    except UnsafeCheckpoint as error:
        if error.name.split(".")[0] in ("fairseq", "omegaconf"):
            raise UserError(f"{refusal} {_conversion(family, checkpoint)}") from error
        raise
    reader = _reader(states)
    if name in OWN_UPSTREAMS:
        stock = reader != OWN_UPSTREAM and "student" not in _mapping(states, "Upstream_Config")
        foreign = stock or reader is None or "Downstream" in states
        found = _described(states, checkpoint, door) if foreign else ""
        if found:
            raise UserError(f"{refusal} {found}")
        student_kind(states, checkpoint)
        return
    absent = [key for key in LAYOUTS[family].entries() if key not in states] if family in LAYOUTS else []
    flat = family not in _FLAT or not isinstance(states.get("cfg"), Mapping) or "encoder_layers" in states["cfg"]
    own = reader is None or reader.rpartition("_")[0] == name.rpartition("_")[0]
    if absent or not flat or not own:
        found = _described(states, checkpoint, door, family) or f"no {', '.join(absent)} in it"
        raise UserError(f"{refusal} {found}")
    check_contents(states, family, name, checkpoint, door.checkpoint)


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    return found if isinstance(found, Mapping) else {}


def _reader(states: Mapping[str, Any]) -> str | None:
    """The entry of s3prl.hub that reads a student of ours or of s3prl; None for any other checkpoint."""
    kind = kind_of_weights(states)
    return None if kind is None else kind.upstream_for(_mapping(_mapping(states, "Upstream_Config"), "student"))


def _described(states: Mapping[str, Any], checkpoint: str, door: Door, family: str = "hubert") -> str:
    """The kind of a checkpoint and the upstream that reads it; empty if these are not known."""
    if "Downstream" in states:
        return "a run of run_downstream.py, expected an upstream; run_downstream.py -e goes on with such a run"
    reader = _reader(states)
    if reader is not None:
        return f"a student, which {reader} reads; {door.choose.format(reader)}"
    if "Transformer" in states:
        return "a run of s3prl's own pretraining, which tera_local, mockingjay_local or audio_albert_local reads"
    if all(key in states for key in CONVERTED):
        reads = "hubert_local" if SYMBOLS in states else "wav2vec2_local or data2vec_local"
        return f"a checkpoint that s3prl has converted from fairseq, which {reads} reads"
    cfg = states.get("cfg")
    if isinstance(cfg, Mapping) and "encoder_layers" in cfg:
        return "a checkpoint as Microsoft writes it, which wavlm_local or unispeech_sat_local reads"
    if "model" in states and (_FAIRSEQ_ALONE & states.keys() or isinstance(cfg, Mapping)):
        stated = str(_mapping(_mapping(states, "cfg"), "model").get("_name"))
        return _conversion(_FAIRSEQ_NAMES.get(stated, stated) if _convert_of(stated) else family, checkpoint)
    if states and all(isinstance(value, torch.Tensor) for value in states.values()):
        return "weights alone; the transformers folder that they come from is what hf_hubert_custom reads"
    return ""


def _convert_of(family: str) -> str | None:
    """Module of s3prl that converts fairseq's checkpoints of a family, if there is one."""
    module = f"s3prl.upstream.{_FAIRSEQ_NAMES.get(family, family)}"
    if not module.rpartition(".")[2].isidentifier() or importlib.util.find_spec(module) is None:
        return None
    return f"{module}.convert" if importlib.util.find_spec(f"{module}.convert") is not None else None


def _conversion(family: str, checkpoint: str) -> str:
    module = _convert_of(family) or _convert_of("hubert")
    return (
        "a checkpoint of fairseq, expected one that s3prl's convert.py has made of it; where fairseq is installed: "
        f"python -m {module} {checkpoint} --output_dir DIR"
    )


def count_states(name: str, checkpoint: str | None, steps: int | None) -> int | None:
    """Number of hidden states of an upstream, by the configuration in a file that `check_file` has passed.

    None if the number is not known. `steps` is the number of layers that a GenDistiller generates; None for all.
    """
    family = family_of(name)
    if family == "baseline":
        return 1
    if checkpoint is None or not Path(checkpoint).exists():
        return None
    if reads_folder(name):
        return read_teacher_shape(checkpoint).num_layers + 1
    if is_exported(checkpoint):
        settings = read_settings(checkpoint)
        return settings.config.num_states(settings.steps if steps is None else steps)
    states = read_checkpoint(checkpoint, mmap=True)
    try:
        kind = kind_of_weights(states)
        if kind is not None:
            return read_model_config(kind.name, states["Upstream_Config"]).num_states(steps)
    except (KeyError, TypeError, AttributeError, ValueError, ConfigError):
        return None
    sizes = stored_sizes(name, states)
    return None if sizes is None else sizes[0] + 1


def reads_folder(name: str) -> bool:
    """Whether the checkpoint of an upstream is a folder of transformers."""
    return family_of(name).startswith("hf_") or name == FOLDERS_ENTRY


def stored_sizes(name: str, states: Mapping[str, Any]) -> tuple[int, int] | None:
    """Transformer layers and width of an upstream, by the settings in its checkpoint; None if these are not known."""
    sections = {"hubert": "model_cfg", "wav2vec2": "model_cfg", "wavlm": "cfg", "unispeech_sat": "cfg"}
    try:
        settings = states[sections[family_of(name)]]
        return int(settings["encoder_layers"]), int(settings["encoder_embed_dim"])
    except (KeyError, TypeError, ValueError):
        return None
