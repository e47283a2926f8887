"""GLMD, stage 2: a SUPERB head trained on the logits of the teacher's head, without labels (arXiv 2306.06625).

    run_downstream.py -u gendistiller_local -k STUDENT -d glmd_ks --teacher result/downstream/teacher_ks

The tasks glmd_ks, glmd_ic, glmd_er, glmd_sid, glmd_pr and glmd_asr are s3prl's own experts with another training loss:
the cross-entropy to the teacher's softmax at temperature 1, for each utterance, slot (IC) or real frame (PR, ASR).
The metrics are s3prl's. As in s3prl, the dev split, which has labels, chooses the checkpoint. Such a student is no
plain SUPERB entry. ASV, which has no classes at test, and QbE, which trains nothing, have no stage 2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_gendistiller.distill.teacher import common_frames
from s3prl_gendistiller.distill.weights import check_finite
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.checkpoint import newest_checkpoint, read_checkpoint
from s3prl_gendistiller.host.feature_cache import cached
from s3prl_gendistiller.host.feature_store import FeatureCache
from s3prl_gendistiller.models.front_end import frame_mask
from s3prl_gendistiller.schema import from_dict, key

PREFIX = "glmd_"
BASES = {
    "glmd_ks": "speech_commands",
    "glmd_ic": "fluent_commands",
    "glmd_er": "emotion",
    "glmd_sid": "voxceleb1",
    "glmd_pr": "ctc",
    "glmd_asr": "asr",
}
SECTION = "glmd"  # key of `downstream_expert` in the configuration
BEST = ("dev-best.ckpt", "dev-clean-best.ckpt")


@dataclass(frozen=True)
class SoftLabelConfig:
    teacher: str | None = key(None, about="checkpoint or folder of a run of the same task that was trained with labels")
    temperature: float = key(1.0, above=0.0, about="temperature of both softmaxes")
    hard_weight: float = key(
        0.0, low=0.0, about="weight of s3prl's loss with labels, added to the soft loss; 0 in GLMD"
    )

    def problems(self) -> Iterator[str]:
        if self.teacher is None:
            yield "teacher: missing; give --teacher with a run of the same task that was trained with labels"


def stock_task(downstream: str) -> str:
    """The task of s3prl behind a task of the second stage; any other name is returned as it is."""
    return BASES.get(downstream, downstream)


def base_of(downstream: str) -> str:
    """Task of s3prl that a glmd task is based on; UserError if there is no such task."""
    if downstream not in BASES:
        raise UserError(
            f"-d {downstream}: no such task; there are {', '.join(BASES)}. Verification, query by example, diarization "
            "and slot filling have no second stage"
        )
    return BASES[downstream]


def teacher_checkpoint(given: str | Path) -> Path:
    """The given file, or the checkpoint of a folder that was best on dev, or its newest one; UserError if none."""
    path = Path(given)
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"--teacher {given}: no such file or folder; expected a run of run_downstream.py")
        return path
    found = next((path / name for name in BEST if (path / name).is_file()), None) or newest_checkpoint(path)
    if found is None:
        raise UserError(f"--teacher {given}: found no checkpoint in it; expected a trained run of run_downstream.py")
    return Path(found)


def check_teacher(states: Mapping[str, Any], path: Path, downstream: str, config: Mapping[str, Any]) -> None:
    """Refuses a teacher of another task, fold or head than that of `config`; the UserError names the differences."""
    base = base_of(downstream)
    found = getattr(states.get("Args"), "downstream", None)
    if found != base or "Downstream" not in states:
        raise UserError(f"--teacher {path}: found a run of {found or 'no task'}, expected one of -d {base}")
    theirs, ours = states["Config"]["downstream_expert"], config["downstream_expert"]
    problems = [f"the head ({part})" for part in ("modelrc", "model") if theirs.get(part) != ours.get(part)]
    if not _same_units(theirs, ours):
        problems.append("the units of the text")
    fold, wanted = (side.get("datarc", {}).get("test_fold") for side in (theirs, ours))
    if fold != wanted:
        problems.append(f"the fold ({fold} instead of {wanted})")
    if theirs.get("corpus", {}).get("name") != ours.get("corpus", {}).get("name"):
        problems.append("the corpus")
    if problems:
        raise UserError(
            f"--teacher {path}: was trained with other settings of {', '.join(problems)}; train it with the same -c"
        )


def _same_units(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether two experts number the same units of text in the same way: phonemes (ctc) or letters (asr)."""
    if theirs.get("text", {}).get("mode") != ours.get("text", {}).get("mode"):
        return False
    for section, name in (("text", "vocab_file"), ("datarc", "dict_path")):
        before, now = (Path(side.get(section, {}).get(name) or "") for side in (theirs, ours))
        # the file may have moved since the teacher was trained
        both = before.is_file() and now.is_file()
        if before.read_bytes() != now.read_bytes() if both else before.name != now.name:
            return False
    return True


class HeadedTeacher:
    """Upstream, featurizer and head of a teacher as one function from waveforms to logits.

    Args:
        checkpoint: checkpoint of the teacher's run.
        head: a head of the same shape; only the projector may have another width.
        cache: cache of features, shared with the run with labels; unused for an upstream that was trained.
    """

    def __init__(
        self, checkpoint: Path, head: nn.Module, device: torch.device, cache: FeatureCache | None = None
    ) -> None:
        from s3prl import hub
        from s3prl.upstream.interfaces import Featurizer

        states = read_checkpoint(checkpoint)
        for part in ("Upstream", "Featurizer", "Downstream"):
            check_finite(states.get(part, {}), checkpoint)
        args = states["Args"]
        self.upstream = getattr(hub, args.upstream)(
            ckpt=args.upstream_ckpt, model_config=args.upstream_model_config, refresh=False
        )
        self.upstream = self.upstream.to(device).requires_grad_(False).eval()
        if "Upstream" in states:  # the run also trained its upstream
            self.upstream.load_state_dict(states["Upstream"])
        self.featurizer = Featurizer(
            upstream=self.upstream,
            feature_selection=args.upstream_feature_selection,
            layer_selection=args.upstream_layer_selection,
            upstream_device=str(device),
            normalize=args.upstream_feature_normalize,
        ).to(device)
        self.featurizer.load_state_dict(states["Featurizer"])
        if cache is not None and "Upstream" not in states:
            self.upstream = cached(self.upstream, args, self.featurizer, cache)
        weights = states["Downstream"]
        self.projector = nn.Linear(*reversed(weights["projector.weight"].shape))
        self.model = copy.deepcopy(head)
        self.model._forward_hooks.clear()  # the hooks of the copied head record the student's logits
        parts: tuple[tuple[str, nn.Module], ...] = (("projector", self.projector), ("model", self.model))
        for name, module in parts:
            state = {key.removeprefix(f"{name}."): w for key, w in weights.items() if key.startswith(f"{name}.")}
            try:
                module.load_state_dict(state)
            except RuntimeError as error:
                raise UserError(
                    f"--teacher {checkpoint}: its head is of another shape than this task's ({error}); train it on the "
                    "same corpus with the same -c"
                ) from error
            module.to(device).requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, wavs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C), or (B, T, C) with the number of frames of each utterance."""
        self.featurizer.eval()
        features = self.featurizer(wavs, self.upstream(wavs))
        lengths = torch.IntTensor([len(feature) for feature in features])
        logits, frames = self.model(self.projector(pad_sequence(features, batch_first=True)), lengths)
        return logits, frames


def soft_cross_entropy(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """- sum_c softmax(teacher / T)_c log softmax(student / T)_c over the last axis, without T^2."""
    target = torch.softmax(teacher / temperature, dim=-1)
    return -(target * torch.log_softmax(student / temperature, dim=-1)).sum(-1)


def utterance_loss(teacher: Tensor, student: Tensor, temperature: float, slots: Sequence[int]) -> Tensor:
    """Mean over utterances of the sum over slots; logits (B, C), where C is the sum of the slots' sizes."""
    parts = zip(teacher.split(list(slots), -1), student.split(list(slots), -1), strict=True)
    return torch.stack([soft_cross_entropy(t, s, temperature).mean() for t, s in parts]).sum()


def frame_loss(teacher: Tensor, student: Tensor, frames: tuple[Tensor, Tensor], temperature: float) -> Tensor:
    """Mean over real frames; logits (B, T', C) and (B, T, C), with the number of frames of each utterance for both."""
    theirs, ours = (torch.as_tensor(count).long().to(student.device) for count in frames)
    shared = common_frames(theirs, ours, "Use a head and a student of the same frame rate")
    common = min(teacher.shape[1], student.shape[1])
    real = frame_mask(shared, common)
    losses = soft_cross_entropy(teacher[:, :common], student[:, :common], temperature)
    return losses.masked_fill(~real, 0.0).sum() / real.sum().clamp(min=1)


class WithWaveforms:
    """A loader that repeats the waveforms of each batch at its end, as input of the teacher."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.sampler = getattr(loader, "sampler", None)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for wavs, *others in self.loader:
            yield (wavs, *others, wavs)


def distilled(base: Any) -> type:
    """Subclass of s3prl's expert of a task that is trained with the teacher's logits."""

    class DownstreamExpert(base):
        """Trains without labels; evaluates as s3prl's expert does."""

        def __init__(self, downstream_expert: dict[str, Any], **kwargs: Any) -> None:
            config = from_dict(SoftLabelConfig, downstream_expert.get(SECTION, {}), f"downstream_expert.{SECTION}")
            super().__init__(downstream_expert=downstream_expert, **kwargs)
            self.soft_labels = config
            self._teacher: list[HeadedTeacher] = []  # in a list, so that the teacher is not trained or saved
            self.teacher_cache: FeatureCache | None = None  # for `HeadedTeacher`; set by `mount`
            self._seen: list[tuple[Tensor, Any]] = []
            self.model.register_forward_hook(lambda module, inputs, output: self._seen.append(output))

        def get_dataloader(self, split: str, **kwargs: Any) -> Any:
            loader = super().get_dataloader(split, **kwargs)
            return WithWaveforms(loader) if split == "train" else loader

        def forward(self, split: str, features: list[Tensor], *others: Any, records: dict, **kwargs: Any) -> Tensor:
            if split != "train":
                loss: Tensor = super().forward(split, features, *others, records=records, **kwargs)
                self._seen.clear()
                return loss
            *others_of_base, wavs = others
            # s3prl's pass computes the logits and the log records; its loss with labels is used with hard_weight only
            hard = super().forward(split, features, *others_of_base, records=records, **kwargs)
            logits, frames = self._seen.pop()
            self._seen.clear()
            device = features[0].device
            if not self._teacher:
                assert self.soft_labels.teacher is not None
                checkpoint = teacher_checkpoint(self.soft_labels.teacher)
                self._teacher.append(HeadedTeacher(checkpoint, self.model, device, self.teacher_cache))
            taught, taught_frames = self._teacher[0]([torch.as_tensor(wav).float().to(device) for wav in wavs])
            temperature = self.soft_labels.temperature
            if logits.dim() == 3:
                assert taught_frames is not None
                soft = frame_loss(taught, logits, (taught_frames, frames), temperature)
            else:
                soft = utterance_loss(taught, logits, temperature, getattr(self, "values_per_slot", [logits.shape[-1]]))
            records["soft_loss"].append(float(soft))
            if self.soft_labels.hard_weight > 0.0:
                return soft + self.soft_labels.hard_weight * hard
            return soft

        def log_records(self, split: str, records: dict, logger: Any, global_step: int, **kwargs: Any) -> Any:
            values = records.pop("soft_loss", [])
            if values:
                logger.add_scalar(f"{SECTION}/{split}-soft_loss", sum(values) / len(values), global_step=global_step)
            return super().log_records(split, records=records, logger=logger, global_step=global_step, **kwargs)

    return DownstreamExpert
