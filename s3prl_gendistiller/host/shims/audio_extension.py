"""`torchaudio._extension` for a torchaudio whose compiled library does not fit the installed torch.

torchaudio's transforms, functions and compliance code are Python; the library brings only RNN-T loss, forced
alignment and faster filters. Without it torchaudio raises an error when one of these is called.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

NAME = "torchaudio._extension"


def stub() -> ModuleType:
    """A module with the names that torchaudio's code reads from `torchaudio._extension`."""
    module = ModuleType(NAME, "Stand-in by s3prl-gendistiller: no compiled library fits this torch.")
    contents: dict[str, Any] = {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "_check_cuda_version": lambda: None,
        "_load_lib": lambda library: False,
        "fail_if_no_align": _refusing,
    }
    module.__dict__.update(contents)
    return module


def _refusing(function: Callable[..., Any]) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(f"{function.__name__}: needs torchaudio's compiled library, which does not fit this torch")

    return refuse
