"""One pass of the CNN for teacher and student: the student's CNN is a frozen copy of the teacher's.

While the student trains, it takes the features that the teacher's CNN has computed for the same batch. The student's
own CNN holds the same weights, so that the student is used alone like any other.
"""

from __future__ import annotations

import torch

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.teacher import Teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.student import Student

KEY = "distill.share_front_end"
MAX_DIFFERENCE = 1e-3  # relative; two implementations of one CNN differ by about 1e-6


def share_front_end(student: Student, teacher: Teacher) -> None:
    """Freezes the student's CNN and lets the teacher keep the features of each pass.

    Raises:
        UserError: the student takes no features, or the place of the teacher's CNN is not known.
    """
    if student.cnn is None:
        raise UserError(f"{KEY}: found true, expected false; a {type(student).__name__} takes no features of a teacher")
    student.cnn.requires_grad_(False)
    teacher.keep_features()


def check_shared(student: Student, teacher: Teacher) -> None:
    """Compares the frames that a student computes alone with those from the teacher's features, on quiet noise.

    Raises:
        UserError: the two differ, as with a CNN whose convolutions have a bias, which the student's lack.
    """
    device = next(student.parameters()).device
    noise = 0.01 * torch.randn(2, SAMPLE_RATE // 4, generator=torch.Generator().manual_seed(0))
    noise[1, SAMPLE_RATE // 8 :] = 0.0
    wavs, lengths = noise.to(device), torch.tensor([SAMPLE_RATE // 4, SAMPLE_RATE // 8])
    was_training, precision = student.training, teacher.dtype
    teacher.dtype = torch.float32  # in fewer bits the two would differ by more
    student.eval()
    try:
        with torch.no_grad():
            alone, mask = student.encode(wavs, lengths)
            shared, shared_mask = student.encode(wavs, lengths, teacher.features(wavs, lengths))
    finally:
        student.train(was_training)
        teacher.dtype = precision
    fits = mask.shape == shared_mask.shape and torch.equal(mask, shared_mask)
    difference = float((alone - shared)[mask].abs().max() / alone[mask].abs().max()) if fits else torch.inf
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{KEY}: found true, expected false; the frames of this student with its own CNN and with that of teacher "
            f"{teacher.name} differ by {difference:.1g}, so that the student would not work alone. The two CNNs need "
            "equal weights, norms and treatment of the samples, and convolutions without bias"
        )
