"""Loading the teacher that a configuration names, and the warm start of a student from it."""

from __future__ import annotations

import logging
from pathlib import Path

from s3prl_gendistiller import student_kinds
from s3prl_gendistiller.config import ModelConfig, TeacherConfig
from s3prl_gendistiller.distill.fit import check_fit
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.host.paths import expand, teacher_folder
from s3prl_gendistiller.models.student import Student

logger = logging.getLogger(__name__)


def load_teacher(config: TeacherConfig) -> Teacher:
    """The frozen teacher that a configuration names; UserError if it is missing, or no usable speech encoder."""
    compat.apply()  # transformers imports torchaudio, which a CPU-only torch cannot load as it is
    if config.folder is not None:
        return load_transformers_teacher(teacher_folder(config.folder))
    assert config.upstream is not None
    checkpoint = None if config.checkpoint is None else expand(config.checkpoint, "teacher.checkpoint")
    if checkpoint is not None and "://" not in checkpoint and not Path(checkpoint).exists():
        raise UserError(f"teacher.checkpoint: {checkpoint} is not there; expected the checkpoint of {config.upstream}")
    return load_hub_teacher(config.upstream, checkpoint)


def warm_start_student(student: Student, teacher: Teacher, config: ModelConfig) -> None:
    """Copies the parts that `warm_start` names from the teacher into a fresh student, and logs them.

    UserError: a shape differs, or the names of the teacher's weights are not known. Parts of another width stay random,
    and the log names them.
    """
    wanted = config.warm_start
    if not (wanted.front_end or wanted.position or wanted.copied_layers(config.student)):
        logger.info("warm start: off, the student starts from random weights")
        return
    if teacher.naming is None:
        raise UserError(
            f"warm_start: the weights of teacher {teacher.name} have names that are not known (expected those of "
            "fairseq or transformers); set front_end, position to false and layer to null (layers to false)"
        )
    check_fit(config, teacher.name, teacher.num_layers, teacher.width, teacher.layout)
    if not hasattr(config.student, "normalize") and wanted.front_end and getattr(teacher.layout, "normalize", False):
        logger.warning("teacher %s normalises its input and s3prl's DistillerModel does not", teacher.name)
    copy = student_kinds.function(student_kinds.kind_of(config).warm_start)
    report = copy(student.stored_module, teacher.encoder_state(), teacher.naming, **wanted.options(config.student))
    logger.info("warm start from %s: %s", teacher.name, report.summary())
