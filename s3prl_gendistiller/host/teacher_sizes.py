"""Layers, width and layout of a teacher before its weights are loaded, and the comparison of a student with them.

run_pretrain.py, `gendistiller config --check` and `gendistiller macs` accept and refuse the same configurations.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from s3prl_gendistiller.config import ModelConfig, TeacherConfig
from s3prl_gendistiller.distill.fit import check_fit, other_width
from s3prl_gendistiller.distill.teacher import EncoderLayout
from s3prl_gendistiller.distill.transformers_teacher import read_teacher_shape
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host.checkpoint import read_checkpoint
from s3prl_gendistiller.host.hub_teacher import check_hub_teacher
from s3prl_gendistiller.host.paths import expand, teacher_folder
from s3prl_gendistiller.host.upstream_files import reads_folder, stored_sizes

CHECKPOINT_KEY = "teacher.checkpoint"


class TeacherSizes(NamedTuple):
    """Transformer layers, width D_t and layout of a teacher; None for an unknown layout."""

    num_layers: int
    width: int
    layout: EncoderLayout | None = None


_BASE, _LARGE = TeacherSizes(12, 768), TeacherSizes(24, 1024)
# The upstreams of s3prl.hub that load their own checkpoint.
SIZES: dict[str, TeacherSizes] = {
    **dict.fromkeys(("hubert", "hubert_base", "hubert_base_robust_mgr", "mhubert_base_vp_en_es_fr_it3"), _BASE),
    **dict.fromkeys(("wavlm", "wavlm_base", "wavlm_base_plus", "wav2vec2", "wav2vec2_base_960"), _BASE),
    **dict.fromkeys(("hubert_large_ll60k", "wavlm_large", "wav2vec2_large_960", "wav2vec2_large_ll60k"), _LARGE),
    **dict.fromkeys(("wav2vec2_large_lv60_cv_swbd_fsh", "xlsr_53", "xls_r_300m"), _LARGE),
    "xls_r_1b": TeacherSizes(48, 1280),
    "xls_r_2b": TeacherSizes(48, 1920),
}


def check_teacher(config: ModelConfig, source: str | Path) -> TeacherSizes | None:
    """Refuses a configuration on which a run would fail; no weight of the teacher is read.

    Args:
        source: the file of the configuration, for the message.

    Returns:
        the teacher's sizes; None where they show only when its weights are loaded.

    Raises:
        UserError: the teacher is missing, or no usable speech encoder.
        ConfigError: student and teacher do not fit, one line for each key.
    """
    sizes = read_sizes(config.teacher)
    try:
        if sizes is not None:
            check_fit(config, str(config.teacher_name), *sizes)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.source}", error.problems) from error
    return sizes


def compare(config: ModelConfig, source: str | Path) -> list[str]:
    """`check_teacher` for commands that need no teacher: one that is not on this machine is no fault.

    Returns:
        lines for the user: what a student of another width gets and lacks, or why it was not compared.
    """
    absent = _absent(config.teacher)
    if absent is not None:
        return [f"not compared with its teacher: {absent}"]
    sizes = check_teacher(config, source)
    if sizes is None:
        named = config.teacher_name
        return [f"not compared with its teacher: the sizes of {named} show only when its weights are loaded"]
    return other_width(config, sizes.width)


def read_sizes(teacher: TeacherConfig) -> TeacherSizes | None:
    """The sizes of a teacher, by its JSON files, its checkpoint's settings or its name; errors as `check_teacher`."""
    if teacher.folder is not None:
        return _of_folder(teacher_folder(teacher.folder))
    assert teacher.upstream is not None
    if teacher.checkpoint is None and teacher.upstream in SIZES:
        return SIZES[teacher.upstream]  # s3prl.hub, which takes seconds to import, has them all
    checkpoint = None if teacher.checkpoint is None else expand(teacher.checkpoint, CHECKPOINT_KEY)
    entry = check_hub_teacher(teacher.upstream, checkpoint)
    if checkpoint is None or "://" in checkpoint:
        return None
    if reads_folder(entry):
        return _of_folder(checkpoint, CHECKPOINT_KEY)
    if Path(checkpoint).is_file():
        found = stored_sizes(entry, read_checkpoint(checkpoint, mmap=True))
        return None if found is None else TeacherSizes(*found)
    return None


def _of_folder(folder: str | Path, label: str = "teacher.folder") -> TeacherSizes:
    shape = read_teacher_shape(folder, label)
    return TeacherSizes(shape.num_layers, shape.width, shape.layout)


def _absent(teacher: TeacherConfig) -> str | None:
    """Text on the folder or file of a teacher that is not there; None if nothing is missing."""
    key, given = ("checkpoint", teacher.checkpoint) if teacher.folder is None else ("folder", teacher.folder)
    if given is None or "://" in given:
        return None
    try:
        there = teacher_folder(given).exists() if key == "folder" else Path(expand(given, CHECKPOINT_KEY)).exists()
    except UserError:  # a variable that is not set here, or a path below it that is not there
        there = False
    return None if there else f"teacher.{key} {given} is not there"
