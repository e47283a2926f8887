"""Units of a teacher: its own unit head, its hidden states, and the number of frames with each unit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from s3prl_gendistiller.config import TeacherConfig
from s3prl_gendistiller.distill.audio import read_audio
from s3prl_gendistiller.distill.manifest import Utterance
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.units import HEAD_TEMPERATURE, UnitHead
from s3prl_gendistiller.distill.weights import check_finite
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import teacher_folder
from s3prl_gendistiller.outputs import write_text

HEAD_FILE = "unit_head.safetensors"
SAVED_EVERY = 500  # utterances


def teacher_head(teacher: Teacher, config: TeacherConfig) -> UnitHead | None:
    """The unit head of a teacher: of s3prl's HuBERT, or of a folder's unit_head.safetensors; UserError if it is broken.

    None if there is no head, as in transformers' HuBERT and in WavLM.
    """
    if config.folder is not None:
        path = teacher_folder(config.folder) / HEAD_FILE
        if not path.is_file():
            return None
        return _read_head(path, teacher)
    found = teacher.encoder.state_dict()
    embeddings = "label_embs_concat"
    prefix = next((name.removesuffix(embeddings) for name in found if name.endswith(embeddings)), None)
    if prefix is None or f"{prefix}final_proj.weight" not in found:
        return None
    state = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    if "target_glu.0.weight" in state:  # fairseq applies it to the embeddings in each call; once is enough
        gated = functional.linear(state[embeddings], state["target_glu.0.weight"], state["target_glu.0.bias"])
        state[embeddings] = functional.glu(gated)
    try:
        return UnitHead.from_state(state)
    except (ValueError, LookupError, RuntimeError) as error:  # such as one projection for each of several codebooks
        raise UserError(
            f"teacher {teacher.name}: its unit head has parts that are not known here ({str(error)[:200]}); take "
            "--source kmeans"
        ) from error


def _read_head(path: Path, teacher: Teacher) -> UnitHead:
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            temperature = float((file.metadata() or {}).get("temperature", HEAD_TEMPERATURE))
        head = UnitHead.from_state(state, temperature)
        if not 0.0 < temperature < math.inf:
            raise ValueError(f"temperature {temperature}, expected a number above 0")
        if head.width != teacher.width:
            raise ValueError(f"of width {head.width}, expected the teacher's {teacher.width}")
    except (safetensors.SafetensorError, LookupError, ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"{path}: not readable as a unit head ({str(error)[:200]}); write it again, or take --source kmeans"
        ) from error
    check_finite(state, str(path))
    return head


@torch.no_grad()
def states_of(
    teacher: Teacher, layers: Sequence[int], utterances: Iterable[Utterance], device: str, progress: str | None = None
) -> Iterator[Tensor]:
    """Hidden states (L, T, D) of each utterance, computed alone and thus without padding.

    UserError: an audio file cannot be read, or the hidden states are not finite.
    """
    for utterance in tqdm(utterances, desc=progress, unit="file", disable=progress is None):
        wav = read_audio(utterance.path).to(device)
        states = teacher(wav[None], torch.tensor([len(wav)], device=device), layers)[0]
        _check_finite(states, utterance, teacher)
        yield states


@torch.no_grad()
def count_units(
    teacher: Teacher,
    predict: Callable[[Tensor], Tensor],
    layers: Sequence[int],
    utterances: Sequence[Utterance],
    num_units: int,
    partial: Path,
    *,
    codebook: str = "",
    device: str = "cpu",
    progress: str | None = None,
) -> Tensor:
    """Number of frames in which each unit of each layer has the highest logit, (L, V) int64.

    The order of the utterances makes no difference.

    Args:
        predict: function from states of the layers (L, T, D) to logits (L, T, V).
        partial: file of the counts so far, written every `SAVED_EVERY` utterances; the same call goes on from it and
            deletes it at the end.
        codebook: identity of `predict`, such as a hash of its weights.

    UserError: an audio file cannot be read, states or logits are not finite, or there is no frame.
    """
    utterances = sorted(utterances, key=lambda utterance: str(utterance.path))
    identity = content_hash(utterances) + teacher.fingerprint() + str((list(layers), num_units, codebook))
    counts, done = _read_partial(partial, identity, len(layers), num_units)
    _write_partial(partial, identity, counts, done)  # fails before the work if the file cannot be written
    rest = utterances[done:]
    for number, states in enumerate(states_of(teacher, layers, rest, device, progress), start=done + 1):
        logits = predict(states)
        _check_finite(logits, utterances[number - 1], teacher)
        counts += torch.stack([torch.bincount(row, minlength=num_units) for row in logits.argmax(-1).cpu()])
        if number % SAVED_EVERY == 0:
            _write_partial(partial, identity, counts, number)
    if not counts.any():
        raise UserError("the manifest: found no frame in it, expected speech; name another one")
    partial.unlink(missing_ok=True)
    return counts


def _check_finite(values: Tensor, utterance: Utterance, teacher: Teacher) -> None:
    if not values.isfinite().all():
        raise UserError(
            f"{utterance.path}: teacher {teacher.name} gives numbers that are not finite; check its weights"
        )


def content_hash(utterances: Iterable[Utterance]) -> str:
    """16 hexadecimal digits of names and lengths, independent of the order of utterances."""
    lines = sorted(f"{utterance.path.name} {utterance.num_samples}" for utterance in utterances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _write_partial(partial: Path, identity: str, counts: Tensor, done: int) -> None:
    write_text(partial, json.dumps({"identity": identity, "counts": counts.tolist(), "done": done}))


def _read_partial(partial: Path, identity: str, *shape: int) -> tuple[Tensor, int]:
    """Stored counts and the number of counted utterances; zeros if the file is of another count, or not whole."""
    try:
        content = json.loads(partial.read_text(encoding="utf-8"))
        counts, done = torch.tensor(content["counts"], dtype=torch.long), content["done"]
        if content["identity"] == identity and counts.shape == shape and counts.min() >= 0 and done >= 0:
            return counts, int(done)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, RecursionError):
        pass
    return torch.zeros(shape, dtype=torch.long), 0
