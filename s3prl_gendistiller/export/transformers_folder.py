"""A student as a folder of transformers, loaded with ``AutoModel.from_pretrained(FOLDER, trust_remote_code=True)``.

The folder holds the code of the student as transformers copies it: files beside each other, which import each other by
relative names. After ``import s3prl_gendistiller.transformers`` the classes of this package are used, and
`trust_remote_code` is not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export.card import Card, render
from s3prl_gendistiller.export.code import HERE, flat, flattened, import_lines, needed_modules
from s3prl_gendistiller.export.configuration_gendistiller import MODEL_TYPE
from s3prl_gendistiller.export.student_files import README, as_json, read_student, write_folder
from s3prl_gendistiller.front_ends import FRONT_ENDS
from s3prl_gendistiller.models.upstream import CONFIG
from s3prl_gendistiller.models.waveforms import SAMPLE_RATE

CONFIGURATION, MODELING = "configuration_gendistiller", "modeling_gendistiller"
CLASSES = {
    "AutoModel": "GenDistillerModel",
    "AutoModelForCTC": "GenDistillerForCTC",
    "AutoModelForAudioClassification": "GenDistillerForSequenceClassification",
}
"""Transformers' automatic classes and the classes of `modeling_gendistiller` that they build."""
PREFIX = "student."  # of the weights of `GenDistillerModel`
FEATURE_EXTRACTOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "sampling_rate": SAMPLE_RATE,
    "padding_value": 0.0,
    "do_normalize": False,  # a student whose teacher reads normalised samples normalises them itself
    "return_attention_mask": True,
}


def write_transformers(checkpoint: Path, folder: Path, card: Card, steps: int | None = None) -> list[Path]:
    """Writes configuration, weights, feature extractor, code and model card.

    Args:
        folder: a new folder, which appears only when it is complete; the returned files are relative to it.
        steps: number of layers that the model generates unless a call gives another number; None for all.

    Raises:
        UserError: the folder exists, the checkpoint cannot be used, or holds a student that is no GenDistiller.
    """
    files = read_student(checkpoint, steps)
    if files.kind.name != MODEL_TYPE:
        raise UserError(
            f"{checkpoint}: found the student {files.kind.name}, expected {MODEL_TYPE}: its network belongs to s3prl, "
            "and transformers has no place for it; choose the format onnx, safetensors or hub"
        )
    own = HERE / f"{MODELING}.py"
    modules = needed_modules([own], [front_end.module for front_end in FRONT_ENDS.values()])
    texts = {
        **flat(modules),
        f"{MODELING}.py": flattened(own) + "\n" + import_lines(modules),
        CONFIG: as_json(files.settings("transformers", **_automatic())),
        "preprocessor_config.json": as_json(FEATURE_EXTRACTOR),
        README: render(card, files.model_config, steps, __version__, form="transformers"),
    }
    return write_folder(folder, "the model", texts, {PREFIX + name: value for name, value in files.weights.items()})


def _automatic() -> dict[str, Any]:
    """The keys of config.json by which transformers finds the classes."""
    classes = {"AutoConfig": f"{CONFIGURATION}.GenDistillerConfig"}
    classes |= {name: f"{MODELING}.{own}" for name, own in CLASSES.items()}
    pipeline = {"impl": f"{MODELING}.AudioFeatures", "pt": ["AutoModel"], "type": "audio"}
    return {
        "model_type": MODEL_TYPE,
        "architectures": [CLASSES["AutoModel"]],
        "auto_map": classes,
        "custom_pipelines": {"feature-extraction": pipeline},
        "torch_dtype": "float32",
    }
