"""Loading the teacher that a configuration names, and the warm start of a student from it."""

from __future__ import annotations

import logging
from pathlib import Path

from s3prl_gendistiller.config import GenDistillerModelConfig, ModelConfig, TeacherConfig
from s3prl_gendistiller.distill.fit import check_fit
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.distill.warm_start import warm_start, warm_start_distiller
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.host.paths import expand, teacher_folder
from s3prl_gendistiller.host.students import weight_module
from s3prl_gendistiller.models.student import Student

logger = logging.getLogger(__name__)


def load_teacher(config: TeacherConfig) -> Teacher:
    """The frozen teacher that a configuration names.

    Raises:
        UserError: the upstream, folder or checkpoint is missing, or is no speech encoder that can be used.
    """
    compat.apply()  # transformers imports torchaudio, which a CPU-only torch cannot load as it is
    if config.folder is not None:
        return load_transformers_teacher(teacher_folder(config.folder))
    assert config.upstream is not None
    checkpoint = None if config.checkpoint is None else expand(config.checkpoint, "teacher.checkpoint")
    if checkpoint is not None and "://" not in checkpoint and not Path(checkpoint).exists():
        raise UserError(f"teacher.checkpoint: {checkpoint} is not there; expected the checkpoint of {config.upstream}")
    return load_hub_teacher(config.upstream, checkpoint)


def warm_start_student(student: Student, teacher: Teacher, config: ModelConfig) -> None:
    """Copies the weights that `warm_start` names from the teacher into a fresh student, and logs the copied parts.

    Raises:
        UserError: a shape differs, or the names of the teacher's weights are not known.
    """
    wanted = config.warm_start
    layer = config.warm_start.layer if isinstance(config, GenDistillerModelConfig) else None
    if not (wanted.front_end or wanted.position or layer or getattr(wanted, "layers", False)):
        logger.info("warm start: off, the student starts from random weights")
        return
    if teacher.naming is None:
        raise UserError(
            f"warm_start: the weights of teacher {teacher.name} have names that are not known (expected those of "
            "fairseq or transformers); set front_end, position to false and layer to null (layers to false)"
        )
    check_fit(config, teacher.name, teacher.num_layers, teacher.width, teacher.layout)
    if (
        not isinstance(config, GenDistillerModelConfig)
        and wanted.front_end
        and getattr(teacher.layout, "normalize", False)
    ):
        logger.warning("teacher %s normalises its input and s3prl's DistillerModel does not", teacher.name)
    state = teacher.encoder_state()
    if isinstance(config, GenDistillerModelConfig):
        report = warm_start(
            student, state, teacher.naming, front_end=wanted.front_end, position=wanted.position, layer=layer
        )
    else:
        if wanted.front_end and teacher.layout is not None and teacher.layout.normalize:
            logger.warning("teacher %s normalises its input and s3prl's DistillerModel does not", teacher.name)
        layers = config.student.encoder_layers if config.warm_start.layers else 0
        report = warm_start_distiller(
            weight_module(student),
            state,
            teacher.naming,
            front_end=wanted.front_end,
            position=wanted.position,
            layers=layers,
            norms=config.warm_start.norms,
        )
    logger.info("warm start from %s: %s", teacher.name, report.summary())
