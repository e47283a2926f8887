"""Students as models of transformers: ``import s3prl_gendistiller.transformers`` registers the classes.

From then on `AutoModel.from_pretrained` reads a folder of ``gendistiller export --format transformers`` with the
classes of this package, and needs no `trust_remote_code`:

    import s3prl_gendistiller.transformers
    from transformers import AutoModel
    model = AutoModel.from_pretrained("exported")
"""

from __future__ import annotations

from s3prl_gendistiller.host import compat  # isort: skip

compat.apply()  # transformers imports the torchaudio that is there

import transformers  # noqa: E402

from s3prl_gendistiller.export import modeling_gendistiller  # noqa: E402
from s3prl_gendistiller.export.configuration_gendistiller import MODEL_TYPE, GenDistillerConfig  # noqa: E402
from s3prl_gendistiller.export.modeling_gendistiller import (  # noqa: E402
    AudioFeatures,
    GenDistillerForCTC,
    GenDistillerForSequenceClassification,
    GenDistillerModel,
)
from s3prl_gendistiller.export.transformers_folder import CLASSES  # noqa: E402

__all__ = [
    "AudioFeatures",
    "GenDistillerConfig",
    "GenDistillerForCTC",
    "GenDistillerForSequenceClassification",
    "GenDistillerModel",
]

transformers.AutoConfig.register(MODEL_TYPE, GenDistillerConfig, exist_ok=True)
for _automatic, _own in CLASSES.items():
    getattr(transformers, _automatic).register(GenDistillerConfig, getattr(modeling_gendistiller, _own), exist_ok=True)
