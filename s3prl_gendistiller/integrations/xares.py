"""The encoder that X-ARES (the eXtensive Audio Representation and Evaluation Suite, arXiv 2505.16369) takes.

``python -m xares.run FILE`` looks in FILE for the only name that ends with "Encoder", calls it without arguments, and
names its results after the class:

    from s3prl_gendistiller.integrations import xares

    class MyStudentEncoder(xares.StudentEncoder):
        def __init__(self) -> None:
            super().__init__("result/pretrain/my_student")

X-ARES resamples audio to the stated rate and fills batches with zeros, which the encoder takes for audio, because
X-ARES passes no lengths. Audio of several minutes is cut into pieces, see `StudentFrames`.
"""

from __future__ import annotations

from s3prl_gendistiller.integrations.frames import FRAME_MS, StudentFrames
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE


class StudentEncoder(StudentFrames):
    """`StudentFrames` with the attributes that X-ARES reads; ``encoder(audio (B, S)) -> (B, T, output_dim)``."""

    sampling_rate = SAMPLE_RATE
    hop_size_in_ms = FRAME_MS

    @property
    def output_dim(self) -> int:
        return self.width
