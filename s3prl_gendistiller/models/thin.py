"""HuBERT's convolutions with fewer channels: the same kernels and strides, hence the same frames for every length.

Thin convolutions are those of FitHuBERT, ARMHuBERT and STaRHuBERT (arXiv 2207.00555, 2305.11685, 2312.09040). A warm
start copies the teacher's most important channels into them (`distill.channels`).
"""

from __future__ import annotations

from s3prl_gendistiller.config import BackboneConfig
from s3prl_gendistiller.models.front_end import ConvFrontEnd


class ThinFrontEnd(ConvFrontEnd):
    """`ConvFrontEnd` whose warm start takes some of the teacher's channels, and not all of them."""


def build(config: BackboneConfig) -> ThinFrontEnd:
    """The front end of the row `thin` of `front_ends.FRONT_ENDS`."""
    return ThinFrontEnd.of(config, config.thin_conv_layers)
