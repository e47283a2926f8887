"""SUPERB's second ASR number: a trained head decoded with LibriSpeech's official 4-gram model.

s3prl decodes with KenLM through flashlight's Python bindings (`downstream/asr/w2l_decoder.py` of 0.4.18). The
configuration of s3prl gives ``unk_weight: -math.inf`` as text, which its expert evaluates without importing math; here
the weight is a number. The settings are in ``downstream_runs/asr/lm.yaml``.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import OVERRIDE_SEPARATOR
from s3prl_gendistiller.schema import read_layered_yaml
from s3prl_gendistiller.shipped import shipped_folder

SETTINGS = "asr/lm.yaml"
MODELS = ("4-gram.bin", "4-gram.arpa", "4-gram.arpa.gz")
LEXICON = "librispeech_lexicon.lst"
_BINDINGS = {
    "flashlight.lib.text.decoder": ("CriterionType", "KenLM", "LexiconDecoder", "LexiconDecoderOptions", "Trie"),
    "flashlight.lib.text.dictionary": ("create_word_dict", "load_words"),
}


def require_decoder() -> None:
    """UserError if a package is missing; s3prl would only warn, and stop after loading everything else."""
    for module, names in _BINDINGS.items():
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            needed = f"flashlight's text bindings with KenLM ({error})"
            raise UserError(f"--lm: decoding needs {needed}; {_INSTALL}") from error
        if missing := [name for name in names if not hasattr(found, name)]:
            raise UserError(f"--lm: found {module} without {', '.join(missing)}; {_INSTALL}")


_INSTALL = "install them with `pip install flashlight-text` and KenLM's own package (kenlm), or leave --lm out"


def decoder_overrides(folder: Path) -> list[str]:
    """Options of run_downstream.py's ``-o`` that decode with the model in a folder; raises as `find_model`."""
    settings = read_layered_yaml(shipped_folder("downstream_runs") / SETTINGS)["downstream_expert"]["datarc"]
    model, lexicon = find_model(folder)
    values = {**settings["decoder_args"], "kenlm_model": str(model), "lexicon": str(lexicon)}
    return [f"config.downstream_expert.datarc.decoder_args.{key}={_literal(value)}" for key, value in values.items()]


def find_model(folder: Path) -> tuple[Path, Path]:
    """The language model and the lexicon of a folder; a binary model before a text, which takes minutes to read.

    Raises:
        UserError: the folder lacks the model or the lexicon, or s3prl cannot read the path of the folder.
    """
    folder = folder.absolute()
    if "=" in str(folder) or OVERRIDE_SEPARATOR in str(folder):
        raise UserError(f"--lm {folder}: s3prl cannot read a path with = or {OVERRIDE_SEPARATOR} in it; rename it")
    models = [folder / name for name in MODELS if (folder / name).is_file()]
    if not models or not (folder / LEXICON).is_file():
        raise UserError(
            f"--lm {folder}: expected {' or '.join(MODELS)} (openslr.org/11) and {LEXICON} (wav2letter's, one line "
            f"WORD W O R D | each), found {', '.join(sorted(path.name for path in folder.glob('*'))) or 'nothing'}"
        )
    return models[0], folder / LEXICON


def _literal(value: Any) -> str:
    """A value as Python code without names, which is what s3prl's ``-o`` evaluates."""
    return f"float('{value}')" if isinstance(value, float) and math.isinf(value) else repr(value)
