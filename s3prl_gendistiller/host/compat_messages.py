"""Leaves out the lines of s3prl and its libraries on which a user of our commands cannot act; ``-v`` shows them all.

The tables name each of these lines and say why it may go. Everything else stays: warnings about audio, weights, memory
or numbers are not in the tables. Data loader workers inherit the filters of the process from which they are forked; a
variable of the environment carries the choice to processes that are started anew.

Only the commands of this package call `choose`. A script that imports this package sees every line.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

from s3prl_gendistiller.distill.audio import decoders_silenced

VARIABLE = "GENDISTILLER_VERBOSE"
PACKAGE = "s3prl_gendistiller"

_OLD_CALLS = (
    "s3prl",
    # s3prl's pretraining scripts import their modules from the top
    *("pretrain", "downstream", "upstream", "optimizers", "schedulers", "utility"),
    *("torch", "torchaudio", "torch_complex", "transformers", "huggingface_hub", "librosa", "numpy"),
    *("pkg_resources", "setuptools", "_distutils_hack", "distutils"),
)
"""Modules whose deprecations are left out: who wrote the call can change it, who runs the command cannot.

Among these are weight_norm (s3prl's models), torch.cuda.amp (s3prl's loops), torch.jit (torchaudio) and distutils
(torch_complex).
"""
_DEPRECATIONS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)

_WARNINGS = (
    # deprecations that their libraries write as UserWarning
    r"This overload of \w+ is deprecated",  # s3prl.optimizers
    r"pkg_resources is deprecated as an API",
    r"Setuptools is replacing distutils",
    r"torchaudio\.[\w.]+ (has been|is) deprecated",  # calls of s3prl
    r"In 2\.9, this function's implementation will be changed",  # torchaudio 2.8's load, save and info
    # the launcher says that there is no GPU, and what follows from it
    r".*CUDA is not available",
    r"'pin_memory' argument is set as true but no accelerator is found",  # s3prl's task of diarization
)
"""Beginnings of warnings, as regular expressions."""

_LOGGED = {
    # an upstream that nobody asked for; its own loader refuses it with the same words
    "s3prl.upstream.espnet_hubert.expert": r"ESPnet is not installed",
    # the task of speaker verification imports this package and does not use the program
    "sox": r"SoX could not be found",
    # the root logger: the label frames of diarization follow the upstream, as they should
    "": r"Diarization label frame shfit",
}
"""Name of a logger -> beginning of its messages, as a regular expression."""

_PRINTED = ("[DistillerModel]", "[UpstreamExpert] - Using the default", "[TransformerEncoder] - Attention type")
"""Beginnings of the lines that s3prl's DistilHuBERT prints about a configuration that the student's file holds."""
_PRINTING = tuple(f"s3prl.upstream.distiller.{name}" for name in ("expert", "model", "module"))


_state = {"quiet": False}


class _Unlisted(logging.Filter):
    """Passes the records of a logger that are not in the table."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self.beginning = re.compile(beginning)

    def filter(self, record: logging.LogRecord) -> bool:
        return self.beginning.match(record.getMessage()) is None


def is_verbose() -> bool:
    """Whether ``-v`` was given, here or in the command that started this process."""
    return os.environ.get(VARIABLE) == "1"


def choose(verbose: bool) -> None:
    """Shows every line if `verbose`, else leaves out those of the tables; child processes do the same.

    A command that was started with ``-v`` is verbose in all its processes.
    """
    if verbose:
        os.environ[VARIABLE] = "1"
    logging.getLogger(PACKAGE).setLevel(logging.DEBUG if is_verbose() else logging.INFO)
    _state["quiet"] = not is_verbose()
    if is_verbose():
        return
    for category in _DEPRECATIONS:
        modules = "|".join(map(re.escape, _OLD_CALLS))
        warnings.filterwarnings("ignore", category=category, module=rf"({modules})(\.|$)")
    for beginning in _WARNINGS:
        warnings.filterwarnings("ignore", message=beginning, category=UserWarning)
    for name, beginning in _LOGGED.items():
        logger = logging.getLogger(name)
        if not any(isinstance(found, _Unlisted) for found in logger.filters):
            logger.addFilter(_Unlisted(beginning))


def quieten_prints() -> None:
    """Leaves out the printed lines of the table, once s3prl's modules are imported."""
    for name in _PRINTING:
        module: Any = sys.modules.get(name)
        if module is not None and _state["quiet"]:
            module.print = unlisted_print


def unlisted_print(*values: Any, **options: Any) -> None:
    """`print` for the lines that are not in the table."""
    if not (values and str(values[0]).startswith(_PRINTED)):
        builtins.print(*values, **options)


def import_sox() -> None:
    """Imports the package sox, if it is there, without the message of the shell that looks for the program."""
    silenced: Callable[[], Any] = decoders_silenced if _state["quiet"] else contextlib.nullcontext
    with silenced(), contextlib.suppress(ImportError):
        importlib.import_module("sox")
